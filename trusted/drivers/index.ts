export type {
  SandboxUsage,
  AppliedLimit,
  OpenChanges,
  ReapReport,
  RunningSandbox,
  SandboxDriver,
  FullDisk,
  SandboxEnd,
  SandboxRequest,
  WorkspaceRequest,
} from './port.ts';
export { createGvisorDriver } from './gvisor/driver.ts';
export type { GvisorSettings } from './gvisor/settings.ts';
export { jailedCommand, spawnJailed, type JailedProcess, type JailOptions } from './jail/index.ts';
export { createHostProbe, gatherFacts, probeHost, type HostProbe, type HostTools } from './host/index.ts';
export { guardedPaths, type GuardedPaths } from './gvisor/guarded-walk.ts';
