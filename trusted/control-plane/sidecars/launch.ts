import { spawn, type ChildProcess } from 'node:child_process';

export interface LaunchOptions {
  /** File descriptors of ours that the child inherits as 4, 5, … (3 is the channel). */
  readonly fds: readonly number[];
  /** Folders that it sees beside its own, read-only: that of a policy engine's socket. */
  readonly show?: readonly string[];
}

/** Starts a bundle as a child with a channel; confining it is the launcher's matter. */
export type Launch = (bundle: string, options: LaunchOptions) => ChildProcess;

/** V8 refuses to make code of text in a sidecar, whichever of its libraries might want to [R43]. */
export const sidecarFlags = ['--disallow-code-generation-from-strings'] as const;

/** Without confinement but for an empty environment: nothing of the person's shell reaches the child. */
export const launchPlain: Launch = (bundle, { fds }) =>
  spawn(process.execPath, [...sidecarFlags, bundle], {
    stdio: ['ignore', 'pipe', 'pipe', 'ipc', ...fds],
    env: {},
    serialization: 'json',
  });
