import { createHash, randomBytes, randomInt } from 'node:crypto';
import { chmod, chown, mkdir, readFile, rename, rm, stat, statfs, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import { GloveboxError, limits } from '../../pure/contracts/index.ts';
import {
  imageConfig,
  imageDigest,
  imageManifest,
  imageSettings,
  parseImageReference,
  type ImageManifest,
  type ImageSettings,
} from '../../pure/image/index.ts';
import { privateIds } from '../../pure/compile/index.ts';
import { spawnJailed } from '../drivers/index.ts';
import { refused, runCrane, type CraneOptions } from './crane.ts';

/** An image that is here: unpacked, checked, and never written again. */
export interface Image {
  readonly digest: string;
  readonly rootfs: string;
  readonly settings: ImageSettings;
}

export interface ImagesOptions {
  /** A folder of its own (0700), on a disk. */
  readonly folder: string;
  readonly home: string;
  /** The bundle that unpacks. */
  readonly unpacker: string;
  /** Where crane is; undefined: it was not built yet. */
  readonly crane: () => Promise<string | undefined>;
}

/** What happens meanwhile, in words for a person. */
export type Progress = (text: string) => void;

const unpackReport = z.union([
  z.object({ done: z.object({ entries: z.number(), bytes: z.number() }) }),
  z.object({ refused: z.string() }),
  z.object({ failed: z.string() }),
]);

/** Images by digest: fetched once, then used without a network. */
export class Images {
  readonly #options: ImagesOptions;
  readonly #pulls = new Map<string, Promise<Image>>();

  constructor(options: ImagesOptions) {
    this.#options = options;
  }

  /** The image that a reference means now. With a digest that is here, nobody is asked. */
  async pull(text: string, progress: Progress): Promise<Image> {
    const reference = parseImageReference(text);
    if (reference.digest !== null) {
      const here = (await this.find(reference.digest)) ?? (await this.#alias(reference.digest));
      if (here !== undefined) return here;
    }
    return await this.#withWork(text, async (work, crane) => {
      progress(`asking for ${text}`);
      const digest = (await crane(['digest', '--platform', platform(), text])).trim();
      if (!imageDigest.test(digest)) throw refused(text, 'its registry answers with no digest');
      progress(`${text} is ${digest}`);
      const image =
        (await this.find(digest)) ??
        (await this.#once(text, `${reference.repository}@${digest}`, digest, work, crane, progress));
      if (reference.digest !== null && reference.digest !== digest)
        await writeFile(this.#place(reference.digest, '.alias'), digest);
      return image;
    });
  }

  /** An image that is here. */
  async find(digest: string): Promise<Image | undefined> {
    if (!imageDigest.test(digest)) return undefined;
    const place = this.#place(digest);
    const text = await readFile(join(place, 'config.json'), 'utf8').catch(() => undefined);
    if (text === undefined) return undefined;
    const settings = imageSettings(imageConfig.parse(JSON.parse(text)));
    return { digest, rootfs: join(place, 'rootfs'), settings };
  }

  async #alias(digest: string): Promise<Image | undefined> {
    const text = await readFile(this.#place(digest, '.alias'), 'utf8').catch(() => undefined);
    return text === undefined ? undefined : await this.find(text);
  }

  #place(digest: string, ending = ''): string {
    return join(this.#options.folder, `${digest.replace('sha256:', '')}${ending}`);
  }

  /** Two runs that want one image fetch it once. */
  async #once(...args: Parameters<Images['fetch']>): Promise<Image> {
    const digest = args[2];
    const running = this.#pulls.get(digest);
    if (running !== undefined) return await running;
    const pull = this.fetch(...args).finally(() => this.#pulls.delete(digest));
    this.#pulls.set(digest, pull);
    return await pull;
  }

  async fetch(
    text: string,
    exact: string,
    digest: string,
    work: string,
    crane: (args: readonly string[], more?: Partial<CraneOptions>) => Promise<string>,
    progress: Progress,
  ): Promise<Image> {
    const layout = join(work, 'layout');
    await mkdir(layout, { mode: 0o755 });
    const manifestText = await crane(['manifest', exact]);
    const manifest = readManifest(text, manifestText, digest);
    const total = manifest.layers.reduce((sum, { size }) => sum + size, 0);
    await this.#requireSpace(text, total * 2);
    const watch = setInterval(() => {
      void sizeOf(join(layout, 'blobs/sha256'), manifest).then((size) =>
        progress(`fetching: ${megabytes(size)} of ${megabytes(total)} MB`),
      );
    }, 500);
    progress(`fetching: ${megabytes(total)} MB in ${String(manifest.layers.length)} layers`);
    try {
      await crane(['pull', '--format=oci', exact, layout], {
        writable: [layout],
        timeoutMs: limits.imagePull.value,
      });
    } finally {
      clearInterval(watch);
    }
    const blob = (one: string): string => join(layout, 'blobs/sha256', one.replace('sha256:', ''));
    const config = await readConfig(text, blob(manifest.config.digest), manifest.config.digest);
    progress('unpacking');
    const rootfs = join(work, 'image/rootfs');
    await mkdir(rootfs, { recursive: true });
    await this.#unpack(
      text,
      rootfs,
      work,
      layout,
      manifest.layers.map((layer) => ({ file: blob(layer.digest), digest: layer.digest })),
    );
    await writeFile(join(work, 'image/config.json'), JSON.stringify(config));
    // In one step: what is at its place is whole. Somebody else's of the same digest is as good.
    await rename(join(work, 'image'), this.#place(digest)).catch((error: unknown) => {
      if (!(
        error instanceof Error &&
        'code' in error &&
        (error.code === 'ENOTEMPTY' || error.code === 'EEXIST')
      ))
        throw error;
    });
    const found = await this.find(digest);
    if (found === undefined) throw refused(text, 'it is gone again');
    return found;
  }

  async #unpack(
    text: string,
    rootfs: string,
    work: string,
    layout: string,
    layers: readonly { readonly file: string; readonly digest: string }[],
  ): Promise<void> {
    // As root: a user that nobody is, so that what goes wrong inside can touch nobody's files.
    const uid = process.geteuid?.() === 0 ? randomInt(privateIds.first, privateIds.last) : null;
    if (uid !== null) await chown(rootfs, uid, uid);
    await chmod(rootfs, 0o755);
    // Fetched under a strict umask: what unpacks it is somebody else.
    for (const path of [layout, join(layout, 'blobs'), join(layout, 'blobs/sha256')])
      await chmod(path, 0o755);
    for (const { file } of layers) await chmod(file, 0o644);
    const order = {
      root: rootfs,
      layers,
      bytes: limits.imageBytes.value,
      entries: limits.imageEntries.value,
    };
    const child = spawnJailed({
      program: [
        process.execPath,
        '--experimental-default-type=module',
        this.#options.unpacker,
        JSON.stringify(order),
      ],
      readOnly: [this.#options.unpacker, layout],
      writable: [rootfs],
      uid,
      mountPoint: join(work, 'jail'),
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    let out = '';
    let err = '';
    child.stdout?.on('data', (chunk: Buffer) => (out = (out + chunk.toString()).slice(-65_536)));
    child.stderr?.on('data', (chunk: Buffer) => (err = (err + chunk.toString()).slice(-4096)));
    const code = await new Promise<number | null>((resolve, reject) => {
      child.on('error', reject);
      child.on('close', resolve);
    });
    const last = out.trim().split('\n').at(-1) ?? '';
    const report = unpackReport.safeParse(last.startsWith('{') ? JSON.parse(last) : undefined);
    if (!report.success)
      throw refused(text, `what unpacks it ended (${String(code)}) ${err.trim().slice(-300)}`);
    if ('done' in report.data) return;
    if ('refused' in report.data) throw refused(text, report.data.refused);
    throw cannot(text, report.data.failed);
  }

  async #withWork<T>(
    text: string,
    use: (
      work: string,
      crane: (args: readonly string[], more?: Partial<CraneOptions>) => Promise<string>,
    ) => Promise<T>,
  ): Promise<T> {
    const { folder, home } = this.#options;
    const program = await this.#options.crane();
    if (program === undefined)
      throw new GloveboxError('GB_IMAGE_UNAVAILABLE', {
        image: text,
        detail: 'crane, which fetches images, is not built yet',
        todo: 'Run `glovebox run --image …` once: it builds it.',
      });
    const work = join(folder, `work-${randomBytes(8).toString('hex')}`);
    try {
      await mkdir(join(work, 'jail'), { recursive: true, mode: 0o700 });
      return await use(
        work,
        async (args, more = {}) =>
          await runCrane(args, {
            crane: program,
            home,
            mountPoint: join(work, 'jail'),
            image: text,
            ...more,
          }),
      );
    } catch (error) {
      const code = error instanceof Error && 'code' in error ? String(error.code) : '';
      throw /^E[A-Z]+$/.test(code) ? cannot(text, code) : error;
    } finally {
      await rm(work, { recursive: true, force: true });
    }
  }

  async #requireSpace(text: string, bytes: number): Promise<void> {
    const { bavail, bsize } = await statfs(this.#options.folder);
    if (bavail * bsize < bytes) throw cannot(text, 'ENOSPC');
  }
}

const cannot = (image: string, code: string): GloveboxError =>
  new GloveboxError('GB_IMAGE_UNAVAILABLE', {
    image,
    detail:
      code === 'ENOSPC' || code === 'EDQUOT' ? 'the disk is full' : `this host could not unpack it (${code})`,
    todo: 'Nothing of it was kept. Free space below the cache folder, then run this again.',
  });

const platform = (): string => `linux/${architecture()}`;
const architecture = (): string => ({ x64: 'amd64', ia32: '386' })[process.arch as string] ?? process.arch;

function readManifest(text: string, manifest: string, digest: string): ImageManifest {
  const own = `sha256:${createHash('sha256').update(manifest).digest('hex')}`;
  if (own !== digest) throw refused(text, 'its manifest has another digest than was asked for');
  const read = imageManifest.safeParse(parsed(manifest));
  if (read.success) return read.data;
  throw refused(text, 'it is no image: its manifest names no layers of a file system');
}

async function readConfig(text: string, file: string, digest: string): Promise<z.infer<typeof imageConfig>> {
  if ((await stat(file)).size > limits.imageManifest.value)
    throw refused(text, 'its configuration is too long');
  const content = await readFile(file, 'utf8');
  if (`sha256:${createHash('sha256').update(content).digest('hex')}` !== digest)
    throw refused(text, 'its configuration has another digest than its manifest says');
  const read = imageConfig.safeParse(parsed(content));
  if (!read.success) throw refused(text, 'it is no image: its configuration cannot be read');
  const { os, architecture: made } = read.data;
  if (os !== 'linux' || made !== architecture())
    throw refused(
      text,
      `it is made for ${os || 'no system'}/${made || 'no architecture'}, this machine is ${platform()}`,
    );
  return read.data;
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

async function sizeOf(folder: string, manifest: ImageManifest): Promise<number> {
  const sizes = await Promise.all(
    manifest.layers.map(
      async ({ digest }) =>
        await stat(join(folder, digest.replace('sha256:', ''))).then(
          ({ size }) => size,
          () => 0,
        ),
    ),
  );
  return sizes.reduce((sum, size) => sum + size, 0);
}

const megabytes = (bytes: number): string => (bytes / 1e6).toFixed(1);
