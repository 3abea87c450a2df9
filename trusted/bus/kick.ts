import type { NatsConnection } from '@nats-io/transport-node';
import { z } from 'zod';
import { limits, type SpiffeId, type TrustDomain } from '../../pure/contracts/index.ts';
import { dial, type BusAddress } from './dial.ts';
import { busFailure } from './failures.ts';
import type { BusKeys } from './keys.ts';
import { accounts } from './server-config.ts';
import type { Svid } from './server.ts';

const connections = z.object({
  server: z.object({ id: z.string().regex(/^[A-Z0-9]+$/) }),
  data: z.object({
    connections: z.array(z.object({ cid: z.int(), authorized_user: z.string().optional() })),
  }),
});

export interface KickOptions {
  readonly address: BusAddress;
  readonly svid: Svid;
  readonly trustDomain: TrustDomain;
  readonly user: BusKeys['system'];
}

/**
 * Ends every open connection of an identity, on every server that answers (R4). Revoke first: the callout then keeps it
 * from coming back. Returns how many were ended.
 */
export async function kick(options: KickOptions, identity: SpiffeId): Promise<number> {
  const nc = await dial({
    address: options.address,
    svid: options.svid,
    trustDomain: options.trustDomain,
    inboxPrefix: '_INBOX.system',
    name: 'kick',
    seed: options.user.seed,
  });
  try {
    return await end(nc, identity);
  } catch (error) {
    throw busFailure(error, 'KICK');
  } finally {
    await nc.close();
  }
}

async function end(nc: NatsConnection, identity: SpiffeId): Promise<number> {
  const question = JSON.stringify({
    auth: true,
    acc: accounts.work,
    user: identity,
    limit: limits.busConnections.value,
  });
  const answers = await nc.requestMany('$SYS.REQ.SERVER.PING.CONNZ', question, {
    strategy: 'stall',
    stall: 100,
    maxWait: 800,
  });
  let ended = 0;
  for await (const answer of answers) {
    const { server, data } = connections.parse(answer.json());
    for (const { cid, authorized_user } of data.connections) {
      if (authorized_user !== identity) continue;
      await nc.request(`$SYS.REQ.SERVER.${server.id}.KICK`, JSON.stringify({ cid }), { timeout: 1000 });
      ended += 1;
    }
  }
  return ended;
}
