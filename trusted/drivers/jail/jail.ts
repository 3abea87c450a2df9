import { spawn, type ChildProcess, type StdioOptions } from 'node:child_process';
import { existsSync, lstatSync, readlinkSync, realpathSync } from 'node:fs';
import { dirname } from 'node:path';
import { jailScript } from './script.ts';

/**
 * Confines a trusted process that reads hostile bytes (a sidecar, the bus server): it sees system libraries and what is listed
 * here, not the state folder, not the person's home, no other process. Works as root (the process gets a uid of its own) and as
 * an ordinary user (a user namespace). Landlock would do the same with less; Node and this host's tools cannot set it.
 */
export interface JailOptions {
  readonly program: readonly [string, ...string[]];
  /** Further paths to see, read-only, at the same place. */
  readonly readOnly: readonly string[];
  /** Folders to write to, at the same place. */
  readonly writable?: readonly string[];
  /** As root: the uid and gid to run as; null keeps root's (without any capability). Ignored for an ordinary user. */
  readonly uid: number | null;
  /** An empty folder to build the root on; it stays empty outside the jail. */
  readonly mountPoint: string;
  /**
   * False where signals have to reach the program itself: without a PID namespace no process stands between it and its parent. It then
   * sees no process either (there is no /proc), but could signal those of its own uid.
   */
  readonly ownPids?: boolean;
}

export interface JailedProcess extends JailOptions {
  readonly stdio: StdioOptions;
  readonly env?: Readonly<Record<string, string>>;
}

const systemFolders = ['/usr', '/bin', '/sbin', '/lib', '/lib32', '/lib64', '/libx32'];
/** Names, authorities and time; no host keys, no accounts. */
const systemFiles = [
  '/etc/hosts',
  '/etc/resolv.conf',
  '/etc/nsswitch.conf',
  '/etc/host.conf',
  '/etc/gai.conf',
  '/etc/localtime',
  '/etc/ld.so.cache',
  '/etc/ssl/certs',
  '/etc/pki/tls/certs',
  '/etc/pki/ca-trust/extracted',
  '/etc/ca-certificates',
];

export const jailNamespaces = (asRoot: boolean, ownPids = true): readonly string[] => [
  ...(asRoot ? [] : ['--user', '--map-root-user']),
  ...['--mount', '--ipc', '--uts', '--propagation', 'private'],
  ...(ownPids ? ['--pid', '--fork', '--kill-child=KILL'] : []),
];

/** The whole command, as words for `spawn`. */
export function jailedCommand(options: JailOptions): [string, ...string[]] {
  const asRoot = process.geteuid?.() === 0;
  return [
    'unshare',
    ...jailNamespaces(asRoot, options.ownPids),
    ...['--', '/bin/sh', '-c', jailScript, 'jail', options.mountPoint],
    ...[...jailTriples(options), '--'],
    asRoot && options.uid !== null ? String(options.uid) : '-',
    ...options.program,
  ];
}

/** Starts the program; killing the child kills everything inside. */
export function spawnJailed(options: JailedProcess): ChildProcess {
  const [unshare, ...rest] = jailedCommand(options);
  const env = { PATH: '/usr/sbin:/usr/bin:/sbin:/bin', ...options.env };
  return spawn(unshare, rest, { stdio: options.stdio, env, cwd: '/' });
}

function jailTriples(options: JailOptions): string[] {
  const triples: string[][] = [];
  for (const path of systemFolders) {
    if (!existsSync(path)) continue;
    triples.push(lstatSync(path).isSymbolicLink() ? ['link', readlinkSync(path), path] : ['ro', path, path]);
  }
  for (const path of systemFiles) if (existsSync(path)) triples.push(['ro', realpathSync(path), path]);
  for (const device of ['/dev/null', '/dev/urandom', '/dev/random']) triples.push(['dev', device, device]);
  const seen = systemFolders.map((folder) => `${folder}/`);
  for (const path of topMost([...options.readOnly, dirname(realpathSync(process.execPath))])) {
    if (!seen.some((folder) => path.startsWith(folder))) triples.push(['ro', path, path]);
  }
  for (const path of options.writable ?? []) triples.push(['rw', path, path]);
  return triples.flat();
}

/** Without those that another one holds: a second mount inside a read-only one has no place to be made. */
function topMost(paths: readonly string[]): string[] {
  const all = [...new Set(paths)];
  return all.filter((path) => !all.some((other) => other !== path && path.startsWith(`${other}/`)));
}
