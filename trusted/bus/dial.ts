import { X509Certificate } from 'node:crypto';
import type { PeerCertificate } from 'node:tls';
import { connect, UserAuthenticationExpiredError, type NatsConnection } from '@nats-io/transport-node';
import { GloveboxError, limits, type TrustDomain } from '../../pure/contracts/index.ts';
import { readCertificate, type CertificateReader } from './certificate.ts';
import type { Svid } from './server.ts';

export interface BusAddress {
  readonly host: string;
  readonly port: number;
}

/** One server, or every server of a cluster: a connection that loses its server goes on with another. */
export type BusAddresses = BusAddress | readonly BusAddress[];

export interface DialOptions {
  readonly address: BusAddresses;
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
  const { svid } = options;
  const addresses = [options.address].flat();
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
    const nc = await connect({
      servers: addresses.map(({ host, port }) => `${host}:${port}`),
      tls,
      name: options.name,
      inboxPrefix: options.inboxPrefix,
      timeout: limits.busAuthTimeout.value + 1000,
      reconnect: true,
      maxReconnectAttempts: -1,
      reconnectDelayHandler: () => (options.urgent === true ? 20 : 200 + Math.random() * 300),
      // Refused twice is refused while the callout is away too: it goes on until its certificate ends.
      ignoreAuthErrorAbort: true,
      ignoreClusterUpdates: true,
      noAsyncTraces: true,
    });
    void closeWithCertificate(nc, svid);
    return nc;
  } catch (error) {
    throw new GloveboxError('GB_BUS_UNAVAILABLE', { detail: reasonOf(error) }, { cause: error });
  }
}

/** Without this the library would try for ever with a certificate that has ended. */
async function closeWithCertificate(nc: NatsConnection, svid: Svid): Promise<void> {
  const notAfter = Date.parse(new X509Certificate(svid.chainPem).validTo);
  for await (const status of nc.status()) {
    const lostItsRight = status.type === 'error' && status.error instanceof UserAuthenticationExpiredError;
    if (lostItsRight || (status.type === 'reconnecting' && notAfter <= Date.now())) await nc.close();
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
