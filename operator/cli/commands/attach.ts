import { connect } from '../connect.ts';
import { note } from '../output.ts';
import { DetachKeys } from '../terminal/detach-keys.ts';
import { staySession } from '../run/run-session.ts';
import { GloveboxError } from '../../../pure/contracts/index.ts';

export async function attachCommand(id: string): Promise<number> {
  const { client } = connect();
  const { stdin, stdout, stderr } = process;
  const session = await client.call('getSession', { params: { id } });
  if (session.state === 'ended')
    throw new GloveboxError('GB_SESSION_STATE', { state: 'ended', operation: 'attach', needed: 'running' });
  if (session.weakened.length > 0) note(`weakened on this host: ${session.weakened.join('; ')}`);
  const atTerminal = stdin.isTTY && stderr.isTTY;
  if (atTerminal) note(`attached to ${session.name}; Ctrl-] d leaves it running`);
  const keys = new DetachKeys();
  const outcome = await staySession({
    client,
    session,
    ends: { stdin, stdout, stderr },
    shape: {
      terminal: session.terminal,
      forwardInput: session.terminal || !stdin.isTTY,
      intercept: (chunk, detach) => keys.take(chunk, detach),
    },
    foreground: false,
    ask: atTerminal,
  });
  if (outcome.detached)
    note(`left ${session.name}, which goes on; glovebox attach ${session.name} joins it again`);
  return outcome.detached ? 0 : outcome.exitCode;
}
