import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { GloveboxError } from '../../../pure/contracts/index.ts';
import { escapeUntrusted } from '../../../pure/render/index.ts';
import { OperatorError, type OperatorClient } from '../../client/index.ts';
import { note } from '../output.ts';
import { distFolder, toolsFile } from '../places.ts';

/** Has the control plane fetch an image where it is not there; its digest. */
export async function pullImage(client: OperatorClient, reference: string): Promise<string> {
  requireCrane();
  const terminal = process.stderr.isTTY;
  let shown = false;
  for await (const line of await client.pullImage(reference)) {
    if ('progress' in line) {
      if (terminal) process.stderr.write(`\r\x1b[K${escapeUntrusted(line.progress, 200)}`);
      shown = terminal;
      continue;
    }
    if (shown) process.stderr.write('\r\x1b[K');
    if ('error' in line) throw new OperatorError({ error: line.error }, 502);
    // A tag means another image tomorrow: what it means now is said.
    if (!reference.endsWith(line.digest)) note(`${escapeUntrusted(reference, 300)} is ${line.digest}`);
    return line.digest;
  }
  throw new GloveboxError('GB_UPSTREAM_FAILED', {
    what: 'The control plane',
    detail: 'its answer was cut short',
  });
}

/** crane is built when an image is first asked for: most people never do. */
function requireCrane(): void {
  const tools = JSON.parse(readFileSync(toolsFile(process.env), 'utf8')) as { crane?: unknown };
  if (typeof tools.crane === 'string' && existsSync(tools.crane)) return;
  const setUp = join(distFolder(), '..', 'tools/setup/crane.mjs');
  const { status } = spawnSync(process.execPath, [setUp], { stdio: ['ignore', 2, 2] });
  if (status !== 0)
    throw new GloveboxError('GB_IMAGE_UNAVAILABLE', {
      image: 'asked for',
      detail: 'crane, which fetches images, could not be built',
      todo: 'Correct what its set-up says, then run this again.',
    });
}
