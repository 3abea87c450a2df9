import { mkdir, realpath } from 'node:fs/promises';
import { Images } from '../images/index.ts';
export type { Images } from '../images/index.ts';
import { readTools, type DaemonPlaces } from './arguments.ts';

/** Images lie in the cache, where what is lost is fetched again; or with the state, where the cache is not this user's to write. */
export async function imagesOf(places: DaemonPlaces, unpacker: string, home: string): Promise<Images> {
  const made = async (folder: string): Promise<string> => {
    await mkdir(folder, { recursive: true, mode: 0o700 });
    return await realpath(folder);
  };
  return new Images({
    folder: await made(`${places.cache}/images`).catch(async () => await made(`${places.state}/images`)),
    home,
    unpacker,
    crane: async () => (await readTools(places.toolsFile)).crane,
  });
}
