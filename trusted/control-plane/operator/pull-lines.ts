import { Readable } from 'node:stream';
import { asGloveboxError, type ImageLine } from '../../../pure/contracts/index.ts';
import type { Images } from '../../images/index.ts';

/** A pull as JSON lines: what happens, then the digest or the error. It goes on where the person leaves: the next run finds it done. */
export function pullLines(images: Pick<Images, 'pull'>, reference: string): Readable {
  const stream = new Readable({ read: () => undefined });
  const say = (line: ImageLine): void => void stream.push(`${JSON.stringify(line)}\n`);
  images
    .pull(reference, (progress) => say({ progress }))
    .then(
      ({ digest }) => say({ digest }),
      (error: unknown) => say({ error: asGloveboxError(error).toBody().error }),
    )
    .finally(() => stream.push(null));
  return stream;
}
