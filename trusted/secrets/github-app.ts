import { createPrivateKey, type KeyObject } from 'node:crypto';
import { SignJWT } from 'jose';
import { z } from 'zod';
import type { GitHubAppSecret, GitHubNarrowing } from '../../pure/contracts/index.ts';
import { OutgoingFailed, type CallOut } from './outgoing.ts';
import type { ShortLived } from './short-lived.ts';

const granted = z.object({
  token: z.string().regex(/^[\x21-\x7e]{1,4096}$/),
  expires_at: z.iso.datetime({ offset: true }),
  permissions: z.record(z.string(), z.string()),
  repository_selection: z.string().optional(),
  repositories: z.array(z.object({ name: z.string() })).optional(),
});

const strength = ['read', 'write', 'admin'];

/** Undefined where the text is no RSA key. */
export function appKey(pem: string): KeyObject | undefined {
  try {
    const key = createPrivateKey(pem);
    return key.asymmetricKeyType === 'rsa' ? key : undefined;
  } catch {
    return undefined;
  }
}

/** An installation token for exactly some repositories and permissions; an answer that grants more is not used. */
export async function installationToken(
  secret: GitHubAppSecret,
  narrow: GitHubNarrowing,
  call: CallOut,
  now: () => number,
): Promise<ShortLived> {
  const key = appKey(secret.privateKey);
  if (key === undefined) throw new OutgoingFailed('the app’s key is no RSA key');
  const seconds = Math.floor(now() / 1000);
  // A minute back for clocks that differ, and under the ten minutes that GitHub takes.
  const jwt = await new SignJWT()
    .setProtectedHeader({ alg: 'RS256', typ: 'JWT' })
    .setIssuer(secret.appId)
    .setIssuedAt(seconds - 60)
    .setExpirationTime(seconds + 300)
    .sign(key);
  const answer = await call(
    {
      url: `${secret.apiUrl.replace(/\/+$/, '')}/app/installations/${secret.installationId}/access_tokens`,
      method: 'POST',
      headers: {
        accept: 'application/vnd.github+json',
        authorization: `Bearer ${jwt}`,
        'content-type': 'application/json',
        'user-agent': 'glovebox',
        'x-github-api-version': '2022-11-28',
      },
      body: JSON.stringify(narrow),
    },
    secret,
  );
  if (answer.status !== 201) throw new OutgoingFailed(`it answered ${String(answer.status)}`);
  const parsed = granted.safeParse(parse(answer.body));
  if (!parsed.success) throw new OutgoingFailed('its answer is no installation token');
  const excess = beyond(parsed.data, narrow);
  if (excess !== null) throw new OutgoingFailed(`its token ${excess}, more than the policy names`);
  return { value: parsed.data.token, expiresAt: Date.parse(parsed.data.expires_at) };
}

function beyond(
  given: z.infer<typeof granted>,
  { repositories, permissions }: GitHubNarrowing,
): string | null {
  const names = new Set(repositories.map((name) => name.toLowerCase()));
  if (given.repository_selection !== 'selected' || given.repositories === undefined)
    return 'is not for selected repositories';
  if (given.repositories.some(({ name }) => !names.has(name.toLowerCase())))
    return 'is for further repositories';
  for (const [name, level] of Object.entries(given.permissions)) {
    // GitHub adds reading of metadata to every token.
    const asked = Object.hasOwn(permissions, name) ? permissions[name] : undefined;
    const most = asked ?? (name === 'metadata' ? 'read' : undefined);
    if (most === undefined || !strength.includes(level) || strength.indexOf(level) > strength.indexOf(most))
      return 'has further permissions';
  }
  return null;
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
