import type { TrustDomain } from '../../pure/contracts/index.ts';
import type { BusAuthorizer } from '../bus/index.ts';
import { SignerClient, type Signer } from '../signer/index.ts';
import { Supervised } from './supervised.ts';

export interface SupervisedSigner extends Signer {
  readonly pid: number | undefined;
  /** Decides and signs whom the bus lets in; nobody, while the signer is down. */
  readonly busAuthorizer: BusAuthorizer;
  /** From now on no question is answered by a signer that does not know these. */
  revoked(serials: readonly string[]): void;
  stop(): Promise<void>;
}

/** The signer, started again when it dies; its keys are in its folder, so a new one signs as the old one did. */
export async function startSigner(options: {
  readonly entry: string;
  readonly keysFolder: string;
  readonly trustDomain: TrustDomain;
  readonly log: (message: string, error?: unknown) => void;
}): Promise<SupervisedSigner> {
  const { entry, keysFolder, trustDomain, log } = options;
  const supervised = await Supervised.start<SignerClient>({
    name: 'the signer',
    start: async () =>
      await SignerClient.start({
        entry,
        keysFolder,
        trustDomain,
        onStderr: (text) => log(`signer: ${text.trim().slice(0, 2000)}`),
      }),
    exited: async (client) => await new Promise((resolve) => client.onExit(resolve)),
    log,
  });
  const revocations: string[] = [];
  /** How many of them each signer was told of: one that was started again is told all of them, with its first question. */
  const told = new WeakMap<SignerClient, number>();
  return {
    busKeys: async () => await supervised.current.busKeys(),
    busAuthorizer: {
      ready: async () => await supervised.current.busKeys(),
      answer: async (sealed, serverXkey) => {
        const client = supervised.current;
        const from = told.get(client) ?? 0;
        told.set(client, revocations.length);
        return await client.authorizeBus(sealed, serverXkey, { from, serials: revocations.slice(from) });
      },
    },
    revoked: (serials) => void revocations.push(...serials),
    get pid() {
      return supervised.current.pid;
    },
    issueSvid: async (order) => await supervised.current.issueSvid(order),
    bundle: async () => await supervised.current.bundle(),
    caCertificates: async () => await supervised.current.caCertificates(),
    rotateIssuing: async () => await supervised.current.rotateIssuing(),
    rootPhase: async () => await supervised.current.rootPhase(),
    rotateRoot: async (step) => await supervised.current.rotateRoot(step),
    signConsent: async (claims) => await supervised.current.signConsent(claims),
    signControl: async (payload) => await supervised.current.signControl(payload),
    signCheckpoint: async (payload) => await supervised.current.signCheckpoint(payload),
    publicKeys: async () => await supervised.current.publicKeys(),
    stop: async () => await supervised.stop(async (client) => await client.close()),
  };
}
