import {
  awsSecret,
  githubAppSecret,
  GloveboxError,
  oauthSecret,
  secretProblem,
  type AwsSecret,
  type GitHubAppSecret,
  type OAuthSecret,
} from '../../pure/contracts/index.ts';
import { normaliseHost } from '../../pure/egress/index.ts';
import type { StoredSecret } from './backend.ts';
import { appKey } from './github-app.ts';

export type OpenedSecret =
  | { readonly kind: 'text'; readonly text: string }
  | { readonly kind: 'oauth'; readonly oauth: OAuthSecret }
  | { readonly kind: 'aws'; readonly aws: AwsSecret }
  | { readonly kind: 'github-app'; readonly app: GitHubAppSecret };

/** The one place where a stored value is read as what it is. Throws without a piece of it. */
export function opened(name: string, { kind, value }: StoredSecret): OpenedSecret {
  const text = value.reveal();
  if (kind === 'text') return { kind, text };
  const problem = kindProblem({ kind, value });
  if (problem !== null) throw new GloveboxError('GB_SECRET_DAMAGED', { name, detail: problem });
  const plain: unknown = JSON.parse(text);
  if (kind === 'oauth') return { kind, oauth: oauthSecret.parse(plain) };
  if (kind === 'aws') return { kind, aws: awsSecret.parse(plain) };
  return { kind, app: githubAppSecret.parse(plain) };
}

/** What is wrong with a value before it is stored, or null: found now, not when an agent needs it. */
export function kindProblem({ kind, value }: StoredSecret): string | null {
  const problem = secretProblem(kind, value.reveal());
  if (problem !== null || kind === 'text' || kind === 'aws') return problem;
  const plain: unknown = JSON.parse(value.reveal());
  const address =
    kind === 'oauth' ? oauthSecret.parse(plain).tokenEndpoint : githubAppSecret.parse(plain).apiUrl;
  if (!URL.canParse(address)) return 'its address is none';
  const host = normaliseHost(new URL(address).hostname);
  if (!host.ok) return host.why;
  if (kind === 'github-app' && appKey(githubAppSecret.parse(plain).privateKey) === undefined)
    return 'privateKey is no RSA key in PEM';
  return null;
}
