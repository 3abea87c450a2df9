import SQLite from 'better-sqlite3';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { GloveboxError } from '../../../pure/contracts/index.ts';

export interface StateLock {
  release(): void;
}

/**
 * One control plane for a state folder. The lock is the kernel's, on an open file: it goes with the process, however that
 * ends, so there is never a stale one to judge. GB_ALREADY_RUNNING when another process has it.
 */
export function lockState(root: string, socket = ''): StateLock {
  const pidFile = join(root, 'control-plane.pid');
  const lock = new SQLite(join(root, 'control-plane.lock'), { timeout: 0 });
  try {
    lock.pragma('journal_mode = DELETE');
    lock.exec('BEGIN EXCLUSIVE');
  } catch (error) {
    lock.close();
    if (!(error instanceof SQLite.SqliteError) || !error.code.startsWith('SQLITE_BUSY')) throw error;
    throw new GloveboxError('GB_ALREADY_RUNNING', { pid: pidIn(pidFile), path: root });
  }
  // The socket tells another command whether this is the control plane that it could use (operator/cli/daemon.ts).
  writeFileSync(pidFile, `${process.pid}\n${socket}\n`, { mode: 0o600 });
  return {
    release: () => {
      lock.close();
    },
  };
}

function pidIn(file: string): string {
  try {
    const [text = ''] = readFileSync(file, 'utf8').split('\n');
    return /^[0-9]{1,10}$/.test(text) ? text : 'unknown';
  } catch {
    // The other one has the lock and has not written its number yet.
    return 'unknown';
  }
}
