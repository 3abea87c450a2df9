import { readFileSync } from 'node:fs';
import { z } from 'zod';

/**
 * What a provider is told at its start, as one JSON document on file descriptor 3: never in argv or the environment.
 * `joinToken` is good for one use within a minute; the addresses are init's listeners in this sandbox.
 */
export const providerBootstrap = z.strictObject({
  joinToken: z.string(),
  domain: z.string().regex(/^[a-z][a-z0-9-]{0,30}$/),
  name: z.string().regex(/^[a-z][a-z0-9-]{0,30}$/),
  trustDomain: z.string(),
  workloadApi: z.strictObject({ host: z.string(), port: z.int() }),
  bus: z.strictObject({ host: z.string(), port: z.int() }),
  bundlePem: z.string(),
  /** The provider's own settings. */
  settings: z.record(z.string(), z.unknown()),
});
export type ProviderBootstrap = z.infer<typeof providerBootstrap>;

export const readBootstrap = (fd = 3): ProviderBootstrap =>
  providerBootstrap.parse(JSON.parse(readFileSync(fd, 'utf8')));
