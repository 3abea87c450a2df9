import type { Socket } from 'node:net';
import type { SandboxId, Tier } from '../../pure/contracts/index.ts';

/** Runs sandboxes. Adapters: gVisor (here), later Kubernetes and Docker; `contract.ts` holds what all must keep. */
export interface SandboxDriver {
  /** Resolves once the sandbox's process is started and its link is open; does not wait for init. */
  start(request: SandboxRequest): Promise<RunningSandbox>;
  /** Removes what a crash left of any sandbox that is not in `keep` [R26]. */
  reap(keep: ReadonlySet<SandboxId>): Promise<ReapReport>;
  /** The staged changes of a session, running or ended. `undefined`: it has none. */
  openChanges(stateFolder: string): Promise<OpenChanges | undefined>;
  /** Discards the staged changes of an ended session. */
  removeChanges(stateFolder: string): Promise<void>;
  /** Does ahead what a start would otherwise wait for. */
  prepare(tier: Tier): Promise<void>;
  /** Gives back what was prepared. Sandboxes that run are ended by their own `kill`. */
  close(): Promise<void>;
}

export interface SandboxRequest {
  readonly sandboxId: SandboxId;
  readonly role: 'agent' | 'provider';
  readonly tier: Tier;
  /** The session's own folder (0700): staged changes are kept in it. */
  readonly stateFolder: string;
  readonly workspace?: WorkspaceRequest;
  /** Absolute, resolved (no links) host folders, seen read-only under the same path. */
  readonly toolFolders: readonly string[];
  /** Files in them that hold credentials: empty inside. */
  readonly toolMasks?: readonly string[];
  /** A provider's chosen folders, seen as /folders/<name>. */
  readonly folders: readonly { readonly name: string; readonly source: string; readonly writable: boolean }[];
  /** A provider's program, one bundled ES module: seen read-only at pure/compile's `providerPath`. */
  readonly program?: string;
  /** An unpacked image in place of the host's view: a folder that nobody writes, and a name for the sandbox's one user. */
  readonly image?: { readonly rootfs: string; readonly user: string };
  /** PEM of the session's certificate authority, added to the host's bundle. */
  readonly caPem: string;
  /** Seen read-only below /opt/glovebox/home; relative path to text. */
  readonly homeFiles: Readonly<Record<string, string>>;
  /** The sandbox ends after this time [R26]. */
  readonly timeLimitMs: number;
}

export interface WorkspaceRequest {
  /** Absolute, resolved. */
  readonly folder: string;
  readonly mode: 'staged' | 'direct';
  /** Paths below the workspace, relative, that are shown although they look like credentials. `*` and `**` as in globs. */
  readonly show: readonly string[];
  /** Existing relative paths that direct mode mounts read-only: what host tools execute unasked [R48]. */
  readonly readOnly: readonly string[];
}

export interface RunningSandbox {
  /** The trusted end of the link. Nobody has read it: init is silent until it gets the byte 'G'. */
  readonly link: Socket;
  /** The process that the sandbox dies with. */
  readonly pid: number;
  /** Credential files that the agent does not see, relative to the workspace. */
  readonly hidden: readonly string[];
  /** Read back from the host now; what is not enforced says so [R25]. */
  limits(): Promise<readonly AppliedLimit[]>;
  /** What it uses now of what its tier allows. */
  usage(): Promise<SandboxUsage>;
  /** Resolves when no process of the sandbox lives any more: its reason and its changes are final; never rejects. */
  readonly over: Promise<SandboxEnd>;
  /** Resolves when nothing of the sandbox is left on the host but its staged changes; never rejects. */
  readonly ended: Promise<SandboxEnd>;
  /** Ends the sandbox; resolves with `ended`. Idempotent. */
  kill(): Promise<void>;
}

export interface AppliedLimit {
  readonly limit:
    'cpu' | 'memory' | 'processes' | 'open-files' | 'workspace-disk' | 'tmp-disk' | 'home-disk' | 'time';
  readonly enforced: boolean;
  /** What enforces it, or what is missing. */
  readonly by: string;
  /** Cores, bytes, a count or milliseconds. */
  readonly value: number;
}

export interface SandboxUsage {
  /** Since its start. */
  readonly cpuMs: number;
  readonly memoryBytes: number;
  /** Changes of the workspace, home and temporary files. */
  readonly diskBytes: number;
  /** Of the host: those inside are threads and processes of the sandbox's own kernel. */
  readonly processes: number;
}

export interface SandboxEnd {
  readonly reason: 'exited' | 'killed' | 'memory' | 'disk' | 'pids' | 'time' | 'crashed';
  readonly code: number | null;
  readonly signal: string | null;
  /** One line for a person. */
  readonly detail: string;
  /** Whether the workspace's layer holds anything, looked at after the last process was gone; null: not known. */
  readonly changed: boolean | null;
  /** Its disks that were full, or nearly, when it ended: more was refused with ENOSPC. */
  readonly full: readonly FullDisk[];
}

export interface FullDisk {
  readonly limit: 'workspace-disk' | 'tmp-disk' | 'home-disk';
  /** What it holds, in bytes. */
  readonly value: number;
}

export interface ReapReport {
  readonly sandboxes: readonly string[];
  readonly processes: number;
  readonly mounts: number;
  readonly cgroups: number;
  /** What could not be removed, one line each. */
  readonly left: readonly string[];
}

export interface OpenChanges {
  readonly upper: string;
  close(): Promise<void>;
}
