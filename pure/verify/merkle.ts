import { createHash } from 'node:crypto';

/** The Merkle tree of RFC 6962, section 2.1: leaves and nodes hash under different prefixes, so one is never the other. */
const hash = (...parts: readonly Uint8Array[]): Buffer => {
  const sum = createHash('sha256');
  for (const part of parts) sum.update(part);
  return sum.digest();
};
const leafPrefix = Uint8Array.of(0);
const nodePrefix = Uint8Array.of(1);

export const leafHash = (leaf: Uint8Array): Buffer => hash(leafPrefix, leaf);

export function treeHash(leaves: readonly Uint8Array[]): Buffer {
  const [only] = leaves;
  if (only === undefined) return hash();
  if (leaves.length === 1) return leafHash(only);
  const half = split(leaves.length);
  return hash(nodePrefix, treeHash(leaves.slice(0, half)), treeHash(leaves.slice(half)));
}

/** Section 2.1.1: what is needed beside a leaf to compute the root, from the leaf upwards. */
export function auditPath(index: number, leaves: readonly Uint8Array[]): readonly Buffer[] {
  if (leaves.length <= 1) return [];
  const half = split(leaves.length);
  return index < half
    ? [...auditPath(index, leaves.slice(0, half)), treeHash(leaves.slice(half))]
    : [...auditPath(index - half, leaves.slice(half)), treeHash(leaves.slice(0, half))];
}

/** The root that a leaf and its path lead to; undefined where the path does not fit the place. */
export function rootOf(
  leaf: Uint8Array,
  index: number,
  size: number,
  path: readonly Uint8Array[],
): Buffer | undefined {
  if (!Number.isSafeInteger(index) || index < 0 || index >= size) return undefined;
  if (size === 1) return path.length === 0 ? leafHash(leaf) : undefined;
  const last = path.at(-1);
  if (last === undefined) return undefined;
  const half = split(size);
  const rest = path.slice(0, -1);
  const inside =
    index < half ? rootOf(leaf, index, half, rest) : rootOf(leaf, index - half, size - half, rest);
  if (inside === undefined) return undefined;
  return index < half ? hash(nodePrefix, inside, last) : hash(nodePrefix, last, inside);
}

/** The largest power of two smaller than `size`. */
function split(size: number): number {
  let half = 1;
  while (half * 2 < size) half *= 2;
  return half;
}
