import { z } from 'zod';

/** What an image says about how it is run, as far as anything of it is heard. Its user is a name to show, never a right. */
const text = z.string().max(131_072);
const list = z.array(text).max(4096).nullish();
export const imageConfig = z.object({
  architecture: z.string().max(64).default(''),
  os: z.string().max(64).default(''),
  config: z
    .object({
      User: z.string().max(256).nullish(),
      Env: list,
      Entrypoint: list,
      Cmd: list,
      WorkingDir: z.string().max(4096).nullish(),
    })
    .nullish(),
});

export interface ImageSettings {
  readonly architecture: string;
  readonly os: string;
  /** The name for the sandbox's one user. */
  readonly user: string;
  readonly env: Readonly<Record<string, string>>;
  readonly path: string | null;
  readonly command: readonly string[];
  readonly workingFolder: string | null;
}

/** A name that a person may have in /etc/passwd; everything else, a number and root too, is `agent`. */
const plainUser = /^[a-z_][a-z0-9_-]{0,31}$/;
const variable = /^[A-Za-z_][A-Za-z0-9_]{0,127}$/;
/** Where programs look for the doors and for trust is Glovebox's to say, and so is the home. */
const ownVariables =
  /^(HOME|USER|LOGNAME|TMPDIR|PATH|.*_proxy|.*_PROXY|.*_CA_BUNDLE|.*_CAINFO|SSL_CERT_(FILE|DIR)|NODE_EXTRA_CA_CERTS|NODE_USE_ENV_PROXY|PIP_CERT|DENO_TLS_CA_STORE|GLOVEBOX_.*)$/;

export function imageSettings(config: z.infer<typeof imageConfig>): ImageSettings {
  const { User, Env, Entrypoint, Cmd, WorkingDir } = config.config ?? {};
  const pairs = (Env ?? []).flatMap((line): [string, string][] => {
    const at = line.indexOf('=');
    const name = line.slice(0, at);
    return at > 0 && variable.test(name) && !line.includes('\0') ? [[name, line.slice(at + 1)]] : [];
  });
  const user = (User ?? '').split(':')[0] ?? '';
  return {
    architecture: config.architecture,
    os: config.os,
    user: plainUser.test(user) && user !== 'root' ? user : 'agent',
    env: Object.fromEntries(pairs.filter(([name]) => !ownVariables.test(name))),
    path: pairs.findLast(([name]) => name === 'PATH')?.[1] ?? null,
    command: [...(Entrypoint ?? []), ...(Cmd ?? [])],
    workingFolder: (WorkingDir ?? '').startsWith('/') ? (WorkingDir ?? null) : null,
  };
}
