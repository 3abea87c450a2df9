import { mkdir, readFile, realpath, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { GloveboxError } from '../../../pure/contracts/index.ts';
import { parseFilesConfig, type SharedFolder } from '../../../pure/policy/index.ts';
import { resolveToolFolders } from '../sessions/tool-folders.ts';

export interface FolderMount {
  readonly name: string;
  readonly source: string;
  readonly writable: boolean;
}

/**
 * What the person shares: the folders of `<config>/files.yaml`, or, without that file, one folder `shared` of Glovebox's own. The
 * same refusals as for tool folders: never a home, never what holds credentials.
 */
export async function sharedFolders(places: {
  readonly config: string;
  readonly state: string;
  readonly home: string;
}): Promise<readonly FolderMount[]> {
  const file = join(places.config, 'files.yaml');
  const text = await readFile(file, 'utf8').catch((error: unknown) => {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return null;
    throw error;
  });
  if (text === null) {
    const source = join(places.state, 'shared');
    await mkdir(source, { recursive: true, mode: 0o700 });
    return [{ name: 'shared', source: await realpath(source), writable: true }];
  }
  return await Promise.all(parseFilesConfig(text, file).map(async (folder) => await mountOf(folder, places)));
}

async function mountOf(folder: SharedFolder, places: { home: string; state: string }): Promise<FolderMount> {
  const [source] = await resolveToolFolders([folder.path], places);
  if (source === undefined || !(await stat(source)).isDirectory()) {
    throw new GloveboxError('GB_INPUT_INVALID', {
      what: `The shared folder ${folder.name}`,
      detail: `${folder.path} is no folder`,
    });
  }
  return { name: folder.name, source, writable: folder.write };
}
