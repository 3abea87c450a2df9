import { dirname } from 'node:path';
import { spiffeId, type SpiffeId, type TrustDomain, type Workload } from '../../pure/contracts/index.ts';
import {
  alreadyClosed,
  AuthCallout,
  BusConnection,
  busOperators,
  type BusAddress,
  isUndelivered,
  NatsServer,
  renewServer,
  type BusAuthorizer,
  type BusPublicKeys,
} from '../bus/index.ts';
import { jailedCommand } from '../drivers/index.ts';
import { SvidSource, type IdentityAuthority } from '../identity/index.ts';
import { Supervised } from './supervised.ts';

export interface BusHostOptions {
  readonly natsServer: string;
  readonly folder: string;
  /** An empty folder for the server's jail. */
  readonly jail: string;
  readonly trustDomain: TrustDomain;
  readonly authority: IdentityAuthority;
  readonly controlPlane: SvidSource;
  /** The signer's: whom the bus lets in is decided and signed there (R5). */
  readonly keys: BusPublicKeys;
  readonly authorizer: BusAuthorizer;
  /** A bus that runs by itself, for several replicas: none is started here. */
  readonly shared?: BusAddress | undefined;
  /** The server was started again, and serves. */
  readonly onRestart: () => void;
  readonly log: (message: string, error?: unknown) => void;
}

/** What nats-server warns of at each start and each renewal, and what is meant to be so. */
const expected = /using "TLS Handshake First" option|found in connect proto, but user required from cert/;

/** The bus on one machine: the server, whom it lets in, and the control plane's own connection to it. */
export class BusHost {
  readonly host: string;
  readonly port: number;
  /** Undefined: it is not ours. */
  readonly #server: Supervised<NatsServer> | undefined;
  readonly #callout: AuthCallout;
  readonly #connection: BusConnection;
  readonly #sources: readonly SvidSource[];

  private constructor(
    address: BusAddress,
    server: Supervised<NatsServer> | undefined,
    callout: AuthCallout,
    connection: BusConnection,
    sources: readonly SvidSource[],
  ) {
    this.host = address.host;
    this.port = address.port;
    this.#server = server;
    this.#callout = callout;
    this.#connection = connection;
    this.#sources = sources;
  }

  static async start(options: BusHostOptions): Promise<BusHost> {
    const { trustDomain, authorizer, controlPlane, log } = options;
    const [source, operator, system] = await Promise.all([
      ownSource(options, { kind: 'bus', server: 'local' }),
      ownSource(options, busOperators.callout),
      ownSource(options, busOperators.system),
    ]);
    let heal: () => Promise<void> = async () => undefined;
    const server =
      options.shared === undefined ? await ownServer(options, source, async () => await heal()) : undefined;
    const address = options.shared ?? { host: '127.0.0.1', port: server?.current.port ?? 0 };
    const svid = controlPlane.current();
    const callout = await AuthCallout.serve({
      address,
      svid: operator.current(),
      system: () => system.current(),
      trustDomain,
      authorizer,
      onRefused: (reason) => {
        if (reason !== alreadyClosed) log(`the bus refused a connection: ${reason}`);
      },
      onError: (error) => log('the auth callout failed', error),
    });
    const connection = await BusConnection.connect({ address, svid, identity: svid.identity });
    // A client that comes back before the callout does is refused, and gives up: those of ours are opened anew, in that order.
    heal = async () => {
      const current = controlPlane.current();
      await callout
        .rotate(operator.current())
        .catch((error: unknown) => log('the old callout did not end in order', error));
      await connection.rotate(current);
      options.onRestart();
    };
    // Each with its own certificate, and never two at a time: a server that reads its configuration anew asks the callout about
    // every client again, and the callout has to be there.
    let turn = Promise.resolve();
    const inTurn = (what: string, work: () => Promise<void>) => (): void => {
      turn = turn.then(work).catch((error: unknown) => log(`${what} was not renewed`, error));
    };
    const renewConnection = inTurn('the connection to the bus', async () => {
      await connection.rotate(controlPlane.current());
    });
    const renewOwn = (own: Supervised<NatsServer>): (() => void) =>
      inTurn('the certificate of the bus', async () => {
        await renewServer(
          () => own.current,
          callout,
          () => source.current(),
        );
      });
    if (server !== undefined) source.onRotate(renewOwn(server));
    operator.onRotate(inTurn('the auth callout', async () => await callout.rotate(operator.current())));
    controlPlane.onRotate(renewConnection);
    connection.onLost((error) => {
      log('the connection to the bus was lost', error);
      renewConnection();
    });
    return new BusHost(address, server, callout, connection, [source, operator, system]);
  }

  get connection(): BusConnection {
    return this.#connection;
  }

  get pid(): number | undefined {
    return this.#server?.current.pid;
  }

  /** Ends every connection of an identity that was revoked (R4). */
  async kick(identity: SpiffeId): Promise<void> {
    try {
      await this.#callout.kick(identity);
    } catch (error) {
      // The server that held the connection is gone, and the connection with it.
      if (!isUndelivered(error)) throw error;
    }
  }

  async stop(): Promise<void> {
    for (const source of this.#sources) source.close();
    await this.#connection.close();
    await this.#callout.close();
    await this.#server?.stop(async (server) => await server.stop());
  }
}

/** Started again where it dies, on the same port: everybody was told of it, and nobody has to be told anew. */
async function ownServer(
  options: BusHostOptions,
  source: SvidSource,
  onRestart: () => Promise<void>,
): Promise<Supervised<NatsServer>> {
  const { trustDomain, keys, log } = options;
  let port: number | undefined;
  return await Supervised.start<NatsServer>({
    name: 'nats-server',
    start: async () => {
      const started = await NatsServer.start({
        binary: options.natsServer,
        folder: options.folder,
        name: 'local',
        trustDomain,
        keys,
        svid: source.current(),
        confine: (program, folder) =>
          jailedCommand({
            program,
            readOnly: [dirname(options.natsServer)],
            writable: [folder],
            uid: null,
            mountPoint: options.jail,
            ownPids: false,
          }),
        onLog: (line) => {
          if (/\[(WRN|ERR|FTL)\]/.test(line) && !expected.test(line))
            log(`nats-server: ${line.slice(0, 500)}`);
        },
        ...(port === undefined ? {} : { port }),
      });
      port = started.port;
      return started;
    },
    exited: async (part) => await part.exited,
    onRestart,
    log,
  });
}

async function ownSource(options: BusHostOptions, workload: Workload): Promise<SvidSource> {
  const id = spiffeId(options.trustDomain, workload);
  const own = async (csr: string) => await options.authority.issueOwn(id, csr);
  return await SvidSource.start({ issue: own, renew: own, expectedId: id });
}
