// @peculiar/x509 and jose name these types as a browser's globals. Without them the compiler would take every
// key and certificate for `any`. Node has them in node:crypto; the rest of the DOM stays out.
import type { webcrypto } from 'node:crypto';

declare global {
  type Crypto = webcrypto.Crypto;
  type SubtleCrypto = webcrypto.SubtleCrypto;
  type CryptoKey = webcrypto.CryptoKey;
  type CryptoKeyPair = webcrypto.CryptoKeyPair;
  type BufferSource = ArrayBufferView | ArrayBuffer;
  type Algorithm = webcrypto.Algorithm;
  type AlgorithmIdentifier = webcrypto.AlgorithmIdentifier;
  type EcKeyGenParams = webcrypto.EcKeyGenParams;
  type EcKeyImportParams = webcrypto.EcKeyImportParams;
  type EcdsaParams = webcrypto.EcdsaParams;
  type RsaPssParams = webcrypto.RsaPssParams;
  type RsaHashedImportParams = webcrypto.RsaHashedImportParams;
  type RsaHashedKeyGenParams = webcrypto.RsaHashedKeyGenParams;
  type KeyUsage = webcrypto.KeyUsage;
  type KeyType = webcrypto.KeyType;
  type JsonWebKey = webcrypto.JsonWebKey;
}
