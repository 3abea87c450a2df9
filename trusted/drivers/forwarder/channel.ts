import { z } from 'zod';

const target = z.strictObject({ host: z.string().max(253), port: z.int().min(1).max(65535) });

/** The one message to a forwarder, with the trusted end of the provider's link as its handle. */
export const forwarderStart = z.strictObject({
  type: z.literal('start'),
  /** Tunnel → where its connections lead. Nothing else can be reached. */
  targets: z.record(z.string(), target),
  listen: z.array(z.strictObject({ address: z.string(), tunnel: z.string() })),
  command: z.strictObject({
    argv: z.array(z.string()).min(1),
    env: z.array(z.string()),
    cwd: z.string(),
    /** Base64: what the provider finds on its descriptor 3. */
    fd3: z.string(),
  }),
});
export type ForwarderStart = z.infer<typeof forwarderStart>;

export const forwarderReport = z.discriminatedUnion('type', [
  z.strictObject({ type: z.literal('started') }),
  /** A line of the provider's own; untrusted text, escaped by whoever shows it. */
  z.strictObject({ type: z.literal('line'), text: z.string().max(2000) }),
  z.strictObject({ type: z.literal('ended'), detail: z.string().max(2000) }),
]);
export type ForwarderReport = z.infer<typeof forwarderReport>;
