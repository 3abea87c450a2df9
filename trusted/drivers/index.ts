export type {
  AppliedLimit,
  OpenChanges,
  ReapReport,
  RunningSandbox,
  SandboxDriver,
  SandboxEnd,
  SandboxRequest,
  WorkspaceRequest,
} from './port.ts';
export { createGvisorDriver } from './gvisor/driver.ts';
export type { GvisorSettings } from './gvisor/settings.ts';
