export { AddressRefused, checkedLookup, systemResolve, type Resolve } from './addresses.ts';
