export { addressAllowed, classifyAddress, type AddressClass } from './address.ts';
export { hostCovers, pathCovers, takenBy, type Reach } from './cover.ts';
export { bodyProblem, type Inspection } from './body.ts';
export {
  decide,
  decideConnect,
  longestRulePath,
  type CompiledRule,
  type EgressAllowed,
  type EgressDecision,
  type EgressDenied,
  type EgressRequest,
  type Needs,
} from './decide.ts';
export { explain, type Explanation, type Hypothetical } from './explain.ts';
export { suggest, type Refused, type SuggestedRule, type Suggestion } from './suggest.ts';
export {
  gitRequest,
  isRefName,
  judgePush,
  readCommandList,
  type CommandList,
  type RefUpdate,
} from './git.ts';
export { matchHost, normaliseHost, type Normalised } from './host.ts';
export { injectionOf, withCredential, type Injection } from './injection.ts';
export { matchPath, normalisePath } from './path.ts';
export { egressScope, ruleOfScope } from './scope.ts';
export { bytesOf } from './size.ts';
export {
  maySign,
  payloadOf,
  signedHeaders,
  strictTarget,
  withSignature,
  type Payload,
  type StrictTarget,
} from './signing.ts';
