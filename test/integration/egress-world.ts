import { createServer, connect, type AddressInfo, type Server, type Socket } from 'node:net';
import { connect as tlsConnect, type TLSSocket } from 'node:tls';
import { Secret } from '../../pure/contracts/index.ts';
import { parsePolicy } from '../../pure/policy/index.ts';
import {
  createEgress,
  type EgressOptions,
  type EgressProxy,
  type EgressRecord,
} from '../../trusted/egress/index.ts';
import { SessionAuthority } from '../../trusted/sidecar/session-authority.ts';

/** An egress proxy on loopback as the sidecar has it, with upstreams of the test's own and a trail that it can read. */
export interface EgressWorld {
  readonly proxy: EgressProxy;
  readonly port: number;
  /** What a client in the sandbox trusts. */
  readonly sessionCa: string;
  readonly trail: { kind: string; record: EgressRecord | null; detail: string }[];
  readonly resolved: string[];
  close(): void;
}

export interface EgressWorldOptions {
  /** The list under `egress:` of a policy, as YAML. */
  readonly rules: string;
  readonly upstreamCa: string;
  readonly placeholders?: Readonly<Record<string, string>>;
  readonly secrets?: Readonly<Record<string, string>>;
  readonly signRequest?: EgressOptions['signRequest'];
  /** The addresses of every name; 127.0.0.1 without. */
  readonly resolve?: () => Promise<readonly string[]>;
}

export interface Authority {
  readonly ca: string;
  certificate(host: string): Promise<{ key: string; cert: string }>;
}

/** An authority that upstreams of a test have their certificates from. */
export async function upstreamAuthority(): Promise<Authority> {
  const authority = await SessionAuthority.create('upstream', Date.now(), 3_600_000);
  return {
    ca: authority.certificatePem,
    certificate: async (host) => {
      const { keyPem, chainPem } = await authority.issue(host, Date.now());
      return { key: keyPem, cert: chainPem };
    },
  };
}

export const listening = (server: Pick<Server, 'listen' | 'address'>): Promise<number> =>
  new Promise((resolve) => {
    server.listen(0, '127.0.0.1', () => {
      resolve((server.address() as AddressInfo).port);
    });
  });

export async function egressWorld(options: EgressWorldOptions): Promise<EgressWorld> {
  const session = await SessionAuthority.create('abc', Date.now(), 3_600_000);
  const policy = parsePolicy(`version: 1\negress:\n${options.rules}`, 'test');
  const trail: EgressWorld['trail'] = [];
  const resolved: string[] = [];
  const proxy = createEgress({
    policy: {
      egress: policy.egress.map((rule, index) => ({
        ...rule,
        id: `egress.${String(index)}`,
        caPem: options.upstreamCa,
      })),
      placeholders: options.placeholders ?? {},
    },
    certificateFor: (host) => session.issue(host, Date.now()),
    stamp: () => ({ user: 'local/0', turnId: 't' }),
    audit: {
      intent: (record) => {
        trail.push({ kind: 'intent', record, detail: '' });
        return Promise.resolve({ sequence: trail.length });
      },
      outcome: (_, result, detail) => {
        trail.push({ kind: `outcome ${result}`, record: null, detail });
        return Promise.resolve();
      },
      event: (record) => trail.push({ kind: 'event', record, detail: record.detail ?? '' }),
    },
    signRequest: options.signRequest ?? (() => Promise.reject(new Error('nothing is signed here'))),
    readSecret: (name) => Promise.resolve(new Secret(options.secrets?.[name] ?? '')),
    resolve: (host) => {
      resolved.push(host);
      return options.resolve?.() ?? Promise.resolve(['127.0.0.1']);
    },
    takeGrant: () => Promise.resolve(null),
  });
  const door = createServer((socket) => {
    proxy.handle(socket);
  });
  const port = await listening(door);
  return {
    proxy,
    port,
    sessionCa: session.certificatePem,
    trail,
    resolved,
    close: () => {
      proxy.close();
      door.close();
    },
  };
}

/** A tunnel to `host:port` through the proxy's CONNECT. Rejects with the status line of a refusal. */
export function tunnel(world: EgressWorld, host: string, port: number): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const socket = connect(world.port, '127.0.0.1');
    socket.once('error', reject);
    socket.write(`CONNECT ${host}:${String(port)} HTTP/1.1\r\nhost: ${host}:${String(port)}\r\n\r\n`);
    socket.once('data', (reply: Buffer) => {
      const line = reply.toString().split('\r\n', 1)[0] ?? '';
      socket.off('error', reject);
      if (line.includes(' 200 ')) resolve(socket);
      else reject(new Error(line));
    });
  });
}

/** TLS with the proxy, for `host`, by the protocols given. */
export async function tlsThrough(
  world: EgressWorld,
  host: string,
  port: number,
  protocols: readonly string[],
): Promise<TLSSocket> {
  const socket = await tunnel(world, host, port);
  return new Promise((resolve, reject) => {
    const tls = tlsConnect({
      socket,
      servername: host,
      ca: world.sessionCa,
      ALPNProtocols: [...protocols],
    });
    tls.once('error', reject);
    tls.once('secureConnect', () => {
      resolve(tls);
    });
  });
}
