import { z } from 'zod';

/**
 * What a stored secret is. `text` is handed out as it is; of the others only what is short-lived leaves the secret broker: an
 * access token, the signature of one request, an installation token.
 */
export const secretKinds = ['text', 'oauth', 'aws', 'github-app'] as const;
export type SecretKind = (typeof secretKinds)[number];

/** RFC 3986, https only: no user information, no fragment; whether the host is a name is checked where it is called. */
const httpsAddress = z
  .string()
  .max(2048)
  .regex(
    /^https:\/\/[A-Za-z0-9.-]{1,253}(:[1-9][0-9]{0,4})?(\/[A-Za-z0-9._~!$&'()*+,;=:@%/?-]*)?$/,
    'an address is https://host/path',
  );
const plainText = (most: number) =>
  z
    .string()
    .min(1)
    .max(most)
    .regex(/^[\x20-\x7e]+$/, 'it is printable ASCII');

/** How the broker reaches the one place that it may ask: beyond public authorities and public addresses only what is named here. */
const reach = {
  /** PEM certificates of a private authority. */
  ca: z.string().max(32768).optional(),
  /** Private address ranges (CIDR) that the name may lead to. */
  privateRanges: z.array(z.string().max(50)).max(20).default([]),
};

/** RFC 6749 section 6. */
export const oauthSecret = z.strictObject({
  tokenEndpoint: httpsAddress,
  clientId: plainText(1024),
  clientSecret: plainText(4096).optional(),
  /** Section 2.3.1: in the Authorization header, or in the body. */
  clientAuth: z.enum(['basic', 'post']).default('basic'),
  refreshToken: plainText(16384),
  scope: plainText(4096).optional(),
  ...reach,
});
export type OAuthSecret = z.infer<typeof oauthSecret>;

export const awsSecret = z.strictObject({
  accessKeyId: z.string().regex(/^[A-Za-z0-9_]{16,128}$/, 'an access key id is 16 to 128 letters and digits'),
  secretAccessKey: plainText(256),
  sessionToken: plainText(8192).optional(),
});
export type AwsSecret = z.infer<typeof awsSecret>;

export const githubAppSecret = z.strictObject({
  appId: z.string().regex(/^[A-Za-z0-9._-]{1,64}$/, 'an app’s id is its number or client id'),
  installationId: z.string().regex(/^[1-9][0-9]{0,18}$/, 'an installation’s id is a number'),
  /** PEM, PKCS #1 as GitHub gives it or PKCS #8. */
  privateKey: z.string().min(1).max(16384),
  apiUrl: httpsAddress.default('https://api.github.com'),
  ...reach,
});
export type GitHubAppSecret = z.infer<typeof githubAppSecret>;

const documents = { oauth: oauthSecret, aws: awsSecret, 'github-app': githubAppSecret } as const;

/** Why a value is none of its kind, or null. Names what is wrong, never what is there. */
export function secretProblem(kind: SecretKind, value: string): string | null {
  if (kind === 'text') return null;
  let plain: unknown;
  try {
    plain = JSON.parse(value);
  } catch {
    return 'it is not JSON';
  }
  const result = documents[kind].safeParse(plain);
  if (result.success) return null;
  const [issue] = result.error.issues;
  if (issue?.code === 'unrecognized_keys') return 'it has a key that is not known';
  const field = issue?.path.map(String).join('.') ?? '';
  return issue?.code === 'invalid_type'
    ? `${field} is missing`
    : `${field}: ${issue?.message ?? 'not valid'}`;
}
