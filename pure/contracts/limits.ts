/** Every bound of the product in one table (R45); docs/limits.md is made from it. */
export interface Limit {
  readonly value: number;
  readonly unit: 'bytes' | 'count' | 'ms' | 'per minute';
  readonly owner: string;
  readonly bounds: string;
  readonly reached: string;
}

export const limits = {
  certificateLifetime: {
    value: 300_000,
    unit: 'ms',
    owner: 'signer',
    bounds: 'lifetime of an SVID',
    reached: 'the connection ends unless renewed',
  },
  consentTokenLifetime: {
    value: 300_000,
    unit: 'ms',
    owner: 'signer',
    bounds: 'lifetime of a consent token',
    reached: 'the token is refused',
  },
  consentWait: {
    value: 300_000,
    unit: 'ms',
    owner: 'control-plane',
    bounds: 'how long a question waits for a person',
    reached: 'expires as denied',
  },
  consentReason: {
    value: 500,
    unit: 'count',
    owner: 'sidecar',
    bounds: 'characters of the reason that an agent gives',
    reached: 'GB_INPUT_INVALID',
  },
  consentPending: {
    value: 20,
    unit: 'count',
    owner: 'control-plane',
    bounds: 'open questions of one session',
    reached: 'GB_LIMIT_REACHED',
  },
  consentRate: {
    value: 30,
    unit: 'per minute',
    owner: 'control-plane',
    bounds: 'questions of one session',
    reached: 'GB_LIMIT_REACHED',
  },
  heartbeatMissed: {
    value: 5_000,
    unit: 'ms',
    owner: 'sidecar',
    bounds: 'silence of init',
    reached: 'the session ends',
  },
  joinTokenLifetime: {
    value: 60_000,
    unit: 'ms',
    owner: 'control-plane',
    bounds: 'lifetime of a join token',
    reached: 'refused',
  },
  linkLine: {
    value: 65_536,
    unit: 'bytes',
    owner: 'sidecar',
    bounds: 'one line of init on the control stream',
    reached: 'the session ends',
  },
  linkStreams: {
    value: 512,
    unit: 'count',
    owner: 'sidecar',
    bounds: 'streams open at once on a link',
    reached: 'further connections wait or are refused',
  },
  operationBody: {
    value: 1_048_576,
    unit: 'bytes',
    owner: 'sidecar',
    bounds: 'a request of the agent API',
    reached: '413',
  },
  operationTimeout: {
    value: 30_000,
    unit: 'ms',
    owner: 'sidecar',
    bounds: 'a provider\u2019s answer',
    reached: 'outcome unknown, GB_UPSTREAM_FAILED',
  },
  outputLog: {
    value: 10_485_760,
    unit: 'bytes',
    owner: 'sidecar',
    bounds: 'output kept for `logs`',
    reached: 'the log ends with a note; the output itself goes on',
  },
  scrollback: {
    value: 262_144,
    unit: 'bytes',
    owner: 'sidecar',
    bounds: 'output replayed on attach',
    reached: 'the oldest is dropped',
  },
  policyFile: {
    value: 262_144,
    unit: 'bytes',
    owner: 'policy',
    bounds: 'a policy document',
    reached: 'GB_POLICY_INVALID',
  },
  sessions: {
    value: 50,
    unit: 'count',
    owner: 'control-plane',
    bounds: 'sessions at once on one machine',
    reached: 'GB_LIMIT_REACHED',
  },
  warmSidecars: {
    value: 1,
    unit: 'count',
    owner: 'control-plane',
    bounds: 'sidecars started ahead',
    reached: 'a run waits for a new one',
  },
} as const satisfies Record<string, Limit>;

export type LimitName = keyof typeof limits;
