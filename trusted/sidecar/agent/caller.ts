import type { LinkCaller, SessionId } from '../../../pure/contracts/index.ts';

/** Whatever comes over this sidecar's link is its sandbox: the one cast by which that becomes a Caller (R2). */
export const linkCaller = (sessionId: SessionId): LinkCaller =>
  Object.freeze({ kind: 'link', sessionId }) as unknown as LinkCaller;
