import type { Socket } from 'node:net';
import type {
  AuditRecord,
  Change,
  EndReason,
  HostReport,
  SandboxId,
  SessionId,
  SessionView,
  TierName,
  UserId,
} from '../../pure/contracts/index.ts';
import type { Applied, Choice, Discarded, FileHunks } from '../changes/index.ts';
import type { SandboxUsage } from '../drivers/index.ts';
import type { SessionRecord } from '../store/index.ts';

/** What the control plane needs of others' rooms; main.ts puts the real ones in. */
export interface Clock {
  now(): number;
}

export interface SandboxOrder {
  readonly sessionId: SessionId;
  readonly sandboxId: SandboxId;
  readonly workspace: {
    readonly path: string;
    readonly mode: 'staged' | 'direct';
    readonly show: readonly string[];
    /** Relative; what host tools would execute or obey unasked, read-only in direct mode (R48). */
    readonly readOnly: readonly string[];
  };
  readonly tier: TierName;
  /** Resolved; read-only, at the same path inside. */
  readonly toolFolders: readonly string[];
  /** Files in them that hold credentials: empty inside. */
  readonly toolMasks: readonly string[];
  /** In place of the host's view. */
  readonly image?: { readonly rootfs: string; readonly user: string; readonly digest: string };
  /** The session's own authority, for the trust store of the sandbox. */
  readonly caPem: string;
  /** Relative path in the agent's home → text. */
  readonly homeFiles: Readonly<Record<string, string>>;
  readonly timeLimitMs: number;
}

export interface SandboxEnd {
  /** What the sandbox's own limits say about its end; null: nothing but that it is over. */
  readonly explained: { readonly reason: EndReason; readonly detail: string } | null;
  /** Whether there are staged changes; null: it has to be looked for. */
  readonly changed: boolean | null;
  /** In words, where disks of it were full; null: none was. */
  readonly full: string | null;
}

export interface RunningSandbox {
  /** The trusted end of the link, untouched: not one byte was read or written. */
  readonly link: Socket;
  /** No process of it lives any more; what is left of it on the host is being taken down. */
  readonly over: Promise<SandboxEnd>;
  readonly ended: Promise<SandboxEnd>;
  /** Read back from the host after the start (R25). */
  limits(): Promise<{ readonly limits: SessionView['limits']; readonly weakened: readonly string[] }>;
  /** What it uses now. */
  usage(): Promise<SandboxUsage>;
  /** Processes, mounts and sockets are gone when this resolves; the staged changes stay. Idempotent. */
  remove(): Promise<SandboxEnd>;
}

export interface SandboxPort {
  start(order: SandboxOrder): Promise<RunningSandbox>;
  /** Ends what a predecessor left (R26, R46). */
  reap(): Promise<void>;
}

/** The staged changes of a session; works on ended sessions, and on running ones as far as it says. */
export interface WorkspaceChanges {
  hasChanges(session: SessionRecord): Promise<boolean>;
  list(session: SessionRecord): Promise<{ readonly changes: readonly Change[]; readonly truncated: boolean }>;
  diff(session: SessionRecord): Promise<string>;
  /** The hunks of one modified text file. */
  hunks(session: SessionRecord, path: string): Promise<FileHunks>;
  /** `paths` undefined: all. What is sensitive is applied only when named in `sensitive` (R48). */
  apply(session: SessionRecord, choice: Choice): Promise<Pick<Applied, 'applied' | 'skipped'>>;
  /** Single changes. */
  discardPaths(session: SessionRecord, paths: readonly string[]): Promise<Discarded>;
  discard(session: SessionRecord): Promise<void>;
  /** The host's clock was set back by this much while the session ran: what changed meanwhile is a conflict all the same. */
  clockSetBack(session: SessionRecord, ms: number): Promise<void>;
}

export interface HostProbe {
  probe(waived: readonly string[]): Promise<HostReport>;
}

/** What of a workspace host tools execute or obey unasked (R48). */
export interface WorkspaceGuard {
  /** Existing relative paths: read-only in direct mode. */
  readonly readOnly: readonly string[];
  /** What has come or was replaced since; relative. */
  changed(): Promise<readonly string[]>;
}

/** An audit record of the control plane's own, without what it fills in. */
export type AuditEvent = Pick<AuditRecord, 'operation' | 'decision' | 'rule'> &
  Partial<Pick<AuditRecord, 'scope' | 'detail' | 'outcome' | 'args_hash' | 'turn' | 'grant' | 'user'>> & {
    readonly session: SessionId | 'system';
    readonly sandbox?: SandboxId;
  };

export interface AuditTrail {
  /** Resolves with its place in the stream when the record is stored; GB_AUDIT_UNAVAILABLE otherwise. */
  record(event: AuditEvent): Promise<number>;
}

/** The stored trail (trusted/audit). */
export interface AuditReader {
  query(filter: {
    readonly session?: string;
    readonly limit: number;
    readonly after?: number;
  }): Promise<readonly Record<string, unknown>[]>;
  /** `user`: who ordered it. */
  retain(before: Date, user: UserId): Promise<{ readonly removed: number; readonly checkpoint: number }>;
  /** JSON lines: records, checkpoints, keys. */
  export(session?: string): AsyncIterable<string>;
}
