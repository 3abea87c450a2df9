import { spawn, type ChildProcess } from 'node:child_process';

export interface LaunchOptions {
  /** File descriptors of ours that the child inherits as 4, 5, … (3 is the channel). */
  readonly fds: readonly number[];
}

/** Starts a bundle as a child with a channel; confining it is the launcher's matter. */
export type Launch = (bundle: string, options: LaunchOptions) => ChildProcess;

/** Without confinement but for an empty environment: nothing of the person's shell reaches the child. */
export const launchPlain: Launch = (bundle, { fds }) =>
  spawn(process.execPath, [bundle], {
    stdio: ['ignore', 'pipe', 'pipe', 'ipc', ...fds],
    env: {},
    serialization: 'json',
  });
