import { mkdir, realpath } from 'node:fs/promises';
import { Images } from '../images/index.ts';
export type { Images } from '../images/index.ts';
import { readTools, type DaemonPlaces } from './arguments.ts';

/** Images lie in the cache: what is lost there is fetched again. */
export async function imagesOf(places: DaemonPlaces, unpacker: string, home: string): Promise<Images> {
  const folder = `${places.cache}/images`;
  await mkdir(folder, { recursive: true, mode: 0o700 });
  return new Images({
    folder: await realpath(folder),
    home,
    unpacker,
    crane: async () => (await readTools(places.toolsFile)).crane,
  });
}
