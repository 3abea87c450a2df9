export { applyChanges, type Applied, type Choice } from './apply.ts';
export { diffChanges } from './diff.ts';
export { discardChanges, type Discarded } from './discard.ts';
export { hunksOf, type FileHunks, type HunkChoice } from './hunks.ts';
export { listChanges, type Listing, type Staged } from './list.ts';
