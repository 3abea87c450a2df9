import { lstat, realpath } from 'node:fs/promises';
import { join } from 'node:path';
import { GloveboxError } from '../../../pure/contracts/index.ts';
import type { SandboxRequest } from '../port.ts';

/*
 * runsc follows a link at a mount's source. Whoever can put one there between our look and its mount chooses what of the host is
 * mounted, and an agent in direct mode can, in its folder and below [R23] [R48]. So nothing is mounted from below such a folder
 * while its agent runs, and right before a start every source is looked at once more.
 */

const isBelow = (outer: string, inner: string): boolean => inner.startsWith(`${outer}/`);

export function refuseMovingSources(request: SandboxRequest, running: readonly SandboxRequest[]): void {
  const { workspace } = request;
  const direct = running.flatMap((other) =>
    other.workspace?.mode === 'direct' ? [other.workspace.folder] : [],
  );
  const sources = [
    ...(workspace === undefined ? [] : [workspace.folder]),
    ...request.folders.map(({ source }) => source),
    ...request.toolFolders,
    ...(request.image === undefined ? [] : [request.image.rootfs]),
  ];
  for (const taken of direct) {
    const below = sources.find((source) => isBelow(taken, source));
    if (below !== undefined)
      throw refused(below, `it lies in ${taken}, where an agent works in direct mode now`);
    if (workspace?.mode !== 'direct') continue;
    // Mounts of its own are made below the workspace of a direct session, from sources that the other agent could replace.
    if (workspace.folder === taken || isBelow(workspace.folder, taken))
      throw refused(workspace.folder, `another agent works in ${taken} in direct mode now`);
  }
}

/** What was looked at while another agent ran may have become a link since; from here on nobody untrusted can change it. */
export async function refuseLinks(request: SandboxRequest): Promise<void> {
  const { workspace } = request;
  const sources = [
    ...(workspace === undefined ? [] : [workspace.folder]),
    ...request.folders.map(({ source }) => source),
    ...request.toolFolders,
    ...(request.image === undefined ? [] : [request.image.rootfs]),
  ];
  for (const source of sources)
    if ((await realpath(source)) !== source)
      throw refused(source, 'it has become a link, or leads through one');
  if (workspace?.mode !== 'direct') return;
  for (const path of workspace.readOnly) {
    const place = join(workspace.folder, path);
    if ((await lstat(place)).isSymbolicLink() || (await realpath(place)) !== place)
      throw refused(workspace.folder, `${path} has become a link, or leads through one`);
  }
}

const refused = (path: string, detail: string): GloveboxError =>
  new GloveboxError('GB_WORKSPACE_REFUSED', {
    path,
    detail: `${detail}. Wait for that session's end, or use staged mode in a folder of its own`,
  });
