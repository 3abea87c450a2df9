import { createHash } from 'node:crypto';
import { compactVerify, createLocalJWKSet, type JSONWebKeySet } from 'jose';
import { z } from 'zod';
import { canonicalJson } from '../policy/index.ts';
import type { ChainHead } from './chain.ts';
import { auditPath, rootOf, treeHash } from './merkle.ts';

const hex = z.string().regex(/^[0-9a-f]{64}$/);

/** What the signer signs over all chains. Send it to a witness: then nothing before it can be changed unnoticed (R41). */
export const checkpointPayload = z.strictObject({
  version: z.literal(1),
  number: z.int().min(1),
  time: z.iso.datetime({ precision: 3 }),
  /** Every record up to this place in the stream is covered. */
  stream_seq: z.int().min(0),
  sessions: z.int().min(0),
  records: z.int().min(0),
  root: hex,
  /** SHA-256 of the token of the checkpoint before; zeros for the first. */
  previous: hex,
});
export type CheckpointPayload = z.infer<typeof checkpointPayload>;

export const tokenHash = (token: string): string => createHash('sha256').update(token).digest('hex');

const ordered = (heads: readonly ChainHead[]): readonly ChainHead[] =>
  [...heads].sort((a, b) => (a.session < b.session ? -1 : a.session > b.session ? 1 : 0));

const leafOf = (head: ChainHead): Uint8Array =>
  new TextEncoder().encode(canonicalJson([head.session, head.count, head.hash, head.lastSeq]));

export const rootOfHeads = (heads: readonly ChainHead[]): string =>
  treeHash(ordered(heads).map(leafOf)).toString('hex');

/** Shows that one session's head is under a checkpoint, without the other sessions. */
export interface Inclusion {
  readonly head: ChainHead;
  readonly index: number;
  readonly path: readonly string[];
}

export function inclusionOf(session: string, heads: readonly ChainHead[]): Inclusion | undefined {
  const all = ordered(heads);
  const index = all.findIndex((head) => head.session === session);
  const head = all[index];
  if (head === undefined) return undefined;
  return { head, index, path: auditPath(index, all.map(leafOf)).map((hash) => hash.toString('hex')) };
}

export const includes = (checkpoint: CheckpointPayload, inclusion: Inclusion): boolean =>
  rootOf(
    leafOf(inclusion.head),
    inclusion.index,
    checkpoint.sessions,
    inclusion.path.map((part) => Buffer.from(part, 'hex')),
  )?.toString('hex') === checkpoint.root;

export type OpenedCheckpoint =
  | { readonly ok: true; readonly payload: CheckpointPayload }
  | { readonly ok: false; readonly reason: string };

/** By the signer's checkpoint keys only: another purpose's key, typ or algorithm is refused. */
export async function openCheckpoint(token: string, jwks: JSONWebKeySet): Promise<OpenedCheckpoint> {
  const keys = createLocalJWKSet({
    keys: jwks.keys.filter((key) => key.kid?.startsWith('checkpoint.') === true),
  });
  try {
    const { payload, protectedHeader } = await compactVerify(token, keys, { algorithms: ['EdDSA'] });
    if (protectedHeader.typ !== 'glovebox-checkpoint+jws')
      return { ok: false, reason: 'it is no checkpoint' };
    const parsed = checkpointPayload.safeParse(JSON.parse(new TextDecoder().decode(payload)));
    if (!parsed.success) return { ok: false, reason: 'its content is not a checkpoint’s' };
    return { ok: true, payload: parsed.data };
  } catch (error) {
    return { ok: false, reason: error instanceof Error ? error.message : 'it cannot be read' };
  }
}
