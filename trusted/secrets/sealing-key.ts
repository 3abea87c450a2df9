import {
  compactDecrypt,
  exportJWK,
  generateKeyPair,
  importJWK,
  calculateJwkThumbprint,
  type JWK,
} from 'jose';
import { join } from 'node:path';
import { z } from 'zod';
import { GloveboxError, Secret, sealedContent, sealing } from '../../pure/contracts/index.ts';
import type { StoredSecret } from './backend.ts';
import { readPrivate, writePrivate } from './private-files.ts';

const keyFile = z.looseObject({
  kty: z.literal('EC'),
  crv: z.literal('P-256'),
  x: z.string(),
  y: z.string(),
  d: z.string(),
});

/** The key to which a person's CLI seals values. Its private half never leaves this process (R5). */
export class SealingKey {
  readonly publicJwk: JWK;
  readonly #key: Awaited<ReturnType<typeof importJWK>>;

  private constructor(publicJwk: JWK, key: Awaited<ReturnType<typeof importJWK>>) {
    this.publicJwk = publicJwk;
    this.#key = key;
  }

  static async open(folder: string): Promise<SealingKey> {
    const path = join(folder, 'sealing-key.json');
    let text = await readPrivate(path);
    if (text === undefined) {
      const { privateKey } = await generateKeyPair(sealing.alg, { crv: 'P-256', extractable: true });
      text = JSON.stringify(await exportJWK(privateKey));
      await writePrivate(path, text);
    }
    const { kty, crv, x, y, d } = keyFile.parse(JSON.parse(text));
    const kid = await calculateJwkThumbprint({ kty, crv, x, y });
    const publicJwk = { kty, crv, x, y, kid, alg: sealing.alg, use: 'enc' };
    return new SealingKey(publicJwk, await importJWK({ kty, crv, x, y, d }, sealing.alg));
  }

  /** The value, if it was sealed for that name. What is wrong with it is not said: it may be somebody's probe. */
  async open(sealed: string, name: string): Promise<StoredSecret> {
    const refused = new GloveboxError('GB_INPUT_INVALID', {
      what: 'The sealed value',
      detail: 'it was not sealed to this key for this name',
    });
    let content: z.output<typeof sealedContent>;
    try {
      const { plaintext } = await compactDecrypt(sealed, this.#key, {
        keyManagementAlgorithms: [sealing.alg],
        contentEncryptionAlgorithms: [sealing.enc],
      });
      content = sealedContent.parse(JSON.parse(new TextDecoder().decode(plaintext)));
    } catch {
      // Neither the library's words nor the parser's may hold a piece of the value.
      throw refused;
    }
    if (content.name !== name) throw refused;
    return { kind: content.kind, value: new Secret(content.value) };
  }
}
