import { z } from 'zod';
import { sidecarPolicy } from './sidecar-channel.ts';

/** Signed by the control plane for one session and sequence (JWS), on `gb.session.<id>.control`; a sidecar drops all others (R9). */
export const controlMessage = z.discriminatedUnion('type', [
  z.strictObject({
    session_id: z.string(),
    seq: z.int().min(1),
    iat: z.int(),
    type: z.literal('turn-open'),
    turn_id: z.string(),
    user: z.string(),
    /** Seconds since the epoch. */
    expires_at: z.int(),
    /** Several people take part, and the policy does not say otherwise: no grant outlives one use. */
    once_only: z.boolean(),
  }),
  z.strictObject({
    session_id: z.string(),
    seq: z.int().min(1),
    iat: z.int(),
    type: z.literal('turn-close'),
    turn_id: z.string(),
  }),
  z.strictObject({
    session_id: z.string(),
    seq: z.int().min(1),
    iat: z.int(),
    type: z.literal('consent'),
    challenge_id: z.string(),
    answer: z.enum(['approved', 'denied', 'expired']),
    token: z.string().nullable(),
  }),
  z.strictObject({
    session_id: z.string(),
    seq: z.int().min(1),
    iat: z.int(),
    type: z.literal('grant-revoked'),
    grant_id: z.string(),
  }),
  /** A provider of this domain ended: nobody works on what it was given. */
  z.strictObject({
    session_id: z.string(),
    seq: z.int().min(1),
    iat: z.int(),
    type: z.literal('provider-gone'),
    domain: z.string().max(64),
  }),
  /** The whole of a session's policy, in place of the one before: never a part of it. */
  z.strictObject({
    session_id: z.string(),
    seq: z.int().min(1),
    iat: z.int(),
    type: z.literal('policy'),
    policy: sidecarPolicy,
  }),
  /** Certificates of its sandbox: their connections end at once (R4). */
  z.strictObject({
    session_id: z.string(),
    seq: z.int().min(1),
    iat: z.int(),
    type: z.literal('identity-revoked'),
    serials: z.array(z.string().max(64)).max(1000),
  }),
]);
export type ControlMessage = z.infer<typeof controlMessage>;
