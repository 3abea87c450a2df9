export { applyChanges, type Applied, type Choice } from './apply.ts';
export { diffChanges } from './diff.ts';
export { listChanges, type Listing, type Staged } from './list.ts';
