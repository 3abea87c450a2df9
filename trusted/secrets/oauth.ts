import {
  ClientSecretBasic,
  ClientSecretPost,
  Configuration,
  customFetch,
  None,
  refreshTokenGrant,
  ResponseBodyError,
} from 'openid-client';
import { limits, type OAuthSecret } from '../../pure/contracts/index.ts';
import { OutgoingFailed, type CallOut } from './outgoing.ts';
import type { ShortLived } from './short-lived.ts';

export interface Refreshed extends ShortLived {
  /** The refresh token that takes the place of the one that was used (RFC 6749 section 6); null: it goes on. */
  readonly rotated: string | null;
}

/** RFC 6749 section 6, by openid-client. Throws OutgoingFailed with words of ours and the server's error code at most. */
export async function refresh(secret: OAuthSecret, call: CallOut, now: () => number): Promise<Refreshed> {
  const { tokenEndpoint, clientId, clientSecret, clientAuth, refreshToken, scope } = secret;
  const authentication =
    clientSecret === undefined
      ? None()
      : clientAuth === 'basic'
        ? ClientSecretBasic(clientSecret)
        : ClientSecretPost(clientSecret);
  const config = new Configuration(
    { issuer: new URL(tokenEndpoint).origin, token_endpoint: tokenEndpoint },
    clientId,
    {},
    authentication,
  );
  config[customFetch] = async (url, { method, headers, body }) => {
    if (method !== 'POST') throw new OutgoingFailed('only POST is used here');
    const answer = await call(
      { url, method, headers, body: body instanceof URLSearchParams ? body.toString() : '' },
      secret,
    );
    return new Response(withoutIdToken(answer.body), {
      status: answer.status,
      headers: { 'content-type': answer.contentType },
    });
  };
  const asked = now();
  try {
    const answer = await refreshTokenGrant(config, refreshToken, scope === undefined ? {} : { scope });
    const { access_token: value, refresh_token: next, expires_in: seconds } = answer;
    // It goes into a header: one that could end the header is none.
    if (!/^[\x21-\x7e]{1,16384}$/.test(value)) throw new OutgoingFailed('its token is not printable ASCII');
    if (answer.token_type !== 'bearer') throw new OutgoingFailed('its token is not a bearer token');
    if (next !== undefined && !/^[\x20-\x7e]{1,16384}$/.test(next))
      throw new OutgoingFailed('its new refresh token is not printable ASCII');
    return {
      value,
      expiresAt: asked + (seconds === undefined ? limits.credentialUnsaidLife.value : seconds * 1000),
      rotated: next === undefined || next === refreshToken ? null : next,
    };
  } catch (error) {
    throw inOurWords(error);
  }
}

function inOurWords(error: unknown): OutgoingFailed {
  const cause = error instanceof Error ? error.cause : undefined;
  for (const one of [error, cause]) if (one instanceof OutgoingFailed) return one;
  // The code is one word of RFC 6749 section 5.2; the server's description may hold anything.
  if (error instanceof ResponseBodyError && /^[a-z_]{1,40}$/.test(error.error))
    return new OutgoingFailed(`it answered ${error.error}`);
  return new OutgoingFailed('its answer is none of RFC 6749');
}

/** Who somebody is is not asked here, and an ID token's issuer need not be the token endpoint's origin. */
function withoutIdToken(body: string): string {
  try {
    const { id_token: _, ...rest } = JSON.parse(body) as Record<string, unknown>;
    return JSON.stringify(rest);
  } catch {
    throw new OutgoingFailed('its answer is not JSON');
  }
}
