import { constants, X509Certificate } from 'node:crypto';
import { Agent, type AgentOptions } from 'node:https';
import type { Duplex } from 'node:stream';
import {
  connect,
  type ConnectionOptions,
  type SecureContextOptions,
  type Server,
  type TlsOptions,
} from 'node:tls';
import type { Identity } from '../../pure/contracts/index.ts';
import { readSvid } from './certificate.ts';
import type { SvidMaterial } from './svid.ts';

/** What these need of an SvidSource. */
export interface TlsIdentity {
  current(): SvidMaterial;
  onRotate(listener: (svid: SvidMaterial) => void): () => void;
}

export type ExpectedPeer = (peer: Identity) => boolean;

/**
 * `required`: no certificate, no connection. `requested`: for the one server with a route that is open to peers without
 * one (join); each of its handlers takes the caller from `peerCaller`.
 */
export type ClientCertificate = 'required' | 'requested';

function contextOptions(svid: SvidMaterial): SecureContextOptions {
  return {
    key: svid.keyPem,
    cert: svid.chainPem,
    ca: svid.bundlePem,
    minVersion: 'TLSv1.3',
    maxVersion: 'TLSv1.3',
    // No resumption: a resumed session would skip the certificate, and outlive its end and its revocation [R4].
    secureOptions: constants.SSL_OP_NO_TICKET,
  };
}

export function serverTlsOptions(
  source: TlsIdentity,
  clientCertificate: ClientCertificate = 'required',
): TlsOptions {
  return {
    ...contextOptions(source.current()),
    requestCert: true,
    rejectUnauthorized: clientCertificate === 'required',
  };
}

/** New connections get each new certificate; open ones go on. Returns how to stop. */
export function rotateServer(server: Pick<Server, 'setSecureContext'>, source: TlsIdentity): () => void {
  return source.onRotate((svid) => server.setSecureContext(contextOptions(svid)));
}

/** The server is who its URI SAN says, whatever the address dialled; `expected` decides whether that is the right one. */
export function clientTlsOptions(source: TlsIdentity, expected: ExpectedPeer): ConnectionOptions {
  const svid = source.current();
  return {
    ...contextOptions(svid),
    rejectUnauthorized: true,
    checkServerIdentity: (_host, peer) => {
      const read = readSvid(new X509Certificate(peer.raw), 'server');
      if (!read.ok) return new Error(`the server has no identity: ${read.reason}`);
      const { identity } = read.value;
      if (identity.trustDomain !== svid.identity.trustDomain) {
        return new Error('the server is of another trust domain');
      }
      return expected(identity)
        ? undefined
        : new Error(`the server is ${identity.id}, which is not expected here`);
    },
  };
}

/**
 * An agent whose every request goes over a connection of the newest certificate: the server ends a connection with the
 * certificate that made it, and a request that is just being sent would be lost with it [R4].
 */
export class IdentityAgent extends Agent {
  readonly #source: TlsIdentity;
  readonly #expected: ExpectedPeer;
  #fresh = new WeakSet<object>();
  readonly #unlisten: () => void;

  constructor(source: TlsIdentity, expected: ExpectedPeer, options: AgentOptions = {}) {
    // A cached session would skip checkServerIdentity.
    super({ ...options, maxCachedSessions: 0 });
    this.#source = source;
    this.#expected = expected;
    this.#unlisten = source.onRotate(() => this.#renew());
  }

  override createConnection(options: ConnectionOptions): ReturnType<typeof connect> {
    const socket = connect({ ...options, ...clientTlsOptions(this.#source, this.#expected) });
    this.#fresh.add(socket);
    return socket;
  }

  /** Called by Node when a request is over: whether its connection may serve another. */
  override keepSocketAlive(socket: Duplex): boolean {
    if (!this.#fresh.has(socket)) return false;
    // Typed as void, in fact whether it is kept.
    const kept: unknown = super.keepSocketAlive(socket);
    return kept !== false;
  }

  override destroy(): void {
    this.#unlisten();
    super.destroy();
  }

  #renew(): void {
    this.#fresh = new WeakSet();
    for (const sockets of Object.values(this.freeSockets))
      for (const socket of sockets ?? []) socket.destroy();
  }
}
