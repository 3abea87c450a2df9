import { constants } from 'node:os';
import type { AttachEvent, SessionView } from '../../../pure/contracts/index.ts';
import { GloveboxError, limits } from '../../../pure/contracts/index.ts';
import { attach, type Attachment, type OperatorClient } from '../../client/index.ts';
import { note } from '../output.ts';
import { endText, exitCodeOf } from './end-text.ts';
import { settled } from './settled.ts';
import { SessionIo, type IoShape, type LocalEnds } from './session-io.ts';

const forwarded = ['SIGINT', 'SIGTERM', 'SIGHUP', 'SIGQUIT'] as const;

export interface Stay {
  readonly client: OperatorClient;
  readonly session: SessionView;
  readonly ends: LocalEnds;
  readonly shape: IoShape;
  readonly foreground: boolean;
  /** Whether questions may be asked here: only where a person reads and types. */
  readonly ask: boolean;
  /** A further command of the session instead of its own. */
  readonly process?: string;
}

export interface Outcome {
  readonly exitCode: number;
  readonly session: SessionView | undefined;
  /** The person left before its end. */
  readonly detached: boolean;
}

/** Stays with a session until it ends: its input and output, its signals, its questions. */
export async function staySession(stay: Stay): Promise<Outcome> {
  const { client, session, ends, shape } = stay;
  let attachment: Attachment;
  try {
    attachment = await attach({
      socketPath: client.socketPath,
      sessionId: session.id,
      foreground: stay.foreground,
      ...(stay.process === undefined ? {} : { process: stay.process }),
    });
  } catch (error) {
    // A session that could not be started has a better reason than the connection that it did not take.
    const view = await client
      .call('getSession', { params: { id: session.id }, query: {} })
      .catch(() => undefined);
    if (view?.reason !== 'start-failed') throw error;
    return await outcome(client, view, undefined);
  }
  const io = new SessionIo(attachment, ends, shape);
  const onExit = (): void => io.restore();
  // Whatever ends this program, the terminal is left as it was.
  process.on('exit', onExit);
  const stopSignals = forwardSignals(attachment);
  const stopAsking = stay.ask ? startAsking(client, session, ends, io) : undefined;
  try {
    io.start();
    const exited = await io.ended();
    await stopAsking?.();
    io.restore();
    if (stay.process !== undefined && (exited?.reason === 'exited' || exited?.reason === 'start-failed'))
      return { exitCode: exitCodeOf(exited), session, detached: false };
    if (io.detached) return { exitCode: 0, session, detached: true };
    return await outcome(client, session, exited);
  } finally {
    process.off('exit', onExit);
    io.restore();
    stopSignals();
    attachment.close();
  }
}

function forwardSignals(attachment: Attachment): () => void {
  const handlers = forwarded.map((name) => {
    const handler = (): void => {
      attachment.send({ type: 'signal', signal: constants.signals[name] });
      // The person's terminal is gone: a command that goes on after that is not stayed with.
      if (name === 'SIGHUP') setTimeout(() => attachment.close(), limits.hangUpWait.value).unref();
    };
    process.on(name, handler);
    return () => process.off(name, handler);
  });
  return () => handlers.forEach((stop) => stop());
}

/** Listens for questions of this session. Loaded beside the start: a command that asks nothing does not wait for it. */
function startAsking(
  client: OperatorClient,
  session: SessionView,
  ends: LocalEnds,
  io: SessionIo,
): () => Promise<void> {
  const stop = new AbortController();
  const work = (async () => {
    const { askAtTerminal } = await import('./ask-at-terminal.ts');
    await askAtTerminal(client, session, ends, io, stop.signal);
  })().catch((error: unknown) => {
    if (!stop.signal.aborted)
      note(
        `questions cannot be shown here (${error instanceof Error ? error.name : 'error'}); use glovebox approve`,
      );
  });
  return async () => {
    stop.abort();
    await work;
  };
}

async function outcome(
  client: OperatorClient,
  session: SessionView,
  exited: Extract<AttachEvent, { type: 'exited' }> | undefined,
): Promise<Outcome> {
  let view: SessionView | undefined;
  try {
    view = await settled(client, session.id);
  } catch (error) {
    if (!(error instanceof GloveboxError) || error.code !== 'GB_DAEMON_UNREACHABLE') throw error;
  }
  const told = exited ?? {
    code: view?.exitCode ?? null,
    signal: view?.exitSignal ?? null,
    reason: view === undefined ? ('daemon-died' as const) : ('sidecar-died' as const),
  };
  // Why it ended may be known better since it was told (a memory limit).
  const ending = { ...told, reason: view?.reason ?? told.reason };
  const text = endText(ending.reason, view);
  if (text !== null) note(text);
  return { exitCode: exitCodeOf(ending), session: view, detached: false };
}
