export { credentialFiles, isCredentialFile } from './credential-files.ts';
export { parsePolicy, parsePreset, parseProviders, parseYaml } from './parse.ts';
export { readYaml, type PlaceOf, type Position, type Problem, type ReadYaml } from './read-yaml.ts';
export { fixedKeysChanged } from './live-change.ts';
export { parseDuration } from './duration.ts';
export { nearest } from './nearest.ts';
export { hostExecuted, hostExecutedTable, type HostExecuted } from './host-executed.ts';
export { canonicalJson } from './canonical-json.ts';
export {
  decideOperation,
  decidePermission,
  type OperationDecision,
  type PolicyEngine,
  type PolicyQuestion,
  type PolicyVerdict,
} from './decision.ts';
export { wordsOfScope } from './scope-words.ts';
export {
  parseScope,
  parseScopePattern,
  scopeConcerns,
  scopeCovers,
  scopeMatches,
  type Scope,
  type ScopePattern,
} from './scopes.ts';
