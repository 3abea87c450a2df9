import { lstat, readFile, stat } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { z } from 'zod';
import { GloveboxError, type EngineChoice } from '../../pure/contracts/index.ts';
import { parseYaml } from '../../pure/policy/index.ts';

const engineFile = z.strictObject({
  engine: z.enum(['cedar', 'opa']),
  /** OPA: the Unix socket that the server listens at. */
  socket: z.string().max(107).startsWith('/').optional(),
  /** OPA: the file of the token that it asks for. */
  tokenFile: z.string().max(4096).startsWith('/').optional(),
});

/**
 * `<config>/engine.yaml`: who decides on operations. Undefined: Cedar, in each sidecar. Whoever may write the token's file or the
 * socket's folder could answer in the server's place, so others' places are refused before anything starts.
 */
export async function policyEngine(config: string): Promise<EngineChoice | undefined> {
  const file = join(config, 'engine.yaml');
  const text = await readFile(file, 'utf8').catch((error: unknown) => {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return null;
    throw error;
  });
  if (text === null) return undefined;
  const { engine, socket, tokenFile } = parseYaml(engineFile, text, file);
  const refuse = (detail: string): GloveboxError =>
    new GloveboxError('GB_INPUT_INVALID', { what: `The policy engine of ${file}`, detail });
  if (engine === 'cedar') {
    if (socket !== undefined || tokenFile !== undefined) throw refuse('cedar has no socket and no token');
    return undefined;
  }
  if (socket === undefined || tokenFile === undefined) throw refuse('opa needs a socket and a tokenFile');
  const folder = await lstat(dirname(socket)).catch(() => null);
  if (folder?.isDirectory() !== true) throw refuse(`${dirname(socket)} is no folder`);
  if (!ours(folder.uid) || (folder.mode & 0o022) !== 0)
    throw refuse(`others than its operator may write ${dirname(socket)}`);
  const token = await stat(tokenFile).catch(() => null);
  if (token?.isFile() !== true) throw refuse(`${tokenFile} is no file`);
  if (!ours(token.uid) || (token.mode & 0o077) !== 0)
    throw refuse(`others may read ${tokenFile}: its mode is to be 600`);
  const secret = (await readFile(tokenFile, 'utf8')).trim();
  if (!/^[\x21-\x7e]{32,512}$/.test(secret))
    throw refuse('the token has 32 to 512 characters, without spaces');
  return { engine, socket, token: secret };
}

const ours = (uid: number): boolean => uid === 0 || uid === process.getuid?.();
