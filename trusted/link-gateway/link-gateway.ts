import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { createServer, type Server, type TLSSocket } from 'node:tls';
import {
  GloveboxError,
  limits,
  type SpiffeId,
  type TrustDomain,
  type WorkloadCaller,
} from '../../pure/contracts/index.ts';
import {
  peerCaller,
  rotateServer,
  serverTlsOptions,
  type Clock,
  type ConnectionRegistry,
  type TlsIdentity,
} from '../identity/index.ts';
import type { LinkRenewal } from '../link/index.ts';
import { answerJoin } from './join.ts';
import { SandboxRenewal, type SandboxRelay } from './sandbox-renewal.ts';

export interface LinkGatewayOptions {
  /** The sidecar's own. */
  readonly identity: TlsIdentity;
  readonly trustDomain: TrustDomain;
  /** The one peer that there is: this session's sandbox. */
  readonly sandbox: SpiffeId;
  readonly relay: SandboxRelay;
  readonly connections: ConnectionRegistry;
  readonly clock: Clock;
  readonly host: string;
  readonly port: number;
  readonly onRefused: (why: string) => void;
}

/** What a LinkServer is made of: the connection, and what keeps its certificate renewed. */
export interface LinkConnection {
  readonly socket: TLSSocket;
  readonly renewal: LinkRenewal;
}

/** The names by which the two uses of this port are told apart (ALPN): a join has no certificate yet, a link has. */
const protocols = { join: 'glovebox-join', link: 'h2' } as const;

/**
 * A sidecar's end of a link that comes over the network: TLS 1.3, one peer, one connection. It is the only thing that a
 * sandbox's certificate opens, and it opens nobody else's.
 */
export class LinkGateway {
  readonly port: number;
  /** The sandbox's connection, once it is there. */
  readonly linked: Promise<LinkConnection>;
  readonly #server: Server;
  readonly #stopRotation: () => void;
  readonly #open = new Set<TLSSocket>();

  private constructor(server: Server, options: LinkGatewayOptions) {
    this.#server = server;
    this.port = (server.address() as AddressInfo).port;
    this.#stopRotation = rotateServer(server, options.identity);
    this.linked = new Promise((resolve) => {
      let taken = false;
      server.on('secureConnection', (socket: TLSSocket) => {
        this.#open.add(socket);
        socket.once('close', () => this.#open.delete(socket));
        socket.on('error', () => undefined);
        try {
          const link = admit(socket, options, taken);
          if (link === undefined) return;
          taken = true;
          resolve(link);
        } catch (error) {
          options.onRefused(error instanceof GloveboxError ? error.why : 'it failed');
          socket.destroy();
        }
      });
    });
  }

  static async listen(options: LinkGatewayOptions): Promise<LinkGateway> {
    const server = createServer({
      ...serverTlsOptions(options.identity, 'requested'),
      ALPNProtocols: Object.values(protocols),
      handshakeTimeout: limits.gatewayJoin.value,
    });
    server.maxConnections = limits.gatewayConnections.value;
    server.on('tlsClientError', (error) => options.onRefused(error.message));
    server.listen(options.port, options.host);
    await once(server, 'listening');
    return new LinkGateway(server, options);
  }

  close(): void {
    this.#stopRotation();
    this.#server.close();
    for (const socket of this.#open) socket.destroy();
  }
}

/** The link, or undefined for a join, which goes its own way. Throws for everybody else. */
function admit(socket: TLSSocket, options: LinkGatewayOptions, taken: boolean): LinkConnection | undefined {
  const { trustDomain, clock, sandbox, relay, connections, onRefused } = options;
  const caller = peerCaller(socket, { trustDomain, role: 'client', now: () => clock.now() });
  if (socket.alpnProtocol === protocols.join && caller.kind === 'anonymous') {
    answerJoin(socket, relay, onRefused);
    return undefined;
  }
  if (socket.alpnProtocol !== protocols.link || caller.kind === 'anonymous')
    throw refused('a connection that is neither a join nor a link');
  if (caller.identity.id !== sandbox) throw refused(`this is not the gateway of ${caller.identity.id}`);
  // The link is opened once, before the agent starts: what comes later is not init.
  if (taken) throw refused('a second link');
  const leaf = socket.getPeerX509Certificate();
  if (leaf === undefined || !connections.admit(caller, socket)) throw refused(revoked(caller));
  const renewal = new SandboxRenewal({ socket, caller, leaf, relay, connections, clock, onRefused });
  return { socket, renewal };
}

const revoked = (caller: WorkloadCaller): string => `the certificate ${caller.serial} is revoked`;
const refused = (detail: string): GloveboxError => new GloveboxError('GB_IDENTITY_REFUSED', { detail });
