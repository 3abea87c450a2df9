import { CompactSign, exportJWK, generateKeyPair, type JSONWebKeySet } from 'jose';
import type { SessionId } from '../../pure/contracts/index.ts';
import type { CheckpointPayload } from '../../pure/verify/index.ts';
import type { RecordFields } from './publisher.ts';

/** For tests: a checkpoint key as the signer has it. */
export interface TestCheckpointKey {
  readonly jwks: JSONWebKeySet;
  sign(payload: CheckpointPayload, typ?: string): Promise<string>;
}

export async function createCheckpointKey(kid = 'checkpoint.test'): Promise<TestCheckpointKey> {
  const { publicKey, privateKey } = await generateKeyPair('EdDSA');
  return {
    jwks: { keys: [{ ...(await exportJWK(publicKey)), kid }] },
    sign: (payload, typ = 'glovebox-checkpoint+jws') =>
      new CompactSign(new TextEncoder().encode(JSON.stringify(payload)))
        .setProtectedHeader({ alg: 'EdDSA', kid, typ })
        .sign(privateKey),
  };
}

export const fieldsOf = (session: SessionId | 'system', over: Partial<RecordFields> = {}): RecordFields => ({
  session,
  turn: null,
  user: 'local/1000',
  sandbox: null,
  operation: 'files.read',
  args_hash: '0'.repeat(64),
  decision: 'allow',
  rule: 'test',
  ...over,
});
