import { compactVerify, createLocalJWKSet, type JSONWebKeySet } from 'jose';
import { consentClaims, GloveboxError, limits, type ConsentClaims } from '../../pure/contracts/index.ts';
import { purposes, type Purpose } from './purpose.ts';

/** A verified token. `payload` is what the signer signed, still to be parsed by the receiver's own schema. */
export type Verified<T> =
  { readonly ok: true; readonly payload: T } | { readonly ok: false; readonly reason: string };

/**
 * Verifies what the signer signs; holds public keys only. The kid names the purpose, each purpose has its own keys, and
 * the typ is compared: three reasons for which a token of one purpose is refused for another (R37).
 */
export class TokenVerifier {
  readonly #keys: Readonly<Record<Purpose, ReturnType<typeof createLocalJWKSet>>>;

  constructor(jwks: JSONWebKeySet) {
    const of = (purpose: Purpose): ReturnType<typeof createLocalJWKSet> =>
      createLocalJWKSet({ keys: jwks.keys.filter((key) => key.kid?.startsWith(`${purpose}.`) === true) });
    this.#keys = { consent: of('consent'), control: of('control'), checkpoint: of('checkpoint') };
  }

  async verify(purpose: Purpose, token: string): Promise<Verified<unknown>> {
    try {
      const { payload, protectedHeader } = await compactVerify(token, this.#keys[purpose], {
        algorithms: ['EdDSA'],
      });
      if (protectedHeader.typ !== purposes[purpose].typ) return no('its typ is of another purpose');
      if (protectedHeader.kid === undefined) return no('it names no key');
      const value: unknown = JSON.parse(Buffer.from(payload).toString('utf8'));
      return { ok: true, payload: value };
    } catch (error) {
      return no(error instanceof Error ? error.name : 'it cannot be read');
    }
  }

  /** A consent token with every claim as `expected`, in its time. Use (once, R6) is the control plane's to count. */
  async consent(
    token: string,
    expected: Partial<ConsentClaims> & Pick<ConsentClaims, 'iss' | 'aud' | 'sub' | 'session_id'>,
    nowMs: number,
  ): Promise<ConsentClaims> {
    const verified = await this.verify('consent', token);
    if (!verified.ok) throw refused(verified.reason);
    const parsed = consentClaims.safeParse(verified.payload);
    if (!parsed.success) throw refused('its claims are not complete');
    const claims = parsed.data;
    for (const [name, value] of Object.entries(expected)) {
      if (claims[name as keyof ConsentClaims] !== value) throw refused(`${name} is another`);
    }
    const now = nowMs / 1000;
    if (claims.exp <= now) throw refused('it has expired');
    if (claims.iat > now + limits.signerClockSkew.value / 1000) throw refused('iat is in the future');
    if (claims.exp - claims.iat > limits.consentTokenLifetime.value / 1000)
      throw refused('it lives too long');
    return claims;
  }
}

const no = (reason: string): { readonly ok: false; readonly reason: string } => ({ ok: false, reason });
const refused = (detail: string): GloveboxError => new GloveboxError('GB_TOKEN_INVALID', { detail });
