import type { TLSSocket } from 'node:tls';
import {
  GloveboxError,
  type AnonymousCaller,
  type Parsed,
  type TrustDomain,
  type WorkloadCaller,
} from '../../pure/contracts/index.ts';
import { readSvid, type PeerRole, type SvidFacts } from './certificate.ts';

/** What is expected of a peer besides a good certificate. */
export interface PeerRule {
  readonly trustDomain: TrustDomain;
  /** The peer's side of the connection: a server sees clients, a client sees a server. */
  readonly role: PeerRole;
  readonly now: () => number;
}

/**
 * Who is at the other end of a TLS connection [R2]. TLS has verified the chain and that the peer holds the key; here
 * each of the rest is checked again, so that a server option that somebody forgets does not open the door.
 */
export function peerIdentity(socket: TLSSocket, rule: PeerRule): Parsed<WorkloadCaller> {
  if (socket.getProtocol() !== 'TLSv1.3') return refused('the connection is not TLS 1.3');
  const certificate = socket.getPeerX509Certificate();
  if (certificate === undefined) return refused('it showed no certificate');
  if (!socket.authorized) return refused(`its certificate was not verified: ${reasonOf(socket)}`);
  const read = readSvid(certificate, rule.role);
  if (!read.ok) return read;
  const { identity, notBefore, notAfter } = read.value;
  if (identity.trustDomain !== rule.trustDomain) return refused('it is of another trust domain');
  const now = rule.now();
  if (now >= notAfter.getTime()) return refused('its certificate has ended');
  if (now < notBefore.getTime()) return refused('its certificate has not begun');
  return { ok: true, value: workloadCaller(read.value) };
}

/**
 * The caller on a server that also serves peers without a certificate (the join route). A certificate that is shown and
 * not good is an error, never anonymity.
 */
export function peerCaller(socket: TLSSocket, rule: PeerRule): WorkloadCaller | AnonymousCaller {
  if (socket.getPeerX509Certificate() === undefined) return anonymous;
  const peer = peerIdentity(socket, rule);
  if (!peer.ok) throw new GloveboxError('GB_IDENTITY_REFUSED', { detail: peer.reason });
  return peer.value;
}

// The one cast by which a workload becomes a Caller; `facts` are of a certificate whose holder was proven just before
// (above, by TLS; in continuity.ts, over a connection's exporter). It does not leave this room.
export const workloadCaller = (facts: SvidFacts): WorkloadCaller =>
  Object.freeze({
    kind: 'workload',
    identity: facts.identity,
    serial: facts.serial,
    notAfter: facts.notAfter,
  }) as unknown as WorkloadCaller;

const anonymous = Object.freeze({ kind: 'anonymous' }) as unknown as AnonymousCaller;

function reasonOf(socket: TLSSocket): string {
  // Typed as Error, in fact OpenSSL's code as a string.
  const reason: unknown = socket.authorizationError;
  return typeof reason === 'string' ? reason : reason instanceof Error ? reason.message : 'no reason given';
}

const refused = (reason: string): { readonly ok: false; readonly reason: string } => ({ ok: false, reason });
