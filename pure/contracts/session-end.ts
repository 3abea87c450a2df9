// Apart from the schemas: the command line needs these and must not wait for the schema library to load.

/** The written states of a session, in order; every transition is idempotent and in the store before its effect. */
export const sessionStates = ['created', 'preparing', 'running', 'ending', 'ended'] as const;
export type SessionState = (typeof sessionStates)[number];

export const endReasons = [
  'exited',
  'stopped',
  'time-limit',
  'memory-limit',
  'disk-limit',
  'process-limit',
  'sidecar-died',
  'sandbox-died',
  'client-gone',
  'heartbeat-missed',
  'link-violation',
  'start-failed',
  'daemon-died',
] as const;
export type EndReason = (typeof endReasons)[number];

/** Exit codes of `glovebox run` for ends that are not the command's own; the rest is the command's code, or 128 + signal. */
export const endExitCodes: Readonly<Record<EndReason, number | null>> = {
  exited: null,
  stopped: 143,
  'time-limit': 124,
  'memory-limit': 137,
  'disk-limit': 122,
  'process-limit': 121,
  'sidecar-died': 120,
  'sandbox-died': 119,
  'client-gone': 129,
  'heartbeat-missed': 118,
  'link-violation': 117,
  'start-failed': 126,
  'daemon-died': 116,
};
