import { chmod, chown, mkdir, readFile, rename, rm, stat, truncate, writeFile } from 'node:fs/promises';
import { createHash, randomUUID } from 'node:crypto';
import { join } from 'node:path';
import { absent } from './host-view.ts';
import { runCommand } from './run-command.ts';

/**
 * Where the staged changes of a workspace live. As root in `<state folder>/changes.ext4`, a file system of the tier's
 * size in a file, mounted below the driver's folder while somebody uses it: the disk limit is the kernel's. A user
 * cannot mount one: there they live in `<state folder>/changes`, and a watch ends a session that exceeds its tier.
 */
export interface ChangesDisk {
  readonly folder: string;
  readonly upper: string;
  readonly bounded: boolean;
  close(): Promise<void>;
}

export class ChangesDisks {
  readonly #spares: string;
  readonly #mounts: string;
  readonly #asRoot: boolean;
  readonly #open = new Map<string, { users: number; ready: Promise<void> }>();
  readonly #making = new Map<number, Promise<void>>();

  constructor(folder: string, asRoot: boolean) {
    this.#spares = join(folder, 'spare');
    this.#mounts = join(folder, 'changes');
    this.#asRoot = asRoot;
  }

  /** Makes what is missing, and mounts it as root. The owner is the workspace's: what is made there belongs to it. */
  async create(stateFolder: string, bytes: number, like: string): Promise<ChangesDisk> {
    if (this.#asRoot && (await stat(imageOf(stateFolder)).catch(absent)) === undefined)
      await this.#takeSpare(bytes, imageOf(stateFolder));
    const disk = await this.#use(stateFolder);
    const owner = await stat(like);
    await mkdir(disk.upper, { mode: 0o700 }).catch(() => undefined);
    await mkdir(join(disk.folder, 'work'), { mode: 0o700 }).catch(() => undefined);
    if (this.#asRoot) await chown(disk.upper, owner.uid, owner.gid);
    await chmod(disk.upper, owner.mode & 0o777);
    return disk;
  }

  /** For reading the changes of a session that may have ended. */
  async open(stateFolder: string): Promise<ChangesDisk | undefined> {
    const kept = this.#asRoot ? imageOf(stateFolder) : join(stateFolder, 'changes/upper');
    if ((await stat(kept).catch(absent)) === undefined) return undefined;
    return this.#use(stateFolder);
  }

  async remove(stateFolder: string): Promise<void> {
    if (this.#asRoot) await unmountAll(this.#folderOf(stateFolder));
    await rm(imageOf(stateFolder), { force: true });
    await rm(this.#folderOf(stateFolder), { recursive: true, force: true });
  }

  /** Unmounts what a process that died had mounted. */
  async reap(): Promise<number> {
    const left = (await mountsBelow(this.#mounts)).filter((mounted) => !this.#open.has(mounted));
    for (const mounted of left) await runCommand('umount', ['--', mounted]);
    return left.length;
  }

  #folderOf(stateFolder: string): string {
    if (!this.#asRoot) return join(stateFolder, 'changes');
    return join(this.#mounts, createHash('sha256').update(stateFolder).digest('hex').slice(0, 32));
  }

  /** One formatted image of this size is kept ahead: a start does not wait for mkfs. */
  async prepare(bytes: number): Promise<void> {
    if (!this.#asRoot) return;
    const spare = this.#spareOf(bytes);
    if ((await stat(spare).catch(absent)) !== undefined) return;
    let making = this.#making.get(bytes);
    if (making === undefined) {
      making = this.#format(bytes, spare).finally(() => this.#making.delete(bytes));
      this.#making.set(bytes, making);
    }
    await making;
  }

  async #use(stateFolder: string): Promise<ChangesDisk> {
    const folder = this.#folderOf(stateFolder);
    await mkdir(folder, { recursive: true, mode: 0o700 });
    let entry = this.#open.get(folder);
    if (entry === undefined) {
      entry = {
        users: 0,
        ready: this.#asRoot ? mountImage(imageOf(stateFolder), folder) : Promise.resolve(),
      };
      this.#open.set(folder, entry);
    }
    entry.users += 1;
    const held = entry;
    try {
      await entry.ready;
    } catch (error) {
      this.#open.delete(folder);
      throw error;
    }
    let closed = false;
    return {
      folder,
      upper: join(folder, 'upper'),
      bounded: this.#asRoot,
      close: async () => {
        if (closed) return;
        closed = true;
        held.users -= 1;
        if (held.users > 0) return;
        this.#open.delete(folder);
        if (this.#asRoot) await unmountAll(folder);
      },
    };
  }

  #spareOf = (bytes: number): string => join(this.#spares, `${bytes}.ext4`);

  /** A rename gives the spare to exactly one of several starts. */
  async #takeSpare(bytes: number, image: string): Promise<void> {
    await this.prepare(bytes);
    try {
      await rename(this.#spareOf(bytes), image);
    } catch {
      await this.#format(bytes, image);
    }
  }

  async #format(bytes: number, path: string): Promise<void> {
    await mkdir(this.#spares, { recursive: true, mode: 0o700 });
    const made = join(this.#spares, `making-${randomUUID()}`);
    await writeFile(made, '', { mode: 0o600 });
    await truncate(made, bytes);
    const options = ['-q', '-F', '-m', '0', '-O', '^has_journal', '-E', 'lazy_itable_init=1,root_owner=0:0'];
    await runCommand('mkfs.ext4', [...options, made]);
    await rename(made, path);
  }
}

const imageOf = (stateFolder: string): string => join(stateFolder, 'changes.ext4');

async function mountImage(image: string, folder: string): Promise<void> {
  if ((await mountsBelow(folder)).includes(folder)) return;
  await runCommand('mount', ['-o', 'loop,nosuid,nodev,discard', '--', image, folder]);
}

async function unmountAll(folder: string): Promise<void> {
  for (const mounted of await mountsBelow(folder)) await runCommand('umount', ['--', mounted]);
}

/** Mount points at or below a folder, innermost first. */
export async function mountsBelow(folder: string): Promise<string[]> {
  const table = await readFile('/proc/self/mountinfo', 'utf8');
  return table
    .split('\n')
    .map((line) =>
      (line.split(' ')[4] ?? '').replace(/\\(\d{3})/g, (_, octal: string) =>
        String.fromCharCode(parseInt(octal, 8)),
      ),
    )
    .filter((path) => path === folder || path.startsWith(`${folder}/`))
    .reverse();
}
