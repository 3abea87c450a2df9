import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';
import { build } from '../../tools/build.mjs';
import { dist, root } from '../../tools/setup/paths.mjs';

let made: Readonly<Record<string, { readonly inputs: readonly string[] }>> = {};
beforeAll(async () => {
  await build();
  made = JSON.parse(readFileSync(join(dist, 'inputs.json'), 'utf8')) as typeof made;
});

/**
 * What makes a signature or a key for one: of the bus (@nats-io/jwt, nkeys), tokens (jose), certificates (x509), and Node's
 * own. A CSR is not among them: each holder of a certificate proves its own key with one, and nobody believes it else.
 */
const primitives = [
  /\b(?:createUser|createAccount|createOperator|createCurve|createPair|fromSeed|fromCurveSeed|nkeyAuthenticator|jwtAuthenticator|credsAuthenticator)\b/g,
  /\bencode(?:User|Account|Operator|Activation|AuthorizationResponse|Generic)\b/g,
  /\b(?:SignJWT|CompactSign|FlattenedSign|GeneralSign|generalSign|generateKeyPairSync|generateKeyPair|generateSecret)\b/g,
  /\b(?:createSign|createHmac|createPrivateKey|X509CertificateGenerator|X509CrlGenerator|(?<!-)HMAC(?!-))\b/g,
  /\b(?:subtle|crypto)\.sign\(|import \{[^}]*\bsign\b[^}]*\} from 'node:crypto'/g,
];

/** `packages`: those that can do nothing else; the others are bundled whole, for what they verify. */
const packages = /^node_modules\/(?:@nats-io\/jwt)\//;

const signing = (program: string): string[] => {
  const inputs = made[program]?.inputs ?? [];
  expect(inputs).toContain(`trusted/${program}/main.ts`);
  const own = inputs.filter((path) => /^(?:pure|trusted)\//.test(path));
  return [
    ...inputs.filter((path) => packages.test(path)),
    ...own.flatMap((path) => {
      const text = readFileSync(join(root, path), 'utf8');
      return primitives.flatMap((one) => [...text.matchAll(one)].map(([found]) => `${path}: ${found}`));
    }),
  ];
};

describe('who can sign', () => {
  it('[R5] nothing in the control plane signs anything, or makes a key that could', () => {
    expect(signing('control-plane').filter((one) => !provesItsOwnKey(one))).toEqual([]);
  });

  it('[R5] the same search finds what the signer does', () => {
    const found = signing('signer').join('\n');
    for (const one of [
      'encodeUser',
      'CompactSign',
      'X509CertificateGenerator',
      'createAccount',
      '@nats-io/jwt',
    ])
      expect(found).toContain(one);
  });

  it('[R5] nor in the sidecar, but for the authority of its own session', () => {
    expect(signing('sidecar').filter((one) => !provesItsOwnKey(one) && !ofItsSession(one))).toEqual([]);
  });
});

/** Each holder makes the key of its own certificate, and checks that certificate and key belong together. */
const provesItsOwnKey = (found: string): boolean =>
  /^trusted\/identity\/(?:svid|key-request)[.]ts: createPrivateKey$/.test(found);
const ofItsSession = (found: string): boolean => found.startsWith('trusted/sidecar/session-authority.ts: ');
