import { stringify } from 'yaml';
import { GloveboxError, type PolicyStatus } from '../../../pure/contracts/index.ts';
import { escapeUntrusted } from '../../../pure/render/index.ts';
import { connect } from '../connect.ts';
import { print, printJson } from '../output.ts';
import { readPolicy } from '../run/session-request.ts';
import { isLive, sessionHere } from '../sessions.ts';

interface PolicyOptions {
  readonly policy?: string;
  readonly header?: readonly string[];
  readonly strict?: boolean;
  readonly json?: boolean;
}

/** `show` and `set` speak to a running session; the others read files and need nothing that runs. */
export async function policy(
  what: string,
  words: readonly string[],
  options: PolicyOptions,
): Promise<number> {
  const json = options.json === true;
  const [first, ...more] = words;
  if (what === 'explain') {
    const { explainCommand } = await import('./policy-review.ts');
    return explainCommand(needed(options.policy, what), words, options.header ?? [], json);
  }
  if (more.length > 0) throw usage(`policy ${what} with further words`);
  switch (what) {
    case 'show':
      return show(first, json);
    case 'set':
      return set(first, needed(options.policy, what), json);
    case 'lint': {
      const { lint } = await import('./policy-review.ts');
      return lint(first ?? needed(options.policy, what), options.strict === true, json);
    }
    case 'test': {
      const { testCommand } = await import('./policy-review.ts');
      if (first === undefined) throw usage('policy test without a file of cases');
      return testCommand(first, options.policy, json);
    }
    default:
      throw usage(`policy ${what}`);
  }
}

const usage = (detail: string): GloveboxError =>
  new GloveboxError('GB_USAGE', {
    detail,
    hint: 'It is show [SESSION], set [SESSION] --policy FILE, lint FILE, explain --policy FILE OPERATION, or test FILE.',
  });

function needed(file: string | undefined, what: string): string {
  if (file === undefined) throw usage(`policy ${what} without --policy`);
  return file;
}

/** What is printed can be written to a file, changed, and set. */
async function show(id: string | undefined, json: boolean): Promise<number> {
  const { client } = connect();
  const session = await sessionHere(client, id, isLive, 'that is running');
  const params = { id: session.id };
  const [{ document }, status] = await Promise.all([
    client.call('getSandboxPolicy', { params }),
    client.call('getSandboxPolicyStatus', { params }),
  ]);
  if (json) {
    printJson({ ...status, document });
    return 0;
  }
  const text = stringify(document)
    .trimEnd()
    .split('\n')
    .map((line) => escapeUntrusted(line, 10_000));
  print([`# ${words(status)}`, ...text].join('\n'));
  return 0;
}

async function set(id: string | undefined, file: string, json: boolean): Promise<number> {
  const body = readPolicy(file);
  const { client } = connect();
  const session = await sessionHere(client, id, isLive, 'that is running');
  const status = await client.call('updateSandboxPolicy', { params: { id: session.id }, body });
  if (json) printJson(status);
  else print(words(status));
  return 0;
}

const words = ({ name, generation, applied }: PolicyStatus): string =>
  `${escapeUntrusted(name, 64)}: policy generation ${generation}, ${applied === generation ? 'applied' : applied === 0 ? 'not applied yet' : `generation ${applied} is applied`}`;
