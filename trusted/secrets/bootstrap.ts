import { z } from 'zod';

/** The channel that the broker inherits: one bootstrap, one answer. Nothing secret but the join token crosses it. */
export const brokerBootstrap = z.strictObject({
  type: z.literal('bootstrap'),
  folder: z.string().min(1).max(4096),
  trustDomain: z.string().max(255),
  joinToken: z.string().max(200),
  bundlePem: z.string(),
  workloadApi: z.strictObject({ host: z.string(), port: z.int() }),
  bus: z.strictObject({ host: z.string(), port: z.int() }),
  /** 0 at first; the same again after a restart, since sidecars were told. */
  port: z.int().min(0).max(65535),
  /** Serials that were revoked and have not ended. */
  revoked: z.array(z.string()),
});
export type BrokerBootstrap = z.infer<typeof brokerBootstrap>;

/** Said whenever it happens: connections of these end at once, and none is taken from here on (R4). */
export const brokerRevocation = z.strictObject({ type: z.literal('revoked'), serials: z.array(z.string()) });
export type BrokerRevocation = z.infer<typeof brokerRevocation>;

export const brokerReport = z.discriminatedUnion('type', [
  z.strictObject({ type: z.literal('ready'), host: z.string(), port: z.int() }),
  z.strictObject({ type: z.literal('failed'), detail: z.string() }),
  /** Who was refused what, for the audit trail; never a value. */
  z.strictObject({
    type: z.literal('refused'),
    caller: z.string(),
    operation: z.string(),
    code: z.string(),
    detail: z.string(),
  }),
  /** A token endpoint was asked, by what a secret names; null: it gave a token. */
  z.strictObject({
    type: z.literal('asked'),
    secret: z.string(),
    host: z.string(),
    failure: z.string().nullable(),
  }),
]);
export type BrokerReport = z.infer<typeof brokerReport>;
