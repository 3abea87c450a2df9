import { z } from 'zod';
import { readBootstrap, serveProvider } from '../../provider-sdk/index.ts';
import { filesOperations } from './operations.ts';

const settings = z.strictObject({
  root: z.string(),
  folders: z.array(z.strictObject({ name: z.string(), write: z.boolean() })),
});

const bootstrap = readBootstrap();
const { root, folders } = settings.parse(bootstrap.settings);
await serveProvider(bootstrap, filesOperations(root, folders));
