import { GloveboxError } from '../../../pure/contracts/index.ts';
import { looksLikeKey } from '../../../pure/secrets/index.ts';

/** `K=secret:NAME`: a placeholder for a stored secret; the control plane puts it in. */
const placeholder = /^secret:[a-z][a-z0-9-]{0,63}$/;

function split(option: string, setting: string): [string, string] {
  const at = setting.indexOf('=');
  const name = at < 0 ? setting : setting.slice(0, at);
  if (at < 0 || !/^[A-Za-z_][A-Za-z0-9_]{0,63}$/.test(name))
    throw new GloveboxError('GB_INPUT_INVALID', {
      what: `${option} ${name.slice(0, 64)}`,
      detail: at < 0 ? 'it has the form NAME=VALUE' : 'a name is letters, digits and underscores',
    });
  return [name, setting.slice(at + 1)];
}

/** The agent's own variables. `plain` are those whose value the person wants inside though it looks like a key. */
export function agentEnvironment(
  settings: readonly string[],
  plain: readonly string[],
): Record<string, string> {
  const env: Record<string, string> = {};
  for (const setting of settings) {
    const [name, value] = split('--env', setting);
    const looks = placeholder.test(value) ? null : looksLikeKey(name, value);
    if (looks !== null) throw new GloveboxError('GB_KEY_IN_ENVIRONMENT', { name, looks });
    env[name] = value;
  }
  for (const setting of plain) {
    const [name, value] = split('--env-plain', setting);
    env[name] = value;
  }
  return env;
}
