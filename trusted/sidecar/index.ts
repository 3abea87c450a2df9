export { Sidecar, type SidecarOptions } from './sidecar.ts';
export { systemRuntime, type Runtime } from './runtime.ts';
export { SessionAuthority, type HostCertificate } from './session-authority.ts';
