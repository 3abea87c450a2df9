export { addressAllowed, classifyAddress, type AddressClass } from './address.ts';
export {
  decide,
  decideConnect,
  type CompiledRule,
  type EgressDecision,
  type EgressRequest,
  type Injection,
} from './decide.ts';
export { matchHost, normaliseHost, type Normalised } from './host.ts';
export { matchPath, normalisePath } from './path.ts';
export { egressScope, ruleOfScope } from './scope.ts';
