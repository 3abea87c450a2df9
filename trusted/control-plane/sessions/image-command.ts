import { lstatSync, readlinkSync } from 'node:fs';
import { join } from 'node:path';
import { GloveboxError } from '../../../pure/contracts/index.ts';
import { resolveInRoot, type Found } from '../../../pure/image/index.ts';
import type { Image } from '../../images/index.ts';
import { sandboxWorkspace } from './command.ts';

const fallback = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';

/** The program as an image has it, links followed as inside it, and the PATH that the sandbox gets. */
export function resolveInImage(command: string, image: Image): readonly [program: string, path: string] {
  const path = image.settings.path ?? fallback;
  const refuse = (detail: string): GloveboxError =>
    new GloveboxError('GB_COMMAND_NOT_FOUND', {
      command: command === '' ? '""' : command,
      detail,
      todo: 'Name a program that the image has.',
    });
  if (command === '') throw refuse('the image names none of its own');
  if (command.includes('\0')) throw refuse('its name holds a NUL');
  // A program of the workspace is known inside only; what is not there is said at the start.
  if (command.includes('/'))
    return !command.startsWith('/') || command.startsWith(`${sandboxWorkspace}/`) || isProgram(image, command)
      ? [command, path]
      : missing(refuse(`there is no program ${command} in the image`));
  for (const folder of path.split(':')) {
    if (!folder.startsWith('/')) continue;
    const found = join(folder, command);
    if (isProgram(image, found)) return [found, path];
  }
  throw refuse(`no folder of the image’s PATH holds it (${path.slice(0, 300)})`);
}

const missing = (error: GloveboxError): never => {
  throw error;
};

function isProgram(image: Image, path: string): boolean {
  const look = (inside: string): Found | undefined => {
    const stat = lstatSync(join(image.rootfs, inside), { throwIfNoEntry: false });
    if (stat === undefined) return undefined;
    if (stat.isSymbolicLink()) return { kind: 'link', target: readlinkSync(join(image.rootfs, inside)) };
    return { kind: stat.isDirectory() ? 'folder' : 'file' };
  };
  const real = resolveInRoot(path, look, true);
  if (real === null) return false;
  const stat = lstatSync(join(image.rootfs, real), { throwIfNoEntry: false });
  return stat?.isFile() === true && (stat.mode & 0o111) !== 0;
}
