import { randomUUID } from 'node:crypto';
import {
  chmod,
  chown,
  mkdir,
  readdir,
  readFile,
  rename,
  rm,
  rmdir,
  stat,
  truncate,
  writeFile,
} from 'node:fs/promises';
import { join } from 'node:path';
import { absent, exists } from './host-view.ts';
import { runCommand } from './run-command.ts';

/**
 * Where the staged changes of a workspace live. As root in `<state folder>/changes.ext4`, a file system of the tier's
 * size in a file, mounted below the driver's folder while somebody uses it: the disk limit is the kernel's. A user
 * cannot mount one: there they live in `<state folder>/changes`, and a watch ends a session that exceeds its tier.
 *
 * Another sandbox's mount namespace may still hold a copy of a mount that was taken away here; mount(8) then takes the
 * loop device that exists, so one image never gets two file systems over it.
 */
export interface ChangesDisk {
  /** Holds `upper` and `work`. */
  readonly folder: string;
  readonly upper: string;
  readonly bounded: boolean;
  close(): Promise<void>;
}

interface Mounted {
  readonly folder: string;
  readonly image: string;
}

interface Held {
  users: number;
  readonly mounted: Promise<Mounted>;
}

export class ChangesDisks {
  readonly #spareFolder: string;
  readonly #mounts: string;
  readonly #asRoot: boolean;
  #closed = false;
  /** By state folder. */
  readonly #held = new Map<string, Held>();
  /** By size: formatted and mounted ahead, so that a start waits for neither. */
  readonly #spares = new Map<number, Promise<Mounted>>();

  constructor(folder: string, asRoot: boolean) {
    this.#spareFolder = join(folder, 'spare');
    this.#mounts = join(folder, 'changes');
    this.#asRoot = asRoot;
  }

  /** The disk of a session that starts. What is made at its top belongs to the workspace's owner. */
  async create(stateFolder: string, bytes: number, workspace: string): Promise<ChangesDisk> {
    const disk = await this.#hold(stateFolder, () => this.#make(stateFolder, bytes));
    const owner = await stat(workspace);
    if (this.#asRoot) await chown(disk.upper, owner.uid, owner.gid);
    await chmod(disk.upper, owner.mode & 0o777);
    return disk;
  }

  /** For reading the changes of a session, running or ended. */
  async open(stateFolder: string): Promise<ChangesDisk | undefined> {
    const kept = this.#asRoot ? imageOf(stateFolder) : join(stateFolder, 'changes/upper');
    if ((await stat(kept).catch(absent)) === undefined) return undefined;
    return this.#hold(stateFolder, () => this.#mount(imageOf(stateFolder), stateFolder));
  }

  async remove(stateFolder: string): Promise<void> {
    const held = this.#held.get(stateFolder);
    this.#held.delete(stateFolder);
    if (held !== undefined) await this.#unmount((await held.mounted).folder);
    await rm(imageOf(stateFolder), { force: true });
    await rm(join(stateFolder, 'changes'), { recursive: true, force: true });
  }

  /** Unmounts what a process that died had mounted, and removes its spares. Call before the first start. */
  async reap(): Promise<number> {
    const mine = await Promise.all([
      ...[...this.#held.values()].map(({ mounted }) => mounted),
      ...this.#spares.values(),
    ]);
    const inUse = new Set(mine.map(({ folder }) => folder));
    const left = (await mountsBelow(this.#mounts)).filter((mounted) => !inUse.has(mounted));
    for (const folder of left) await this.#unmount(folder);
    const images = new Set(mine.map(({ image }) => image));
    for (const name of (await readdir(this.#spareFolder).catch(absent)) ?? [])
      if (!images.has(join(this.#spareFolder, name)))
        await rm(join(this.#spareFolder, name), { force: true });
    return left.length;
  }

  async close(): Promise<void> {
    this.#closed = true;
    for (const [bytes, spare] of [...this.#spares]) {
      this.#spares.delete(bytes);
      const { folder, image } = await spare;
      await this.#unmount(folder);
      await rm(image, { force: true });
    }
  }

  async prepare(bytes: number): Promise<void> {
    if (!this.#asRoot || this.#closed) return;
    let spare = this.#spares.get(bytes);
    if (spare === undefined) {
      spare = this.#makeSpare(bytes);
      this.#spares.set(bytes, spare);
      spare.catch(() => this.#spares.delete(bytes));
    }
    await spare;
  }

  async #make(stateFolder: string, bytes: number): Promise<Mounted> {
    const image = imageOf(stateFolder);
    if (!this.#asRoot || (await stat(image).catch(absent)) !== undefined)
      return this.#mount(image, stateFolder);
    const ready = this.#spares.get(bytes);
    // Out of the map before anything is awaited: one spare for exactly one of several starts.
    this.#spares.delete(bytes);
    const spare = await (ready ?? this.#makeSpare(bytes));
    await rename(spare.image, image);
    return { ...spare, image };
  }

  async #makeSpare(bytes: number): Promise<Mounted> {
    await mkdir(this.#spareFolder, { recursive: true, mode: 0o700 });
    const image = join(this.#spareFolder, `${randomUUID()}.ext4`);
    await writeFile(image, '', { mode: 0o600 });
    await truncate(image, bytes);
    const options = ['-q', '-F', '-m', '0', '-O', '^has_journal', '-E', 'lazy_itable_init=1,root_owner=0:0'];
    await runCommand('mkfs.ext4', [...options, image]);
    return this.#mount(image, '');
  }

  async #mount(image: string, stateFolder: string): Promise<Mounted> {
    const folder = this.#asRoot ? join(this.#mounts, randomUUID()) : join(stateFolder, 'changes');
    await mkdir(folder, { recursive: true, mode: 0o700 });
    if (this.#asRoot) await runCommand('mount', ['-o', 'loop,nosuid,nodev,discard', '--', image, folder]);
    for (const name of ['upper', 'work']) await mkdir(join(folder, name), { mode: 0o700 }).catch(exists);
    return { folder, image };
  }

  async #hold(stateFolder: string, make: () => Promise<Mounted>): Promise<ChangesDisk> {
    const held = this.#held.get(stateFolder) ?? { users: 0, mounted: make() };
    this.#held.set(stateFolder, held);
    held.users += 1;
    let mounted: Mounted;
    try {
      mounted = await held.mounted;
    } catch (error) {
      this.#held.delete(stateFolder);
      throw error;
    }
    let closed = false;
    return {
      folder: mounted.folder,
      upper: join(mounted.folder, 'upper'),
      bounded: this.#asRoot,
      close: async () => {
        if (closed) return;
        closed = true;
        held.users -= 1;
        if (held.users > 0 || this.#held.get(stateFolder) !== held) return;
        this.#held.delete(stateFolder);
        await this.#unmount(mounted.folder);
      },
    };
  }

  async #unmount(folder: string): Promise<void> {
    if (!this.#asRoot) return;
    await runCommand('umount', ['--', folder]);
    await rmdir(folder);
  }
}

const imageOf = (stateFolder: string): string => join(stateFolder, 'changes.ext4');

/** Mount points at or below a folder, innermost first. */
export async function mountsBelow(folder: string): Promise<string[]> {
  const table = await readFile('/proc/self/mountinfo', 'utf8');
  const unescape = (text: string): string =>
    text.replace(/\\(\d{3})/g, (_, octal: string) => String.fromCharCode(Number.parseInt(octal, 8)));
  return table
    .split('\n')
    .map((line) => unescape(line.split(' ')[4] ?? ''))
    .filter((path) => path === folder || path.startsWith(`${folder}/`))
    .reverse();
}
