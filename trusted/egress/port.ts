import type {
  GitHubNarrowing,
  Secret,
  SidecarPolicy,
  SignedRequest,
  ToBeSigned,
} from '../../pure/contracts/index.ts';

/** The person's turn that a request belongs to, stamped on arrival; null: no turn is open. */
export interface EgressStamp {
  readonly user: string;
  readonly turnId: string;
}

/** `over` is called when the request is. */
export interface TakenGrant {
  readonly id: string;
  readonly over: () => void;
}

/** What is written down of one request. */
export interface EgressRecord<S extends EgressStamp = EgressStamp> {
  readonly stamp: S | null;
  /** `egress:GET`, … */
  readonly operation: string;
  /** `https://host:port/path`, without its query. */
  readonly target: string;
  readonly decision: 'allow' | 'ask' | 'deny';
  readonly rule: string;
  readonly secret: string | null;
  /** By which consent. */
  readonly grant?: string;
  /** A sign of an attack: fronting, or a placeholder where it does not belong. */
  readonly alert: boolean;
  readonly detail: string | null;
  readonly traffic?: Traffic;
  /** What came of it, where it was let through and gets this one record. */
  readonly result?: 'ok' | 'error' | 'unknown';
}

/** What a request did on its way, where it got that far. */
export interface Traffic {
  readonly status: number | null;
  readonly address: string | null;
  /** Bytes of the bodies, to the upstream and from it. */
  readonly sent: number;
  readonly received: number;
  readonly ms: number;
}

export interface EgressIntent {
  /** The stream sequence that the secret broker checks. */
  readonly sequence: number;
}

export interface EgressAudit<S extends EgressStamp = EgressStamp, I extends EgressIntent = EgressIntent> {
  /** Resolves once the intent is stored; rejects with GB_AUDIT_UNAVAILABLE, and nothing goes out. */
  intent(record: EgressRecord<S>): Promise<I>;
  outcome(intent: I, result: 'ok' | 'error' | 'unknown', detail: string, traffic?: Traffic): Promise<void>;
  /** A record that nothing waits for: what was denied, and requests without an effect. */
  event(record: EgressRecord<S>): void;
}

export interface EgressOptions<S extends EgressStamp = EgressStamp, I extends EgressIntent = EgressIntent> {
  readonly policy: Pick<SidecarPolicy, 'egress' | 'placeholders'>;
  /** A certificate by the session's own authority, for a host that a rule names. */
  readonly certificateFor: (host: string) => Promise<{ readonly keyPem: string; readonly chainPem: string }>;
  readonly stamp: () => S | null;
  readonly audit: EgressAudit<S, I>;
  /** A secret's value, or the short-lived one made from it, for one call; not kept. */
  readonly readSecret: (name: string, intentSequence: number, github?: GitHubNarrowing) => Promise<Secret>;
  /** The signature of one request by a key that stays with the secret broker. */
  readonly signRequest: (name: string, intentSequence: number, request: ToBeSigned) => Promise<SignedRequest>;
  /** All addresses of a name, as text. Called for a new connection only, and never for a name that no rule allows. */
  readonly resolve: (host: string) => Promise<readonly string[]>;
  /**
   * Spends a grant for a scope that the policy says to ask for, and says which; null: there is none. A grant that is revoked
   * while the request is under way cuts it.
   */
  readonly takeGrant: (stamp: S, scope: string, cut: () => void) => Promise<TakenGrant | null>;
}
