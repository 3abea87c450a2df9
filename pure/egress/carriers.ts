/**
 * Where credentials travel, by RFC, by the custom of large services, or by what a name says of itself. A name that only looks so
 * costs a refusal that says which; one that is missed lets an attacker's key through at an allowed host.
 */

const headers = new Set([
  'authorization',
  'authentication',
  'proxy-authorization',
  'cookie',
  'cookie2',
  'api-key',
  'apikey',
  'token',
  'jwt',
  'dpop',
  'signature',
  'signature-input',
  'x-amz-credential',
  'x-figma-token',
  'x-functions-key',
  'x-rapidapi-key',
  'x-mashape-key',
  'x-jfrog-art-api',
  'x-registry-auth',
  'x-ms-authorization-auxiliary',
  'x-honeycomb-team',
  'x-goog-iap-jwt-assertion',
]);

const headerEnd =
  /(^|-)(token|secret|password|passwd|passphrase|auth|authorization|authentication|signature|credentials?|jwt|assertion|api-?key|(access|account|admin|app|application|auth|license|master|private|secret|subscription)-key)$/;
const harmlessHeaders = new Set([
  // Words that make a repeated request one.
  'x-amz-client-token',
  'x-idempotency-token',
  'x-amz-bucket-object-lock-token',
]);

/** Names are in lower case. Servers that follow CGI take `_` for `-`. */
export function isHeaderCarrier(name: string): boolean {
  const plain = name.replaceAll('_', '-');
  return (
    !harmlessHeaders.has(plain) &&
    (headers.has(plain) || headerEnd.test(plain) || plain.startsWith('x-auth-'))
  );
}

/** A browser's WebSocket has no headers of its own, so keys travel in its subprotocols. */
export const isCredentialProtocol = (value: string): boolean =>
  /(api[-_]?key|bearer|authorization|(access|auth|id)[-_]?token|jwt)/i.test(value);

const queryKeys = new Set([
  'auth',
  'authorization',
  'awsaccesskeyid',
  'bearer',
  'googleaccessid',
  'hdnea',
  'hdnts',
  'jwt',
  'key',
  'key-pair-id',
  'oauth-consumer-key',
  'ossaccesskeyid',
  'pass',
  'passwd',
  'pwd',
  'session',
  'sessionid',
  'sid',
  'sig',
  'x-amz-algorithm',
  'x-goog-algorithm',
]);
const queryEnd =
  /(token|secret|password|passphrase|signature|credential|api-?key|access-?key(-?id)?|auth-?key|private-?key)$/;
/** Where a list goes on, and what makes a repeated request one. */
const harmlessQuery =
  /(^|[^a-z])\$?(page|next|next-?page|continuation|sync|skip|start|starting|delta|client|client-request|idempotency|resume|sort|scroll|upload|marker|previous|prev)-?token$/;

/** A key as lenient servers read it, in any case. Presigned URLs (AWS, GCS, Azure SAS, CloudFront, OSS, COS) among them. */
export function isQueryCarrier(key: string): boolean {
  const plain = key.toLowerCase().trim().replace(/\[.*$/, '').replaceAll(/[_.]/g, '-');
  return !harmlessQuery.test(plain) && (queryKeys.has(plain) || queryEnd.test(plain));
}
