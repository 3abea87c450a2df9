import type { EgressRequest, Injection } from './decide.ts';

/** Headers that carry credentials, by RFC or by the custom of large services. */
const carriers = new Set([
  'authorization',
  'proxy-authorization',
  'cookie',
  'x-api-key',
  'api-key',
  'apikey',
  'x-goog-api-key',
  'x-goog-iam-authorization-token',
  'x-auth-token',
  'x-access-token',
  'x-amz-security-token',
  'x-amz-credential',
  'x-csrf-token',
  'x-xsrf-token',
  'private-token',
  'job-token',
  'deploy-token',
  'x-github-token',
  'x-gitlab-token',
  'x-vault-token',
  'x-shopify-access-token',
  'x-figma-token',
  'x-functions-key',
  'ocp-apim-subscription-key',
  'x-registry-auth',
  'x-ms-authorization-auxiliary',
  'dd-api-key',
  'dd-application-key',
  'x-honeycomb-team',
  'circle-token',
  'x-n8n-api-key',
]);

/** Query keys likewise; presigned URLs (AWS, GCS, Azure SAS) among them. Lower case. */
const queryCarriers = new Set([
  'access_token',
  'api_key',
  'apikey',
  'api-key',
  'auth',
  'auth_token',
  'authorization',
  'client_secret',
  'id_token',
  'key',
  'password',
  'passwd',
  'private_token',
  'refresh_token',
  'secret',
  'sig',
  'signature',
  'token',
  'x-amz-credential',
  'x-amz-security-token',
  'x-amz-signature',
  'awsaccesskeyid',
  'x-goog-credential',
  'x-goog-signature',
  'googleaccessid',
  'jwt',
  'session',
  'sessionid',
  'sid',
]);

/** Which credential of its own a request carries; null: none. The placeholder in its own carrier is not one. */
export function carriedCredential(
  request: EgressRequest,
  inject: Injection | null,
  placeholder: string | null,
): string | null {
  for (const [name, value] of request.headers) {
    if (!carriers.has(name) && name !== inject?.header) continue;
    if (
      inject !== null &&
      placeholder !== null &&
      name === inject.header &&
      isPlaceholder(value, inject, placeholder)
    )
      continue;
    return `header ${name}`;
  }
  const question = request.target.indexOf('?');
  if (question < 0) return null;
  // Both separators and a lenient decoding, as servers read them.
  for (const pair of request.target.slice(question + 1).split(/[&;]/)) {
    const key = lenient(pair.split('=', 1)[0] ?? '')
      .toLowerCase()
      .trim();
    if (queryCarriers.has(key) || queryCarriers.has(key.replace(/\[.*$/, ''))) return `query key ${key}`;
  }
  return null;
}

const isPlaceholder = (value: string, inject: Injection, placeholder: string): boolean =>
  value === placeholder ||
  value === inject.prefix + placeholder ||
  (inject.prefix !== '' && value.toLowerCase() === inject.prefix.toLowerCase() + placeholder);

/** Where a placeholder stands that is not its own rule's carrier; null: nowhere. Headers and target; bodies are not read. */
export function placeholderOutside(
  placeholders: Readonly<Record<string, string>>,
  request: EgressRequest,
  inject: Injection | null,
  own: string | null,
): string | null {
  const target = lenient(request.target);
  for (const [secret, placeholder] of Object.entries(placeholders)) {
    if (placeholder === '') return 'a secret has no placeholder';
    if (request.target.includes(placeholder) || target.includes(placeholder))
      return `the placeholder of ${secret} is in the address`;
    for (const [name, value] of request.headers) {
      if (
        !value.includes(placeholder) &&
        !lenient(value).includes(placeholder) &&
        !basic(value).includes(placeholder)
      )
        continue;
      if (
        inject !== null &&
        placeholder === own &&
        name === inject.header &&
        isPlaceholder(value, inject, placeholder)
      )
        continue;
      return `the placeholder of ${secret} is in header ${name}`;
    }
  }
  return null;
}

function lenient(text: string): string {
  try {
    return decodeURIComponent(text.replaceAll('+', ' '));
  } catch {
    return text;
  }
}

/** The decoded form of `Basic …`, or nothing. */
function basic(value: string): string {
  const match = /^basic\s+([A-Za-z0-9+/=_-]+)$/i.exec(value);
  return match === null ? '' : Buffer.from(match[1] ?? '', 'base64').toString('latin1');
}
