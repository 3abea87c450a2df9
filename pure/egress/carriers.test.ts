import { describe, expect, it } from 'vitest';
import type { SidecarPolicy } from '../contracts/index.ts';
import { parsePolicy } from '../policy/index.ts';
import { decide, type EgressRequest } from './index.ts';

const rules = (more = ''): SidecarPolicy['egress'] =>
  parsePolicy(
    `version: 1\negress:\n  - { host: api.example, methods: [GET, POST]${more} }\n`,
    'test',
  ).egress.map((rule) => ({ ...rule, id: 'egress.0' }));
const ask = (
  { headers = [], target = '/v1' }: { headers?: [string, string][]; target?: string },
  more = '',
): string => {
  const request: EgressRequest = {
    scheme: 'https',
    connectHost: 'api.example',
    connectPort: 443,
    sni: 'api.example',
    method: 'GET',
    target,
    headers: [['host', 'api.example'], ...headers],
  };
  const decision = decide(rules(more), {}, request);
  return decision.decision === 'deny' ? decision.why : decision.decision;
};

describe('credentials of the agent’s own', () => {
  it.each([
    'authorization',
    'proxy-authorization',
    'cookie',
    'cookie2',
    'authentication',
    'x-api-key',
    'api_key',
    'x_auth_token',
    'x-goog-api-key',
    'x-amz-security-token',
    'private-token',
    'x-gitlab-token',
    'x-vault-token',
    'dpop',
    'signature',
    'x-hub-signature',
    'cf-access-client-secret',
    'x-hasura-admin-secret',
    'x-parse-master-key',
    'dd-application-key',
    'ocp-apim-subscription-key',
    'x-auth-email',
    'x-forwarded-authorization',
    'x-goog-iap-jwt-assertion',
    'x-functions-key',
    'x-amz-credential',
    'some-password',
  ])('in the header %s are refused, and let through where the rule says so', (name) => {
    expect(ask({ headers: [[name, 'x']] })).toBe(
      `the request carries a credential of its own (header ${name})`,
    );
    expect(ask({ headers: [[name, 'x']] }, ', ownCredentials: true')).toBe('allow');
  });

  it.each([
    'access_token=x',
    'Access_Token=x',
    'ACCESSTOKEN=x',
    '%61ccess_token=x',
    'a=1&sig=x',
    'a=1;sig=x',
    'X-Amz-Signature=x',
    'x-amz-security-token=x',
    'X-Amz-Credential=AKIA',
    'X-Goog-Signature=x',
    'X-Goog-Credential=x',
    'AWSAccessKeyId=x',
    'Signature=x&Key-Pair-Id=y',
    'Key-Pair-Id=y',
    'OSSAccessKeyId=x',
    'q-signature=x',
    'x-cos-security-token=x',
    'sv=2020&sig=x',
    'token[]=x',
    'oauth_token=x',
    'oauth_signature=x',
    'api-key=x',
    'apiKey=x',
    'client_secret=x',
    'refresh_token=x',
    'user.password=x',
    'jwt=x',
    '%20token%20=x',
    'hdnea=x',
  ])('in the query ?%s are refused, and let through where the rule says so', (query) => {
    expect(ask({ target: `/v1?${query}` })).toContain('a credential of its own (query key');
    expect(ask({ target: `/v1?${query}` }, ', ownCredentials: true')).toBe('allow');
  });

  it.each([
    'openai-insecure-api-key.sk-1',
    'base64url.bearer.authorization.k8s.io.abc',
    'v1, access_token.x',
  ])('in the subprotocol %s of a WebSocket are refused', (value) => {
    expect(ask({ headers: [['sec-websocket-protocol', value]] })).toContain('a credential of its own');
  });

  it.each([
    ['sec-websocket-protocol', 'graphql-ws, realtime'],
    ['sec-websocket-key', 'dGhlIHNhbXBsZSBub25jZQ=='],
    ['idempotency-key', 'x'],
    ['x-amz-client-token', 'x'],
    ['x-amz-target', 'DynamoDB_20120810.GetItem'],
    ['x-amz-content-sha256', 'x'],
    ['mcp-session-id', 'x'],
    ['npm-auth-type', 'web'],
    ['npm-session', 'x'],
    ['x-stainless-lang', 'js'],
    ['anthropic-version', '2023-06-01'],
    ['git-protocol', 'version=2'],
    ['if-none-match', '"x"'],
  ])('the header %s is none', (name, value) => {
    expect(ask({ headers: [[name, value]] })).toBe('allow');
  });

  it.each([
    'page_token=x',
    'pageToken=x',
    'nextPageToken=x',
    'continuation-token=x',
    '$skiptoken=x',
    'max_tokens=5',
    'monkey=x',
    'keyword=x',
    'sort_key=x',
    'list-type=2',
    'author=x',
  ])('the query ?%s is none', (query) => {
    expect(ask({ target: `/v1?${query}` })).toBe('allow');
  });
});

describe('what the policy says of credentials', () => {
  const place = (credential: string): string => {
    try {
      parsePolicy(`version: 1\negress:\n  - host: a.example\n    credential: ${credential}\n`, 'p.yaml');
      return 'valid';
    } catch (error) {
      return (error as Error).message;
    }
  };

  it('is read, and refused with line and column where it is wrong', () => {
    expect(place("{ secret: a, carrier: 'aws:s3:eu-west-1' }")).toBe('valid');
    expect(
      place(
        '{ secret: a, carrier: bearer, github: { repositories: [site], permissions: { contents: read } } }',
      ),
    ).toBe('valid');
    for (const [credential, at] of [
      ['{ secret: a, carrier: aws }', 'aws'],
      ["{ secret: a, carrier: 'aws:s3' }", "'aws:s3'"],
      ["{ secret: a, carrier: 'aws:s3:*' }", "'aws:s3:*'"],
      ['{ secret: a, carrier: bearer, github: { permissions: { contents: read } } }', '{ permissions'],
      ['{ secret: a, carrier: bearer, github: { repositories: [], permissions: { contents: read } } }', '[]'],
      [
        '{ secret: a, carrier: bearer, github: { repositories: [acme/site], permissions: { contents: read } } }',
        'acme/site',
      ],
      ['{ secret: a, carrier: bearer, github: { repositories: [site], permissions: {} } }', '{}'],
      [
        '{ secret: a, carrier: bearer, github: { repositories: [site], permissions: { contents: all } } }',
        'all',
      ],
      [
        "{ secret: a, carrier: 'aws:s3:x', github: { repositories: [site], permissions: { contents: read } } }",
        '{ repositories',
      ],
    ] as const)
      expect(place(credential)).toContain(
        `:4:${String('    credential: '.length + credential.indexOf(at) + 1)}:`,
      );
  });
});
