import { z } from 'zod';
import { limits } from '../contracts/index.ts';
import { imageDigest } from './reference.ts';

/** An image's manifest (OCI or Docker's second schema), as far as it is used. Sizes are its own word; what is read is counted. */
const descriptor = z.object({
  mediaType: z.string().max(256).optional(),
  digest: z.string().regex(imageDigest),
  size: z.int().min(0),
});
export const imageManifest = z.object({
  schemaVersion: z.literal(2),
  mediaType: z.string().max(256).optional(),
  config: descriptor,
  layers: z.array(descriptor).min(1).max(limits.imageLayers.value),
});
export type ImageManifest = z.infer<typeof imageManifest>;
