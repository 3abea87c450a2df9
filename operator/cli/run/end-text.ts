import {
  endExitCodes,
  type AttachEvent,
  type EndReason,
  type SessionView,
} from '../../../pure/contracts/index.ts';

type Ending = Pick<Extract<AttachEvent, { type: 'exited' }>, 'code' | 'signal' | 'reason'>;

const texts: Readonly<Record<EndReason, string | null>> = {
  exited: null,
  stopped: 'it was stopped',
  'time-limit': 'its time limit was reached',
  'memory-limit': 'it used more memory than its tier has',
  'disk-limit': 'it used more disk than its tier has',
  'process-limit': 'it used more processes than its tier has',
  'sidecar-died': 'its sidecar died, so its sandbox was ended',
  'sandbox-died': 'its sandbox died',
  'client-gone': 'nobody was attached any more',
  'heartbeat-missed': 'its sandbox stopped answering',
  'link-violation': 'its sandbox broke the rules of its link',
  'start-failed': 'the command could not be started',
  'daemon-died': 'the control plane died',
};

/** The exit code of `run`: the command's own, 128 and the signal, or the end's. */
export function exitCodeOf(ending: Ending): number {
  const own = ending.code ?? (ending.signal === null ? null : 128 + ending.signal);
  // 127 and 126 are what a shell says of a command that does not exist or does not start.
  if (ending.reason === 'start-failed' && ending.code !== null) return ending.code;
  return endExitCodes[ending.reason] ?? own ?? 70;
}

/** Why a session ended, in a line, where it was not by its command's own doing. */
export function endText(
  reason: EndReason,
  session: Pick<SessionView, 'detail' | 'expiresAt'> | undefined,
): string | null {
  const text = texts[reason];
  if (text === null) return null;
  const detail = session?.detail ?? null;
  const limit = reason === 'time-limit' && session !== undefined ? ` (${session.expiresAt})` : '';
  return `the session ended: ${text}${limit}${detail === null ? '' : `: ${detail}`}`;
}
