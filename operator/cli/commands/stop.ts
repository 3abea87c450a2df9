import type { SessionView } from '../../../pure/contracts/index.ts';
import { connect } from '../connect.ts';
import { print, printJson } from '../output.ts';

export async function stop(ids: readonly string[], json: boolean): Promise<number> {
  const { client } = connect();
  const stopped: SessionView[] = [];
  for (const id of ids) {
    const session = await client.call('stopSession', { params: { id } });
    stopped.push(session);
    if (!json) print(`${session.name} ${session.state === 'ended' ? 'has ended' : 'is ending'}.`);
  }
  if (json) printJson(stopped);
  return 0;
}
