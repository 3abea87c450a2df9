import type {
  ChangeState,
  PolicyDocument,
  SandboxId,
  SessionId,
  SessionView,
  TurnId,
  UserId,
} from '../../pure/contracts/index.ts';
import type { SessionLife } from '../../pure/session/index.ts';

/** What a session was made from: written once, but for what `writePolicy` changes. Times are ISO 8601. */
export interface SessionOrigin {
  readonly id: SessionId;
  readonly sandboxId: SandboxId;
  readonly name: string;
  /** The control plane that runs it: no other moves it while that one lives. */
  readonly replica: string;
  readonly command: readonly string[];
  readonly workspace: string;
  readonly workspaceMode: 'staged' | 'direct';
  readonly tier: string;
  readonly user: UserId;
  readonly preset: string | null;
  readonly terminal: boolean;
  readonly createdAt: string;
  readonly expiresAt: string;
  readonly policy: PolicyDocument;
  /** Names of the secrets that this session may use, and no others (R32). */
  readonly secrets: readonly string[];
}

/** What is learnt about it on the way, apart from its life. */
export interface SessionFindings {
  readonly changes: ChangeState;
  readonly weakened: readonly string[];
  readonly limits: SessionView['limits'];
  /** The generation of the newest policy that was written. */
  readonly policyWritten: number;
  /** The generation that its sidecar reported to apply; 0: none yet. */
  readonly policyGeneration: number;
  readonly turnId: TurnId | null;
  /** What it began and did not finish is written down as unknown (R42), or nothing of that kind was left. */
  readonly settled: boolean;
}

export interface SessionRecord extends SessionOrigin, SessionLife, SessionFindings {}

export interface SessionStore {
  /** GB_INPUT_INVALID when a session that is not ended has that name. */
  insert(origin: SessionOrigin, life: SessionLife): Promise<SessionRecord>;
  get(id: SessionId): Promise<SessionRecord | undefined>;
  list(filter: {
    readonly ended: boolean;
    readonly limit: number;
    readonly replica?: string;
  }): Promise<readonly SessionRecord[]>;
  /** By id, by the start of an id (4 characters or more) or by name; a name means the newest session of that name. */
  find(text: string): Promise<readonly SessionRecord[]>;
  /** Those that have sessions which are open, or not settled. */
  openReplicas(): Promise<readonly string[]>;
  countOpen(): Promise<number>;
  /** Those that have ended and are not settled. */
  unsettled(replica: string): Promise<readonly SessionRecord[]>;
  /** Written only if the state is still `from`: two writers cannot both move a session. */
  move(id: SessionId, from: SessionLife['state'], life: SessionLife): Promise<boolean>;
  note(id: SessionId, findings: Partial<Omit<SessionFindings, 'policyWritten'>>): Promise<void>;
  /** The next generation of its policy, written only if the newest is still `from`: two writers cannot both be the next. */
  writePolicy(id: SessionId, from: number, next: Pick<SessionOrigin, 'policy' | 'secrets'>): Promise<boolean>;
  /** The next sequence number of signed control messages, never given out twice, also after a restart (R9). */
  nextControlSequence(id: SessionId): Promise<number>;
}
