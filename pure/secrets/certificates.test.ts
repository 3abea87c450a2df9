import { expect, it } from 'vitest';
import { certificatesIn } from './certificates.ts';

const certificate = (body: string): string =>
  `-----BEGIN CERTIFICATE-----\n${body}\n-----END CERTIFICATE-----`;

it('[R27] takes certificates out of a file, and leaves a key that lies beside them', () => {
  const key = '-----BEGIN PRIVATE KEY-----\nc2VjcmV0\n-----END PRIVATE KEY-----';
  expect(certificatesIn(`words\n${certificate('QUFB')}\n${key}\n${certificate('QkJC')}\nmore`)).toBe(
    `${certificate('QUFB')}\n${certificate('QkJC')}\n`,
  );
  // What only looks like one from outside does not carry what is inside it.
  expect(certificatesIn(certificate(key))).toBeNull();
  expect(certificatesIn(key)).toBeNull();
});
