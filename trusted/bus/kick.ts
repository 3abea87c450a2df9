import type { TrustDomain } from '../../pure/contracts/index.ts';
import type { BusClient } from './authorizer.ts';
import { dial, type BusAddresses } from './dial.ts';
import { busFailure } from './failures.ts';
import type { Svid } from './server.ts';

export interface KickOptions {
  readonly address: BusAddresses;
  /** Of `busOperators.system`. */
  readonly system: () => Svid;
  readonly trustDomain: TrustDomain;
}

const answerMs = 1000;

/** Asks each connection's server, through the system account, to end it. One that is gone already is no error. */
export async function endConnections(options: KickOptions, clients: readonly BusClient[]): Promise<number> {
  if (clients.length === 0) return 0;
  const nc = await dial({
    address: options.address,
    svid: options.system(),
    trustDomain: options.trustDomain,
    inboxPrefix: '_INBOX.system',
    name: 'kick',
  });
  try {
    const answers = await Promise.all(
      clients.map(({ server, connection }) =>
        nc.request(`$SYS.REQ.SERVER.${server}.KICK`, JSON.stringify({ cid: connection }), {
          timeout: answerMs,
        }),
      ),
    );
    return answers.filter((answer) => !/"error"/.test(answer.string())).length;
  } catch (error) {
    throw busFailure(error, 'KICK');
  } finally {
    await nc.close();
  }
}
