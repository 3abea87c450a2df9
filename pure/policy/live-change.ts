import type { PolicyDocument } from '../contracts/index.ts';
import { canonicalJson } from './canonical-json.ts';

/** What the sandbox was made with. It cannot be made anew under a command that runs in it. */
const fixed = ['tier', 'ttl', 'workspace', 'toolFolders', 'env'] as const;

/** The keys in which a new document asks a running session for what it cannot change. */
export const fixedKeysChanged = (before: PolicyDocument, after: PolicyDocument): readonly string[] =>
  fixed.filter((key) => canonicalJson(before[key]) !== canonicalJson(after[key]));
