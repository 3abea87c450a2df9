import { limits, spiffeId, type TrustDomain } from '../../pure/contracts/index.ts';
import type { BusPublicKeys } from './authorizer.ts';

export const accounts = { work: 'GB', callout: 'AUTH', system: 'SYS' } as const;
export const calloutSubject = '$SYS.REQ.USER.AUTH';
/** Between those who answer the callout, whose account nobody else is in: whom one let in another can end. */
export const admittedSubjects = { one: 'admitted.one', all: 'admitted.all' } as const;
export const calloutQueue = 'callout';

/**
 * The two users that the callout does not decide: who answers its questions, and who ends connections. Each is a certificate
 * of its own: one certificate maps to one user, and the control plane's own is its user of the account where the work is.
 */
export const busOperators = {
  callout: { kind: 'bus', server: 'callout' },
  system: { kind: 'bus', server: 'system' },
} as const;

/**
 * The one identity that makes routes between servers. A route is as good as every account at once, so neither a certificate of
 * the same CA nor the server's own for clients opens one; each server has a key of its own for it.
 */
export const busRoutes = { kind: 'bus', server: 'routes' } as const;

/** One of several servers that are one bus: JetStream keeps each record on as many as the stream has replicas. */
export interface ClusterInput {
  readonly name: string;
  /** Where this server takes routes; its certificate for routes names this host. */
  readonly host: string;
  readonly port: number;
  /** The others. */
  readonly routes: readonly { readonly host: string; readonly port: number }[];
}

interface SvidFiles {
  readonly key: string;
  readonly chain: string;
  readonly bundle: string;
}

export interface ServerConfigInput {
  readonly name: string;
  /** For clients; on one machine the loopback. */
  readonly host?: string;
  /** -1: one that is free. */
  readonly port: number;
  readonly folder: string;
  readonly files: SvidFiles;
  readonly trustDomain: TrustDomain;
  readonly keys: BusPublicKeys;
  readonly cluster?: ClusterInput & { readonly files: SvidFiles };
}

/**
 * nats-server's configuration, from values only (its format takes JSON). No monitoring port, no user with a password or
 * token, no `no_auth_user`; whoever is not one of the two operators is decided by the callout, so without the callout
 * nobody gets in (R12). TLS comes before the first protocol byte: a plaintext client learns nothing, not even INFO.
 */
export function serverConfig(input: ServerConfigInput): string {
  const callout = spiffeId(input.trustDomain, busOperators.callout);
  const system = spiffeId(input.trustDomain, busOperators.system);
  return `${JSON.stringify(
    {
      server_name: input.name,
      host: input.host ?? '127.0.0.1',
      port: input.port,
      max_payload: limits.busPayload.value,
      max_connections: limits.busConnections.value,
      max_subscriptions: limits.busSubscriptions.value,
      max_pending: limits.busPending.value,
      write_deadline: `${String(limits.busWrite.value)}ms`,
      logtime: true,
      // The operators are known by the URI of their certificates; no other name of a certificate is anybody's here.
      tls: { ...mutualTls(input.files), handshake_first: true },
      ...(input.cluster === undefined ? {} : { cluster: clusterConfig(input.cluster, input.trustDomain) }),
      jetstream: {
        store_dir: input.folder,
        max_memory_store: limits.busMemory.value,
        max_file_store: limits.busFiles.value,
        // An acknowledged record is on the disk, not in the page cache (R42).
        sync_interval: 'always',
      },
      system_account: accounts.system,
      accounts: {
        [accounts.work]: { jetstream: 'enabled' },
        [accounts.callout]: {
          users: [
            {
              user: callout,
              permissions: {
                // Not allow_responses: a reload forgets whom it may still answer.
                publish: { allow: ['$SYS._INBOX.>', admittedSubjects.one, admittedSubjects.all] },
                subscribe: {
                  allow: [`${calloutSubject} ${calloutQueue}`, admittedSubjects.one, admittedSubjects.all],
                },
              },
            },
          ],
        },
        [accounts.system]: {
          users: [
            {
              user: system,
              permissions: {
                publish: { allow: ['$SYS.REQ.SERVER.*.KICK'] },
                subscribe: { allow: ['_INBOX.system.>'] },
              },
            },
          ],
        },
      },
      authorization: {
        timeout: limits.busAuthTimeout.value / 1000,
        auth_callout: {
          issuer: input.keys.issuer,
          account: accounts.callout,
          auth_users: [callout, system],
          xkey: input.keys.xkey,
        },
      },
    },
    null,
    2,
  )}\n`;
}

const mutualTls = (files: SvidFiles): Readonly<Record<string, unknown>> => ({
  cert_file: files.chain,
  key_file: files.key,
  ca_file: files.bundle,
  verify_and_map: true,
  min_version: '1.3',
  timeout: limits.busAuthTimeout.value / 1000,
});

/** `verify_and_map` and a user that is a URI: a route is taken from that identity only, without a password. */
const clusterConfig = (
  cluster: NonNullable<ServerConfigInput['cluster']>,
  trustDomain: TrustDomain,
): Readonly<Record<string, unknown>> => ({
  name: cluster.name,
  host: cluster.host,
  port: cluster.port,
  routes: cluster.routes.map(({ host, port }) => `nats-route://${host}:${String(port)}`),
  // Clients are told of no other server: they have the list from who started them.
  no_advertise: true,
  authorization: { user: spiffeId(trustDomain, busRoutes), timeout: limits.busAuthTimeout.value / 1000 },
  tls: mutualTls(cluster.files),
});
