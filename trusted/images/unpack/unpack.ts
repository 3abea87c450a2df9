import { createHash } from 'node:crypto';
import {
  closeSync,
  constants,
  createReadStream,
  futimesSync,
  linkSync,
  mkdirSync,
  openSync,
  readSync,
  rmSync,
  symlinkSync,
  writeSync,
} from 'node:fs';
import { join } from 'node:path';
import { PassThrough, Transform } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { createGunzip } from 'node:zlib';
import { extract, type Header } from 'tar-stream';
import { EntryRefused, ImageTree, type Step } from '../../../pure/image/index.ts';

export interface UnpackLimits {
  readonly bytes: number;
  readonly entries: number;
}

export interface Layer {
  readonly file: string;
  /** `sha256:…`: the layer as it lies there. */
  readonly digest: string;
}

/**
 * Unpacks layers, lowest first, into an empty folder that nobody else writes. Two locks [R23]: what an entry means is decided on names
 * alone (ImageTree), and this runs as a process that sees nothing but the layers and that folder, without a capability.
 */
export async function unpack(
  layers: readonly Layer[],
  root: string,
  limits: UnpackLimits,
): Promise<{ readonly entries: number; readonly bytes: number }> {
  const tree = new ImageTree();
  let bytes = 0;
  const count = (more: number): void => {
    bytes += more;
    if (bytes > limits.bytes) throw new EntryRefused(`more than ${String(limits.bytes)} bytes unpacked`);
  };
  for (const layer of layers) {
    tree.nextLayer();
    const hash = createHash('sha256');
    const archive = extract();
    const plain = decompressed(layer.file);
    const reading = pipeline(
      createReadStream(layer.file),
      new Transform({
        transform(chunk: Buffer, _encoding, done) {
          hash.update(chunk);
          done(null, chunk);
        },
      }),
      plain,
      // Headers count too: an archive may be all headers.
      new Transform({
        transform(chunk: Buffer, _encoding, done) {
          try {
            count(chunk.length);
            done(null, chunk);
          } catch (error) {
            done(error as Error);
          }
        },
      }),
      archive,
    );
    reading.catch(() => undefined);
    for await (const entry of archive) {
      const steps = tree.plan(entry.header);
      if (tree.count > limits.entries)
        throw new EntryRefused(`more than ${String(limits.entries)} files, folders and links`);
      await carryOut(root, steps, entry);
    }
    await reading;
    if (`sha256:${hash.digest('hex')}` !== layer.digest)
      throw new EntryRefused(`layer ${layer.digest} has another content than its digest says`);
  }
  return { entries: tree.count, bytes };
}

/** gzip or plain, told by the first bytes: what a manifest says of it is a word of its author's. */
function decompressed(file: string): Transform {
  const first = Buffer.alloc(4);
  const opened = openSync(file, 'r');
  try {
    readSync(opened, first, 0, 4, 0);
  } finally {
    closeSync(opened);
  }
  if (first.readUInt16BE(0) === 0x1f8b) return createGunzip();
  if (first.readUInt32BE(0) === 0x28b52ffd) throw new EntryRefused('a layer is compressed with zstd');
  return new PassThrough();
}

interface TarEntry extends AsyncIterable<unknown> {
  readonly header: Header;
  resume(): unknown;
}

async function carryOut(root: string, steps: readonly Step[], entry: TarEntry): Promise<void> {
  let written = false;
  for (const step of steps) {
    const path = join(root, step.path);
    if (step.do === 'remove' || step.replace) rmSync(path, { recursive: true, force: true });
    switch (step.do) {
      case 'remove':
        break;
      case 'folder':
        mkdirSync(path, { mode: 0o755 });
        break;
      case 'symlink':
        symlinkSync(step.target, path);
        break;
      case 'hardlink':
        linkSync(join(root, step.from), path);
        break;
      case 'file':
        written = true;
        await writeFile(path, step.mode, entry, entry.header.mtime);
    }
  }
  if (!written) entry.resume();
}

async function writeFile(
  path: string,
  mode: number,
  content: AsyncIterable<unknown>,
  time: Date | undefined,
): Promise<void> {
  const { O_CREAT, O_EXCL, O_NOFOLLOW, O_WRONLY } = constants;
  const file = openSync(path, O_CREAT | O_EXCL | O_NOFOLLOW | O_WRONLY, mode);
  try {
    for await (const chunk of content as AsyncIterable<Buffer>)
      for (let at = 0; at < chunk.length;) at += writeSync(file, chunk, at);
    // Python keeps what it compiled only where the time of the source is the one it had.
    const seconds = (time?.getTime() ?? 0) / 1000;
    if (seconds > 0 && seconds < 0xffff_ffff) futimesSync(file, seconds, seconds);
  } finally {
    closeSync(file);
  }
}
