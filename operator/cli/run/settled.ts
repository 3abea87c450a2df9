import { setTimeout as wait } from 'node:timers/promises';
import { limits, type SessionView } from '../../../pure/contracts/index.ts';
import type { OperatorClient } from '../../client/index.ts';

/** The session once everything of it is gone, and its staged changes are known. */
export async function settled(client: OperatorClient, id: string): Promise<SessionView> {
  const deadline = performance.now() + limits.sessionSettle.value;
  for (let pause = 4; ; pause = Math.min(pause * 1.5, 200)) {
    const session = await client.call('getSession', { params: { id }, query: { ended: 'true' } });
    if (session.state === 'ended' || performance.now() > deadline) return session;
    await wait(pause);
  }
}
