import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import type { Staged } from './list.ts';

/** A workspace and a layer over it, for tests of this room. */
export class Layer {
  readonly folder = mkdtempSync(join(tmpdir(), 'gb-changes-'));
  readonly staged: Staged;

  constructor() {
    for (const name of ['lower', 'upper']) mkdirSync(join(this.folder, name));
    this.staged = {
      lower: this.lower(''),
      upper: this.upper(''),
      since: new Date(Date.now() + 3_600_000),
      asRoot: process.geteuid?.() === 0,
      show: [],
    };
  }

  lower = (path: string): string => join(this.folder, 'lower', path);
  upper = (path: string): string => join(this.folder, 'upper', path);

  /** A file of the host's. */
  host(path: string, text: string | Buffer): void {
    put(this.lower(path), text);
  }

  /** A file that the agent wrote. */
  agent(path: string, text: string | Buffer, mode = 0o644): void {
    put(this.upper(path), text, mode);
  }

  removed(path: string): void {
    mkdirSync(dirname(this.upper(path)), { recursive: true });
    execFileSync('mknod', [this.upper(path), 'c', '0', '0']);
  }

  close(): void {
    rmSync(this.folder, { recursive: true });
  }
}

function put(path: string, text: string | Buffer, mode = 0o644): void {
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(path, text, { mode });
}
