import { GloveboxError } from '../../../pure/contracts/index.ts';
import { connect } from '../connect.ts';
import { note } from '../output.ts';
import { staySession } from '../run/run-session.ts';
import { endsOf, sessionRequest } from '../run/session-request.ts';

/** `glovebox exec`: a further command in a running session's sandbox. */
export async function exec(
  id: string,
  command: readonly string[],
  options: { readonly interactive?: boolean; readonly tty?: boolean },
): Promise<number> {
  if (command.length === 0)
    throw new GloveboxError('GB_USAGE', {
      detail: 'there is no command to run',
      hint: 'Write it after the session, such as: glovebox exec calm-fox -- bash',
    });
  const { stdin, stdout, stderr } = process;
  // As `run` would: a terminal where the person has one, input where there is some.
  const request = sessionRequest(command, options, endsOf(process), process.env);
  const { client } = connect();
  const session = await client.call('getSession', { params: { id } });
  const terminal = request.terminal ?? null;
  const { process: name } = await client.call('execSession', {
    params: { id: session.id },
    body: { command: [...command], terminal, stdin: request.stdin === true },
  });
  const outcome = await staySession({
    client,
    session,
    ends: { stdin, stdout, stderr },
    shape: { terminal: terminal !== null, forwardInput: request.stdin === true },
    foreground: true,
    ask: stdin.isTTY && stderr.isTTY,
    process: name,
  });
  if (outcome.exitCode === 127 || outcome.exitCode === 126)
    note(`if ${command[0] ?? ''} did not start: what is not in the sandbox cannot be run in it`);
  return outcome.exitCode;
}
