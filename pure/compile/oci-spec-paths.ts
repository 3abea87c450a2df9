import {
  caBundlePath,
  foldersPath,
  homePath,
  homeSeedPath,
  initPath,
  workspacePath,
} from './oci-spec-types.ts';

/** Absolute, normal, no control characters, at most 4096 bytes: the only paths that a spec may carry. */
export function isPlainPath(path: unknown): path is string {
  if (typeof path !== 'string' || !path.startsWith('/') || path.length > 4096) return false;
  if (/[\p{Cc}]/u.test(path) || !path.isWellFormed()) return false;
  return path === '/' || path.slice(1).split('/').every(isPlainSegment);
}

/** Relative, below its folder, normal. */
export const isPlainRelative = (path: unknown): path is string =>
  typeof path === 'string' && path !== '' && isPlainPath(`/${path}`);

const isPlainSegment = (segment: string): boolean => segment !== '' && segment !== '.' && segment !== '..';

/** True where one of the two holds the other. */
export const overlaps = (a: string, b: string): boolean => isWithin(a, b) || isWithin(b, a);
export const isWithin = (path: string, folder: string): boolean =>
  path === folder || folder === '/' || path.startsWith(`${folder}/`);

/** Host folders that no mount may show, whole or in part [R23]: kernel interfaces and where sockets live. */
const hostForbidden = ['/proc', '/sys', '/dev', '/run', '/var/run', '/boot'];
/** Host folders that may be shown in part, never whole. */
const hostTooWide = ['/', '/home', '/root', '/var', '/etc', '/tmp', '/mnt', '/media', '/srv', '/var/lib'];

/**
 * Where a project or a tool folder may lie. A runtime folder below /run (XDG_RUNTIME_DIR) holds the user's sockets;
 * `--host-uds=none` closes them too, so this is the second lock.
 */
export const isHostFolder = (path: unknown): path is string =>
  isPlainPath(path) && !hostTooWide.includes(path) && !hostForbidden.some((folder) => isWithin(path, folder));

/** The places inside that belong to the floor or to Glovebox: a tool folder may not cover, hold or be inside one. */
const taken = [
  ...['/proc', '/sys', '/dev', '/etc', '/tmp', '/run', '/usr', '/bin', '/sbin', '/opt/glovebox'],
  ...[homePath, workspacePath, foldersPath, initPath, homeSeedPath, caBundlePath],
];
const taken32 = /^\/lib[a-z0-9]*$/;

export const isToolFolder = (path: unknown): path is string =>
  isHostFolder(path) &&
  !taken.some((place) => overlaps(path, place)) &&
  !taken32.test(`/${path.split('/')[1] ?? ''}`);

/** The host view is a closed list: the system's programs and libraries, and what is installed below /opt. */
export const isViewFolder = (path: unknown): path is string =>
  isPlainPath(path) &&
  (/^\/(usr|bin|sbin|lib|lib32|lib64|libx32)$/.test(path) ||
    (/^\/opt\/[^/]+$/.test(path) && path !== '/opt/glovebox'));
