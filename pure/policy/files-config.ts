import { z } from 'zod';
import { parseYaml } from './parse.ts';

/** `files.yaml` of the configuration folder: the folders that the person shares with agents through the files tools. */
const filesConfig = z.strictObject({
  version: z.literal(1),
  folders: z
    .array(
      z.strictObject({
        name: z.string().regex(/^[a-z][a-z0-9-]{0,30}$/, 'a name is lower-case letters, digits and dashes'),
        /** Absolute, or in ~/. */
        path: z.string().min(1).max(4096),
        write: z.boolean().default(false),
      }),
    )
    .max(20)
    .refine((all) => new Set(all.map((one) => one.name)).size === all.length, 'a name is there twice'),
});
export type SharedFolder = z.infer<typeof filesConfig>['folders'][number];

export const parseFilesConfig = (text: string, file: string): readonly SharedFolder[] =>
  parseYaml(filesConfig, text, file).folders;
