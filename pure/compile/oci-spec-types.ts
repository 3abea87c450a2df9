import type { SandboxId, Tier } from '../contracts/index.ts';
import type { OciSeccomp } from './oci-seccomp.ts';

/** The part of the OCI runtime specification that Glovebox writes. */
export interface OciMount {
  readonly destination: string;
  readonly type: 'bind' | 'proc' | 'sysfs' | 'tmpfs' | 'devpts';
  readonly source: string;
  readonly options: readonly string[];
}

export interface OciIdMapping {
  readonly containerID: number;
  readonly hostID: number;
  readonly size: number;
}

export type RlimitType = 'RLIMIT_NPROC' | 'RLIMIT_NOFILE' | 'RLIMIT_CORE';

export interface OciSpec {
  readonly ociVersion: '1.1.0';
  readonly process: {
    readonly terminal: false;
    readonly user: { readonly uid: number; readonly gid: number };
    readonly args: readonly string[];
    readonly env: readonly string[];
    readonly cwd: '/';
    readonly capabilities: Readonly<
      Record<'bounding' | 'effective' | 'inheritable' | 'permitted' | 'ambient', readonly []>
    >;
    readonly rlimits: readonly {
      readonly type: RlimitType;
      readonly hard: number;
      readonly soft: number;
    }[];
    readonly noNewPrivileges: true;
    readonly oomScoreAdj?: never;
  };
  readonly root: { readonly path: string; readonly readonly: true };
  readonly hostname: string;
  readonly mounts: readonly OciMount[];
  readonly linux: {
    readonly namespaces: readonly { readonly type: 'pid' | 'ipc' | 'uts' | 'mount' | 'network' | 'user' }[];
    readonly uidMappings: readonly OciIdMapping[];
    readonly gidMappings: readonly OciIdMapping[];
    readonly seccomp: OciSeccomp;
    readonly cgroupsPath?: string;
  };
  readonly annotations: Readonly<Record<string, string>>;
}

/** What a session asks for. Nothing in it can name a part of the floor. */
export interface SpecRequest {
  readonly sandboxId: SandboxId;
  readonly role: 'agent' | 'provider';
  readonly tier: Tier;
  readonly workspace?: SpecWorkspace;
  /** Read-only tool folders, seen inside under the path they have outside: programs bake their own paths in. */
  readonly toolFolders: readonly string[];
  /** Files in them that hold credentials: empty inside. */
  readonly toolMasks: readonly string[];
  /** A provider's chosen folders, seen inside as /folders/<name>. */
  readonly folders: readonly { readonly name: string; readonly source: string; readonly writable: boolean }[];
  /** A provider's program: one host file, seen read-only at `providerPath`. */
  readonly program?: string;
}

export interface SpecWorkspace {
  /** The folder as the host has it: the overlay's merged view (staged) or the project itself (direct). */
  readonly source: string;
  /** Paths relative to the workspace, each an existing file or folder: seen empty, seen read-only. */
  readonly masked: readonly { readonly path: string; readonly folder: boolean }[];
  readonly readOnly: readonly string[];
}

/** What the driver has prepared on the host. */
export interface SpecHost {
  /** Empty folders and links of the root file system, one folder a sandbox. */
  readonly root: string;
  /** The read-only view: absolute host folders seen under their own path (/usr, /bin, /lib64, /opt/x). */
  readonly view: readonly string[];
  /** Undefined where the root file system has one of its own (an image's). */
  readonly etc?: string;
  readonly caBundle: string;
  readonly init: string;
  /** Files that the agent finds under /opt/glovebox/home and that init's child may copy to its home. */
  readonly homeSeed?: string;
  /** An empty file and an empty folder, for masks. */
  readonly emptyFile: string;
  readonly emptyFolder: string;
  /** Where the disk behind /tmp and the home lives, and its size. */
  readonly tmp: SpecDisk;
  readonly home: SpecDisk;
  readonly ids: SpecIds;
  /** Set where runsc is to read the limits of a cgroup that the driver made (what the sandbox sees as its memory). */
  readonly cgroup?: string;
}

export interface SpecDisk {
  readonly source: string;
  readonly bytes: number;
}

export type SpecIds =
  | {
      /** runsc's own processes become `runscUid` on the host; what the agent writes belongs to `owner`. */
      readonly kind: 'root';
      readonly runscUid: number;
      readonly owner: { readonly uid: number; readonly gid: number };
    }
  | { readonly kind: 'rootless' };

export const agentUid = 65534;
export const initPath = '/opt/glovebox/init';
export const homePath = '/home/agent';
export const homeSeedPath = '/opt/glovebox/home';
export const workspacePath = '/workspace';
export const foldersPath = '/folders';
/** The suffix makes Node read it as the ES module that it is. */
export const providerPath = '/opt/glovebox/provider.mjs';
export const caBundlePath = '/etc/ssl/certs/ca-certificates.crt';
export const sharedMemoryBytes = 64 * 1024 * 1024;
