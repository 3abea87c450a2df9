import type { TrustDomain } from '../../pure/contracts/index.ts';
import { SignerClient, type Signer } from '../signer/index.ts';
import { Supervised } from './supervised.ts';

export interface SupervisedSigner extends Signer {
  readonly pid: number | undefined;
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
  return {
    get pid() {
      return supervised.current.pid;
    },
    issueSvid: async (order) => await supervised.current.issueSvid(order),
    bundle: async () => await supervised.current.bundle(),
    signConsent: async (claims) => await supervised.current.signConsent(claims),
    signControl: async (payload) => await supervised.current.signControl(payload),
    signCheckpoint: async (payload) => await supervised.current.signCheckpoint(payload),
    publicKeys: async () => await supervised.current.publicKeys(),
    stop: async () => await supervised.stop(async (client) => await client.close()),
  };
}
