import { GloveboxError, type SessionView } from '../../../pure/contracts/index.ts';
import { OperatorError } from '../../client/index.ts';
import { connect, withDaemon } from '../connect.ts';
import { note, printJson } from '../output.ts';
import { endsOf, sessionRequest, type RunOptions } from '../run/session-request.ts';
import { staySession } from '../run/run-session.ts';

const isUnfit = (error: unknown): boolean =>
  error instanceof OperatorError && error.body.error.code === 'GB_HOST_UNFIT';

/** `glovebox run`: everything that is not needed before the control plane was asked is loaded after it. */
export async function run(command: readonly string[], options: RunOptions): Promise<number> {
  const { stdin, stdout, stderr } = process;
  if (command.length === 0 && options.preset === undefined && options.image === undefined)
    throw new GloveboxError('GB_USAGE', {
      detail: 'there is no command to run',
      hint: 'Write it after --, such as: glovebox run -- npm test; or name a preset.',
    });
  const request = sessionRequest(command, options, endsOf(process), process.env);
  const connection = connect();
  const { client } = connection;
  const image = options.image;
  let pulled: { image?: string } = {};
  const create = async (): Promise<SessionView> => {
    if (image !== undefined && pulled.image === undefined) {
      const { pullImage } = await import('../run/pull-image.ts');
      pulled = { image: await pullImage(client, image) };
    }
    return await client.call('createSession', { body: { ...request, ...pulled } });
  };
  const session = await withDaemon(connection, create).catch(async (error: unknown) => {
    if (!stderr.isTTY || !isUnfit(error)) throw error;
    const { explainUnfitHost } = await import('../run/unfit-host.ts');
    if (!(await explainUnfitHost(client))) throw error;
    return await create();
  });
  // Weakened guarantees are said at every run.
  if (session.weakened.length > 0) note(`weakened on this host: ${session.weakened.join('; ')}`);
  if (request.detach === true) {
    if (options.json === true) printJson(session);
    else process.stdout.write(`${session.name}\n`);
    return 0;
  }
  const atTerminal = stdin.isTTY && stderr.isTTY;
  const outcome = await staySession({
    client,
    session,
    ends: { stdin, stdout, stderr },
    shape: { terminal: request.terminal !== null, forwardInput: request.stdin === true },
    foreground: true,
    ask: atTerminal,
  });
  // A command that ended by itself, in a folder where something now waits for a tool of the host (R48).
  if (outcome.session?.reason === 'exited' && outcome.session.detail !== null) note(outcome.session.detail);
  if (outcome.session?.changes === 'kept') {
    const { changesAtEnd } = await import('../run/changes-at-end.ts');
    await changesAtEnd(
      client,
      outcome.session,
      { stdin, stdout, stderr },
      atTerminal && options.json !== true,
    );
  }
  if (options.json === true && outcome.session !== undefined)
    process.stderr.write(`${JSON.stringify(outcome.session)}\n`);
  return outcome.exitCode;
}
