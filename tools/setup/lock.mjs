import { mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { randomBytes } from 'node:crypto';
import { setTimeout as wait } from 'node:timers/promises';
import { say } from './say.mjs';

/** When a process began, in clock ticks since the start of the machine: tells a reused pid from the old one.
 * @param {number | string} pid */
function startOf(pid) {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    // The command's name is in parentheses and may hold anything: count the fields after the last one.
    return stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19];
  } catch {
    return undefined;
  }
}

/** @param {string} path @returns {string | undefined} */
function ownerOf(path) {
  try {
    return readFileSync(`${path}/owner`, 'utf8');
  } catch {
    return undefined;
  }
}

/** @param {string} owner "pid start nonce" */
function isAlive(owner) {
  const [pid = '', start] = owner.split(' ');
  return startOf(pid) === start;
}

/** @param {string} path @param {string} owner whether this process now holds the lock */
function take(path, owner) {
  const prepared = `${path}.${randomBytes(6).toString('hex')}`;
  mkdirSync(prepared);
  writeFileSync(`${prepared}/owner`, owner);
  try {
    // A folder replaces only an absent or empty one: of two that try, one wins, with its name already inside.
    renameSync(prepared, path);
    return true;
  } catch (error) {
    rmSync(prepared, { recursive: true });
    const code = error instanceof Error && 'code' in error ? error.code : undefined;
    if (code === 'ENOTEMPTY' || code === 'EEXIST') return false;
    throw error;
  }
}

/** Puts a dead owner's lock aside. @param {string} path @param {string} dead */
function clear(path, dead) {
  const aside = `${path}.${randomBytes(6).toString('hex')}`;
  try {
    renameSync(path, aside);
  } catch {
    // Somebody else cleared it first, which is as good.
    return;
  }
  if (ownerOf(aside) === dead) rmSync(aside, { recursive: true });
  else renameSync(aside, path);
}

/**
 * Runs `work` while no other process on this machine runs work under the same lock.
 * @template T @param {string} path @param {string} what is said while waiting @param {() => Promise<T>} work
 * @returns {Promise<T>}
 */
export async function withLock(path, what, work) {
  mkdirSync(dirname(path), { recursive: true });
  const owner = `${process.pid} ${startOf(process.pid)} ${randomBytes(6).toString('hex')}`;
  let told = false;
  while (!take(path, owner)) {
    const holder = ownerOf(path);
    if (holder !== undefined && !isAlive(holder)) clear(path, holder);
    else {
      if (!told)
        say(`waiting for another set-up to finish ${what} (process ${holder?.split(' ')[0] ?? '?'})`);
      told = true;
      await wait(200);
    }
  }
  try {
    return await work();
  } finally {
    // A set-up that is killed leaves its lock, which names a process that is no more: the next one clears it.
    if (ownerOf(path) === owner) rmSync(path, { recursive: true, force: true });
  }
}
