import type { Platform } from '../../../pure/host/index.ts';

/** What the driver is told once; nothing of it comes from a session. */
export interface GvisorSettings {
  /** Absolute path of runsc. */
  readonly runsc: string;
  /** Absolute path of the static init. */
  readonly init: string;
  /** A folder of the driver's own (0700), on a disk: run folders, the /etc template, spare disk images. */
  readonly folder: string;
  readonly platform: Platform;
  /** Start runsc under the AppArmor profile of deploy/apparmor, which has to be loaded. */
  readonly apparmor?: boolean;
  /** Host folders shown read-only. Default: what /usr, /bin, /sbin, /lib* and /opt have. */
  readonly view?: readonly string[];
}

/** How the tier's disk is shared out [R25]: workspace changes, home, temporary files. */
export const diskShares = { workspace: 0.5, home: 0.25, tmp: 0.25 } as const;

export interface RunFolder {
  readonly path: string;
  readonly root: string;
  readonly config: string;
  readonly state: string;
  readonly log: string;
}

/** `root` holds mount points only; `state` is runsc's own. */
export const runFolder = (folder: string, sandboxId: string): RunFolder => {
  const path = `${folder}/run/${sandboxId}`;
  return {
    path,
    root: `${path}/root`,
    config: `${path}/config.json`,
    state: `${path}/runsc`,
    log: `${path}/runsc.log`,
  };
};
