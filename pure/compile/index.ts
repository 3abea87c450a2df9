export { compileSession, type CompiledSession, type CompileInput } from './session-policy.ts';
export { verdictOfScope } from './scope-verdict.ts';
export { assertFloor } from './oci-floor.ts';
export { compileOciSpec, privateIds } from './oci-spec.ts';
export { foldersPath, providerPath } from './oci-spec-types.ts';
export type { OciSpec, SpecHost, SpecRequest, SpecWorkspace } from './oci-spec-types.ts';
export { cedarRequest, compileCedar, type CedarRequest } from './cedar.ts';
export { isHostFolder, isPlainRelative, isToolFolder } from './oci-spec-paths.ts';
