import { createHash } from 'node:crypto';
import { execFile } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { root, toolCache } from '../../tools/setup/paths.mjs';

const source = join(root, 'tools/go/spiffe-client');

/** go-spiffe as a program (tools/go/spiffe-client), built once for each version of its source and kept with the other tools. */
export async function spiffeClient(): Promise<string> {
  const hash = createHash('sha256');
  for (const name of readdirSync(source).sort()) hash.update(readFileSync(join(source, name)));
  const folder = join(toolCache(), 'spiffe-client', hash.digest('hex').slice(0, 16));
  const binary = join(folder, 'spiffe-client');
  if (existsSync(binary)) return binary;
  mkdirSync(folder, { recursive: true });
  const fresh = `${binary}.${process.pid}.new`;
  await promisify(execFile)('go', ['build', '-C', source, '-mod=readonly', '-trimpath', '-o', fresh, '.'], {
    env: { ...process.env, CGO_ENABLED: '0', GOWORK: 'off', GOFLAGS: '' },
  });
  renameSync(fresh, binary);
  return binary;
}
