import type { z } from 'zod';
import { GloveboxError, Secret, type TrustDomain } from '../../pure/contracts/index.ts';
import type { BusAuthorizer, BusPublicKeys } from '../bus/index.ts';
import {
  authorizerPublicKeys,
  createAuthorizer,
  createAuthorizerKeys,
  type AuthorizerKeys,
} from '../bus-authorizer/index.ts';
import type { KeysFolder } from './keys-folder.ts';
import type { busAnswerResult, SignerRequest } from './protocol.ts';

type Question = Extract<SignerRequest, { method: 'authorizeBus' }>['params'];

/** Who gets onto the bus (R12): decided and signed here, so that the process which carries the question holds no key (R5). */
export class BusAuthority {
  readonly publicKeys: BusPublicKeys;
  readonly #authorizer: BusAuthorizer;
  readonly #revoked = new Set<string>();
  /** How many revocations this process was told of. */
  #told = 0;

  private constructor(keys: AuthorizerKeys, trustDomain: TrustDomain, now: () => number) {
    this.publicKeys = authorizerPublicKeys(keys);
    this.#authorizer = createAuthorizer({
      keys,
      trustDomain,
      isRevoked: (serial) => this.#revoked.has(serial),
      now: () => new Date(now()),
    });
  }

  /** The keys are kept, so that a signer that had to be started again is believed by a server that was not. */
  static open(folder: KeysFolder, trustDomain: TrustDomain, now: () => number): BusAuthority {
    return new BusAuthority(openKeys(folder), trustDomain, now);
  }

  /** Each question carries the revocations that this process was not told of; one that skips some is not answered [R4]. */
  async answer({ sealed, serverXkey, revoked }: Question): Promise<z.infer<typeof busAnswerResult>> {
    if (revoked.from > this.#told) {
      const detail = 'revocations before this one are not known here';
      throw new GloveboxError('GB_INPUT_INVALID', { what: 'The question of the bus', detail });
    }
    for (const serial of revoked.serials) this.#revoked.add(serial);
    this.#told = Math.max(this.#told, revoked.from + revoked.serials.length);
    const answer = await this.#authorizer.answer(Buffer.from(sealed, 'base64'), serverXkey);
    const { decision } = answer;
    return {
      sealed: answer.sealed === undefined ? null : Buffer.from(answer.sealed).toString('base64'),
      decision: decision.allowed
        ? {
            allowed: true,
            spiffeId: decision.certificate.identity.id,
            serial: decision.certificate.serial,
            notBefore: decision.certificate.notBefore.toISOString(),
            notAfter: decision.certificate.notAfter.toISOString(),
            client: decision.client,
          }
        : decision,
    };
  }
}

const files = { issuer: 'bus-issuer.seed', xkey: 'bus-xkey.seed' } as const;

function openKeys(folder: KeysFolder): AuthorizerKeys {
  const fresh = createAuthorizerKeys();
  const open = (name: keyof AuthorizerKeys): Secret => {
    const kept = folder.read(files[name])?.trim();
    if (kept !== undefined) return new Secret(kept);
    folder.write(files[name], `${fresh[name].reveal()}\n`);
    return fresh[name];
  };
  return { issuer: open('issuer'), xkey: open('xkey') };
}
