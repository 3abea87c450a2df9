import { z } from 'zod';

const sharedFolder = z.strictObject({
  /** The first step of its paths: `/notes/a.txt`, and of the scopes that concern it. */
  name: z
    .string()
    .regex(
      /^[a-z][a-z0-9-]{0,30}$/,
      'lower-case letters, digits and dashes, at most 31, beginning with a letter',
    ),
  /** Absolute, or in `~/`. */
  path: z.string().min(1).max(4096),
  write: z.boolean().default(false),
});

/** `<config>/providers.yaml`: what the person lends to the providers on this machine. */
export const providersDocument = z.strictObject({
  files: z.strictObject({
    folders: z
      .array(sharedFolder)
      .max(20)
      .refine((all) => new Set(all.map(({ name }) => name)).size === all.length, 'a name is there twice'),
  }),
});
export type ProvidersDocument = z.infer<typeof providersDocument>;
export type SharedFolder = ProvidersDocument['files']['folders'][number];
