import type { PeerCertificate } from 'node:tls';
import { connect, type NatsConnection } from '@nats-io/transport-node';
import { GloveboxError, limits, type TrustDomain } from '../../pure/contracts/index.ts';
import { readCertificate, type CertificateReader } from './certificate.ts';
import type { Svid } from './server.ts';

export interface BusAddress {
  readonly host: string;
  readonly port: number;
}

export interface DialOptions {
  readonly address: BusAddress;
  readonly svid: Svid;
  readonly trustDomain: TrustDomain;
  readonly inboxPrefix: string;
  /** For the server's log. */
  readonly name: string;
  /** The callout: while it is away nobody gets in, so it comes back sooner. */
  readonly urgent?: boolean;
  readonly readCertificate?: CertificateReader;
}

/**
 * One connection: TLS 1.3 before any byte of the protocol, both sides verified, and the server is a `/bus/…` of our trust
 * domain. Any other certificate of the same CA (a provider's, another sidecar's) on that port is refused.
 */
export async function dial(options: DialOptions): Promise<NatsConnection> {
  const { address, svid } = options;
  const tls = {
    handshakeFirst: true,
    key: svid.keyPem,
    cert: svid.chainPem,
    ca: svid.bundlePem,
    minVersion: 'TLSv1.3',
    checkServerIdentity: (_host: string, peer: PeerCertificate): Error | undefined =>
      notTheBus(peer, options),
  };
  try {
    return await connect({
      servers: [`${address.host}:${address.port}`],
      tls,
      name: options.name,
      inboxPrefix: options.inboxPrefix,
      timeout: limits.busAuthTimeout.value + 1000,
      reconnect: true,
      maxReconnectAttempts: -1,
      reconnectTimeWait: options.urgent === true ? 20 : 200,
      reconnectJitter: 0,
      reconnectJitterTLS: 0,
      ignoreClusterUpdates: true,
      noAsyncTraces: true,
    });
  } catch (error) {
    throw new GloveboxError('GB_BUS_UNAVAILABLE', { detail: reasonOf(error) }, { cause: error });
  }
}

function notTheBus(peer: PeerCertificate, options: DialOptions): Error | undefined {
  try {
    const { identity } = (options.readCertificate ?? readCertificate)(peer.raw);
    if (identity.kind === 'bus' && identity.trustDomain === options.trustDomain) return undefined;
    return new Error(`the server is ${identity.id}, not a bus of ${options.trustDomain}`);
  } catch (error) {
    return error instanceof Error ? error : new Error('unreadable server certificate');
  }
}

const reasonOf = (error: unknown): string =>
  error instanceof Error ? error.message : 'it cannot be reached';
