import { randomUUID } from 'node:crypto';
import { mkdirSync, renameSync } from 'node:fs';
import { mkdir, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { SandboxRequest } from '../port.ts';
import { absent, type HostView } from './host-view.ts';
import { fillCommon, fillOwn, imageView } from './prepare-run.ts';
import type { RunFolder } from './settings.ts';

/**
 * Run folders: some fifty folders and files each, on a disk that others write too. The next one is made ahead, and an ended one is
 * out of the way in one step; what is in it goes after that, so that neither a start nor an end waits for it.
 */
export class RunFolders {
  readonly #ahead: string;
  readonly #ended: string;
  readonly #view: HostView;
  readonly #going = new Set<Promise<unknown>>();
  #spare: string | undefined;
  #closed = false;

  constructor(folder: string, view: HostView) {
    this.#ahead = join(folder, 'run-ahead');
    this.#ended = join(folder, 'run-ended');
    this.#view = view;
  }

  prepare(): void {
    if (this.#spare !== undefined || this.#closed) return;
    const path = join(this.#ahead, randomUUID());
    mkdirSync(this.#ahead, { recursive: true, mode: 0o700 });
    openly(() => {
      mkdirSync(path, { mode: 0o700 });
      fillCommon({ path, root: join(path, 'root') }, this.#view);
    });
    this.#spare = path;
  }

  /** Synchronous: calls of microseconds each, which would cost more as a queue for the thread pool, before every start. */
  make(run: RunFolder, request: SandboxRequest): void {
    openly(() => {
      if (request.image !== undefined || !this.#take(run.path)) {
        mkdirSync(run.path, { mode: 0o700 });
        fillCommon(run, request.image === undefined ? this.#view : imageView);
      }
      fillOwn(run, request, this.#view);
    });
  }

  async remove(run: RunFolder): Promise<void> {
    await mkdir(this.#ended, { recursive: true, mode: 0o700 });
    const path = join(this.#ended, randomUUID());
    await rename(run.path, path);
    const going = rm(path, { recursive: true, force: true })
      // The next start's `reap` removes it.
      .catch(() => undefined)
      .finally(() => this.#going.delete(going));
    this.#going.add(going);
  }

  /** What a process that died had made ahead or not removed any more. Call before the first start. */
  async reap(): Promise<void> {
    await rm(this.#ended, { recursive: true, force: true });
    if (this.#spare === undefined) await rm(this.#ahead, { recursive: true, force: true });
  }

  async close(): Promise<void> {
    this.#closed = true;
    this.#spare = undefined;
    await Promise.all(this.#going);
    for (const path of [this.#ahead, this.#ended]) await rm(path, { recursive: true, force: true });
  }

  #take(path: string): boolean {
    const spare = this.#spare;
    this.#spare = undefined;
    if (spare === undefined) return false;
    try {
      renameSync(spare, path);
      return true;
    } catch (error) {
      // Somebody cleaned up: then it is made here.
      absent(error);
      return false;
    }
  }
}

/** runsc's processes are others than this one: what they pass through is open to them, whatever the umask was. */
function openly(work: () => void): void {
  const umask = process.umask(0o022);
  try {
    work();
  } finally {
    process.umask(umask);
  }
}
