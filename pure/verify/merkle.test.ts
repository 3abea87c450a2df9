import fc from 'fast-check';
import { expect, it } from 'vitest';
import { auditPath, rootOf, treeHash } from './merkle.ts';

const leaves = fc.array(fc.uint8Array({ maxLength: 8 }), { minLength: 1, maxLength: 40 });
const hex = (text: string): Uint8Array => Uint8Array.from(Buffer.from(text, 'hex'));

it('agrees with the published vectors of RFC 6962 implementations', () => {
  // certificate-transparency-go and the reference C++ tests: these leaves, roots for the first 1, 2, 3, 8 of them.
  const inputs = [
    '',
    '00',
    '10',
    '2021',
    '3031',
    '40414243',
    '5051525354555657',
    '606162636465666768696a6b6c6d6e6f',
  ].map(hex);
  const root = (count: number): string => treeHash(inputs.slice(0, count)).toString('hex');
  expect(root(0)).toBe('e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855');
  expect(root(1)).toBe('6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d');
  expect(root(2)).toBe('fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125');
  expect(root(3)).toBe('aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77');
  expect(root(8)).toBe('5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328');
});

it('the path of a leaf leads to the root, and of no other leaf or place', () => {
  fc.assert(
    fc.property(leaves, fc.nat(), fc.uint8Array({ maxLength: 8 }), (all, at, other) => {
      const index = at % all.length;
      const leaf = all[index] ?? new Uint8Array();
      const path = auditPath(index, all);
      const root = treeHash(all).toString('hex');
      expect(rootOf(leaf, index, all.length, path)?.toString('hex')).toBe(root);
      if (Buffer.compare(other, leaf) !== 0) {
        expect(rootOf(other, index, all.length, path)?.toString('hex')).not.toBe(root);
      }
      expect(rootOf(leaf, all.length, all.length, path)).toBeUndefined();
      expect(rootOf(leaf, index, all.length, [...path, Buffer.alloc(32)])?.toString('hex')).not.toBe(root);
    }),
  );
});
