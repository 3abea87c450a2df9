import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { GloveboxError, limits } from '../../pure/contracts/index.ts';
import { jailedCommand } from '../drivers/index.ts';

export interface CraneOptions {
  /** Absolute path of the program. */
  readonly crane: string;
  /** The person's home: registries that want a login find it in .docker/config.json there. */
  readonly home: string;
  /** An empty folder for the jail's root. */
  readonly mountPoint: string;
  readonly writable?: readonly string[];
  /** What the image is called, for errors. */
  readonly image: string;
  readonly timeoutMs?: number;
}

/**
 * crane speaks to the registry: it runs in a jail with the network and the person's registry logins, and nothing else of the person's.
 * Its words end up in front of a person, escaped and cut like all details.
 */
export async function runCrane(args: readonly string[], options: CraneOptions): Promise<string> {
  const docker = join(options.home, '.docker');
  const [program, ...words] = jailedCommand({
    program: [options.crane, ...args],
    readOnly: [options.crane, ...(existsSync(docker) ? [docker] : [])],
    writable: options.writable ?? [],
    uid: null,
    mountPoint: options.mountPoint,
  });
  const child = spawn(program, words, {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { PATH: '/usr/sbin:/usr/bin:/sbin:/bin', HOME: options.home },
    cwd: '/',
    timeout: options.timeoutMs ?? limits.imageRegistry.value,
    killSignal: 'SIGKILL',
  });
  let out = '';
  let err = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    out += text;
    if (out.length > limits.imageManifest.value) child.kill('SIGKILL');
  });
  child.stderr.setEncoding('utf8').on('data', (text: string) => (err = (err + text).slice(-8192)));
  const [code, signal] = await new Promise<[number | null, string | null]>((resolve) => {
    child.on('error', (error) => {
      err = error.message;
      resolve([127, null]);
    });
    child.on('close', (...end) => resolve(end));
  });
  if (code === 0) return out;
  if (out.length > limits.imageManifest.value)
    throw refused(
      options.image,
      `an answer about it is longer than ${String(limits.imageManifest.value)} bytes`,
    );
  throw explain(options.image, signal === null ? err : 'the registry did not answer in time');
}

export const refused = (image: string, detail: string): GloveboxError =>
  new GloveboxError('GB_IMAGE_REFUSED', { image, detail });

const unavailable = (image: string, detail: string, todo: string): GloveboxError =>
  new GloveboxError('GB_IMAGE_UNAVAILABLE', { image, detail, todo });

const causes: readonly (readonly [RegExp, string, string])[] = [
  [
    /no space left on device|disk quota exceeded/i,
    'the disk is full',
    'Free space below the cache folder, then run this again.',
  ],
  [
    /MANIFEST_UNKNOWN|NAME_UNKNOWN|404 Not Found|Unknown manifest|unknown tag|not found: manifest/i,
    'its registry has no image of this name, tag or digest',
    'Check its spelling.',
  ],
  [
    /UNAUTHORIZED|DENIED|401 |403 Forbidden/i,
    'its registry asks for a login',
    'Check its name; log in with `crane auth login` or `docker login`, which write ~/.docker/config.json.',
  ],
  [
    /no child with platform|platform/i,
    'it is not made for this machine’s architecture',
    'Use an image for this architecture.',
  ],
];

function explain(image: string, said: string): GloveboxError {
  if (/error verifying|mismatched|digest/i.test(said) && /verif|mismatch|does not match/i.test(said))
    return refused(image, 'what its registry sent has another digest than was asked for');
  const known = causes.find(([pattern]) => pattern.test(said));
  if (known !== undefined) return unavailable(image, known[1], known[2]);
  const last = said.trim().split('\n').at(-1) ?? '';
  return unavailable(
    image,
    `its registry cannot be reached (${last.slice(-300)})`,
    'Check the network and the name of the registry. An image that was used before runs without, by its digest.',
  );
}
