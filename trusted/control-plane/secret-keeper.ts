import { secretRoutes, spiffeId, type TrustDomain } from '../../pure/contracts/index.ts';
import type { IdentityAuthority, TlsIdentity } from '../identity/index.ts';
import {
  BrokerProcess,
  type BrokerBootstrap,
  type BrokerProcessOptions,
  type SecretListing,
} from '../secrets/index.ts';
import { RouteClient, type RouteAddress } from '../workload-http/index.ts';
import { Supervised } from './supervised.ts';

export interface SecretKeeperOptions {
  readonly entry: string;
  readonly folder: string;
  readonly trustDomain: TrustDomain;
  readonly authority: IdentityAuthority;
  readonly identity: TlsIdentity;
  readonly workloadApi: RouteAddress;
  readonly bus: RouteAddress;
  readonly onRefused: BrokerProcessOptions['onRefused'];
  readonly onAsked: BrokerProcessOptions['onAsked'];
  readonly log: (message: string, error?: unknown) => void;
}

type Listed = SecretListing;

/** The secret broker as the control plane sees it: names and sealed values go through, no value ever does (R5). */
export class SecretKeeper {
  readonly address: RouteAddress;
  readonly #broker: Supervised<BrokerProcess>;
  readonly #client: RouteClient<typeof secretRoutes>;
  readonly #names = new Set<string>();

  private constructor(broker: Supervised<BrokerProcess>, client: RouteClient<typeof secretRoutes>) {
    this.#broker = broker;
    this.#client = client;
    const { host, port } = broker.current;
    this.address = { host, port };
  }

  static async start(options: SecretKeeperOptions): Promise<SecretKeeper> {
    const { trustDomain, authority, folder, workloadApi, bus } = options;
    let port = 0;
    const broker = await Supervised.start<BrokerProcess>({
      name: 'the secret broker',
      start: async () => {
        const joinToken = await authority.createJoinToken(spiffeId(trustDomain, { kind: 'secret-broker' }));
        // From before the list is read until the process listens: no revocation falls in between.
        const meanwhile: string[] = [];
        const unlisten = authority.onRevoked((serials) => meanwhile.push(...serials));
        const revoked = [...(await authority.revokedSerials())];
        const bootstrap: BrokerBootstrap = {
          type: 'bootstrap',
          folder,
          trustDomain,
          joinToken,
          // Of the moment: while one root takes the other's place it holds both.
          bundlePem: options.identity.current().bundlePem,
          workloadApi: { ...workloadApi },
          bus: { ...bus },
          port,
          revoked,
        };
        const started = await BrokerProcess.start({
          entry: options.entry,
          bootstrap,
          onRefused: options.onRefused,
          onAsked: options.onAsked,
          onLine: (line) => options.log(`secret broker: ${line}`),
        }).finally(unlisten);
        started.revoke(meanwhile);
        const listening = authority.onRevoked((serials) => started.revoke(serials));
        void started.exited.then(listening);
        port = started.port;
        return started;
      },
      exited: async (part) => await part.exited,
      log: options.log,
    });
    const client = RouteClient.withIdentity(
      secretRoutes,
      () => ({ host: '127.0.0.1', port }),
      options.identity,
      'secret-broker',
    );
    const keeper = new SecretKeeper(broker, client);
    await keeper.list();
    return keeper;
  }

  get pid(): number | undefined {
    return this.#broker.current.pid;
  }

  has(name: string): boolean {
    return this.#names.has(name);
  }

  async sealingKey(): Promise<{ jwk: Record<string, unknown> }> {
    return await this.#client.call('sealingKey', {});
  }

  async list(): Promise<Listed[]> {
    const listed = await this.#client.call('listSecrets', {});
    this.#names.clear();
    for (const { name } of listed) this.#names.add(name);
    return listed;
  }

  async put(name: string, sealed: string): Promise<Listed> {
    const listed = await this.#client.call('putSecret', { params: { name }, body: { sealed } });
    this.#names.add(name);
    return listed;
  }

  async remove(name: string): Promise<{ name: string }> {
    const removed = await this.#client.call('removeSecret', { params: { name } });
    this.#names.delete(name);
    return removed;
  }

  async stop(): Promise<void> {
    this.#client.close();
    await this.#broker.stop(async (broker) => await broker.stop());
  }
}
