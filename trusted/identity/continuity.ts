import { createHash, verify, type X509Certificate } from 'node:crypto';
import type { TLSSocket } from 'node:tls';
import type { Parsed, WorkloadCaller } from '../../pure/contracts/index.ts';
import { workloadCaller } from './caller.ts';
import { readSvid } from './certificate.ts';

/** RFC 9266: what both ends of this TLS 1.3 connection know, and nobody else. */
const exporter = { label: 'EXPORTER-Channel-Binding', length: 32 } as const;
const purpose = Buffer.from('glovebox renewed certificate\0');

/** What the key of a renewed certificate signs, ECDSA with SHA-256, to go on with the connection of the one before. */
export function renewalStatement(socket: TLSSocket, leaf: X509Certificate): Buffer {
  const binding = socket.exportKeyingMaterial(exporter.length, exporter.label, Buffer.alloc(0));
  return Buffer.concat([purpose, binding, createHash('sha256').update(leaf.raw).digest()]);
}

/**
 * The peer of an open connection under its renewed certificate: the same identity, and a signature by the renewed key over
 * this very connection's exporter [R4]. `leaf` comes from our own CA by a way of our own (we carried the request there), so
 * its chain is not looked at again; what has to be shown is that the one at the other end of this connection holds its key.
 */
export function renewedPeer(
  socket: TLSSocket,
  before: WorkloadCaller,
  leaf: X509Certificate,
  signature: Buffer,
): Parsed<WorkloadCaller> {
  if (socket.destroyed || socket.getProtocol() !== 'TLSv1.3') return refused('the connection is not TLS 1.3');
  const read = readSvid(leaf, 'client');
  if (!read.ok) return read;
  if (read.value.identity.id !== before.identity.id) return refused('it is of another identity');
  if (
    !verify('sha256', renewalStatement(socket, leaf), { key: leaf.publicKey, dsaEncoding: 'der' }, signature)
  )
    return refused('its key did not sign for this connection');
  return { ok: true, value: workloadCaller(read.value) };
}

const refused = (reason: string): { readonly ok: false; readonly reason: string } => ({ ok: false, reason });
