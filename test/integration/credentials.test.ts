import { generateKeyPairSync } from 'node:crypto';
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { jwtVerify } from 'jose';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { limits, type CredentialUse } from '../../pure/contracts/index.ts';
import { brokerWorld, tokenServer, type BrokerWorld, type TokenServer } from './broker-world.ts';
import { upstreamAuthority, type Authority } from './egress-world.ts';

const canaries = { refresh: 'canary-refresh-1', client: 'canary-client-2' };
const use = (secret: string, more: Partial<CredentialUse> = {}): CredentialUse => ({
  secret,
  carrier: 'bearer',
  host: 'api.example',
  port: 443,
  methods: ['GET'],
  paths: ['/**'],
  ...more,
});

let authority: Authority;
let server: TokenServer;
let folder: string;
beforeAll(async () => {
  authority = await upstreamAuthority();
  server = await tokenServer(authority, 'login.example');
});
afterAll(() => server.close());
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'gb-credentials-'));
  server.asked.length = 0;
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

const everyByte = (): string =>
  readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => readFileSync(join(entry.parentPath, entry.name), 'latin1'))
    .join('\n');

describe('an OAuth secret', () => {
  const oauth = (more: Record<string, unknown> = {}): Record<string, unknown> => ({
    tokenEndpoint: `https://login.example:${String(server.port)}/token`,
    clientId: 'agent client',
    clientSecret: canaries.client,
    refreshToken: canaries.refresh,
    ca: authority.ca,
    privateRanges: ['127.0.0.0/8'],
    ...more,
  });
  const tokens = (more: Record<string, unknown> = {}) => ({
    body: {
      access_token: `access-${String(server.asked.length)}`,
      token_type: 'Bearer',
      expires_in: 3600,
      ...more,
    },
  });
  const world = async (more: Record<string, unknown> = {}, addresses?: string[]): Promise<BrokerWorld> => {
    const made = await brokerWorld(folder, [use('drive')], addresses);
    await made.set('drive', 'oauth', oauth(more));
    return made;
  };

  it('[R28] gives access tokens, asks once for any number of requests, and again shortly before the end', async () => {
    server.answer = () => tokens();
    const it = await world();
    const first = await Promise.all(Array.from({ length: 50 }, () => it.read('drive')));
    expect(new Set(first)).toEqual(new Set(['access-1']));
    expect(server.asked).toHaveLength(1);
    const [asked] = server.asked;
    expect(Object.fromEntries(new URLSearchParams(asked?.body))).toEqual({
      grant_type: 'refresh_token',
      refresh_token: canaries.refresh,
    });
    // RFC 6749 section 2.3.1: both halves form-encoded.
    expect(asked?.headers.authorization).toMatch(/^Basic /);
    const basic = Buffer.from(asked?.headers.authorization?.slice(6) ?? '', 'base64').toString();
    expect(basic).toBe(`agent+client:${encodeURIComponent(canaries.client)}`.replaceAll('-', '%2D'));
    it.clock.now += 3_600_000 - limits.credentialMargin.value - 1;
    expect(await it.read('drive')).toBe('access-1');
    it.clock.now += 2;
    expect(await it.read('drive')).toBe('access-2');
    expect(it.reports).toEqual(
      Array(2).fill({ secret: 'drive', host: `login.example:${String(server.port)}`, failure: null }),
    );
  });

  it('[R27] neither refresh token nor client secret goes to the sidecar, in answers or errors, nor lies in the clear', async () => {
    server.answer = ({ body }) =>
      server.asked.length === 1
        ? tokens()
        : { status: 400, body: { error: 'invalid_grant', error_description: `${body} ${canaries.client}` } };
    const it = await world();
    await it.read('drive');
    it.clock.now += 3_600_000;
    await expect(it.read('drive')).rejects.toMatchObject({ code: 'GB_CREDENTIAL_UNAVAILABLE' });
    const seen = it.wire.join('\n') + JSON.stringify(it.reports) + everyByte();
    for (const canary of Object.values(canaries)) expect(seen).not.toContain(canary);
    // Control: the wire is looked at where something goes over it.
    expect(it.wire.join('\n')).toContain('access-1');
    expect(it.wire.join('\n')).toContain('invalid_grant');
  });

  it('a refresh token that takes another’s place is stored sealed before its access token is used, and is there after a restart', async () => {
    let current = canaries.refresh;
    server.answer = ({ body }) => {
      const given = new URLSearchParams(body).get('refresh_token');
      if (given !== current) return { status: 400, body: { error: 'invalid_grant' } };
      current = `canary-rotated-${String(server.asked.length)}`;
      return tokens({ refresh_token: current });
    };
    const first = await world();
    await Promise.all(Array.from({ length: 20 }, () => first.read('drive')));
    first.clock.now += 3_600_000;
    await first.read('drive');
    const again = await brokerWorld(folder, [use('drive')]);
    again.clock.now += 7_200_000;
    expect(await again.read('drive')).toBe('access-3');
    expect(everyByte()).not.toContain('canary-');
  });

  it('what a person sets while a refresh is under way stays', async () => {
    let set: Promise<void> = Promise.resolve();
    server.answer = async () => {
      if (server.asked.length === 1) {
        set = it.set('drive', 'oauth', oauth({ refreshToken: 'set-by-a-person' }));
        await set;
      }
      return tokens({ refresh_token: 'rotated-too-late' });
    };
    const it = await world();
    await it.read('drive');
    await set;
    await it.read('drive');
    expect(server.asked.map(({ body }) => new URLSearchParams(body).get('refresh_token'))).toEqual([
      canaries.refresh,
      'set-by-a-person',
    ]);
  });

  const wrong: readonly [
    string,
    () => { status?: number; headers?: Record<string, string>; body: unknown },
    string,
  ][] = [
    [
      'an error of the server',
      () => ({ status: 400, body: { error: 'invalid_client' } }),
      'it answered invalid_client',
    ],
    [
      'a redirect',
      () => ({
        status: 307,
        headers: { location: `https://login.example:${String(server.port)}/other` },
        body: '{}',
      }),
      'none of RFC 6749',
    ],
    ['no JSON', () => ({ body: '<html>' }), 'not JSON'],
    ['no token', () => ({ body: { token_type: 'Bearer' } }), 'none of RFC 6749'],
    [
      'a token that ends a header',
      () => ({ body: { access_token: 'a\r\nx: y', token_type: 'Bearer' } }),
      'printable',
    ],
    [
      'a token of another type',
      () => ({ body: { access_token: 'a', token_type: 'mac' } }),
      'none of RFC 6749',
    ],
    ['an endless answer', () => ({ body: ' '.repeat(limits.credentialAnswer.value + 1) }), 'too large'],
  ];
  it.each(wrong)(
    '[R28] fails closed at %s, says so, and does not ask again at once',
    async (_, answer, why) => {
      server.answer = answer;
      const it = await world();
      for (let i = 0; i < 3; i += 1) {
        await expect(it.read('drive')).rejects.toMatchObject({
          code: 'GB_CREDENTIAL_UNAVAILABLE',
          why: expect.stringContaining(why) as string,
        });
      }
      expect(server.asked).toHaveLength(1);
      // Control: the same once the server answers well and the moment is over.
      server.answer = () => tokens();
      it.clock.now += limits.credentialRetry.value + 1;
      expect(await it.read('drive')).toBe('access-2');
    },
  );

  it('[R18] asks no other place than its own: no private address, no certificate of another, no plain HTTP, no address for a name', async () => {
    server.answer = () => tokens();
    await expect((await world({ privateRanges: [] })).read('drive')).rejects.toMatchObject({
      why: expect.stringContaining('127.0.0.1') as string,
    });
    await expect((await world({}, ['127.0.0.1', '169.254.169.254'])).read('drive')).rejects.toMatchObject({
      why: expect.stringContaining('169.254.169.254') as string,
    });
    await expect((await world({ ca: undefined })).read('drive')).rejects.toMatchObject({
      code: 'GB_CREDENTIAL_UNAVAILABLE',
    });
    const other = await world({ tokenEndpoint: `https://other.example:${String(server.port)}/token` });
    await expect(other.read('drive')).rejects.toMatchObject({
      why: expect.stringContaining('ALTNAME') as string,
    });
    expect(server.asked).toEqual([]);
    for (const tokenEndpoint of [
      'http://login.example/token',
      'https://127.0.0.1/token',
      'https://0x7f.1/token',
      'https://user:pass@login.example/token',
      'file:///etc/passwd',
    ])
      await expect(world({ tokenEndpoint })).rejects.toMatchObject({ code: 'GB_INPUT_INVALID' });
    expect(await (await world()).read('drive')).toBe('access-1');
  });

  it('is nobody’s signature and no app', async () => {
    const it = await world();
    const request = {
      service: 's3',
      region: 'x',
      method: 'GET',
      host: 'a.example',
      port: 443,
      target: '/',
      headers: [],
      payload: 'UNSIGNED-PAYLOAD',
    };
    await expect(
      it.broker.sign((await import('./broker-world.ts')).session, 'drive', it.intent('drive'), request),
    ).rejects.toMatchObject({ code: 'GB_SECRET_REFUSED' });
  });
});

describe('a GitHub App', () => {
  const { privateKey, publicKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
  const pem = privateKey.export({ type: 'pkcs1', format: 'pem' }) as string;
  const narrow = { repositories: ['site'], permissions: { contents: 'write', issues: 'read' } } as const;
  const github = { repositories: [...narrow.repositories], permissions: { ...narrow.permissions } };
  const granted = (more: Record<string, unknown> = {}) => ({
    status: 201,
    body: {
      token: `ghs_${String(server.asked.length)}`,
      expires_at: '2026-11-01T01:00:00Z',
      permissions: { contents: 'write', issues: 'read', metadata: 'read' },
      repository_selection: 'selected',
      repositories: [{ name: 'site' }],
      ...more,
    },
  });
  const world = async (): Promise<BrokerWorld> => {
    const made = await brokerWorld(folder, [use('bot', { github })]);
    await made.set('bot', 'github-app', {
      appId: '1234',
      installationId: '5678',
      privateKey: pem,
      apiUrl: `https://login.example:${String(server.port)}/api/v3`,
      ca: authority.ca,
      privateRanges: ['127.0.0.0/8'],
    });
    return made;
  };

  it('[R28] proves itself with a short JWT, and gets a token for what the policy names and no more', async () => {
    server.answer = () => granted();
    const it = await world();
    const got = await Promise.all(Array.from({ length: 20 }, () => it.read('bot', github)));
    expect(new Set(got)).toEqual(new Set(['ghs_1']));
    expect(server.asked).toHaveLength(1);
    const [asked] = server.asked;
    expect(asked?.url).toBe('/api/v3/app/installations/5678/access_tokens');
    expect(JSON.parse(asked?.body ?? '')).toEqual(narrow);
    const { payload } = await jwtVerify(asked?.headers.authorization?.slice(7) ?? '', publicKey, {
      algorithms: ['RS256'],
      issuer: '1234',
      currentDate: new Date(it.clock.now),
    });
    expect((payload.exp ?? 0) - (payload.iat ?? 0)).toBeLessThanOrEqual(600);
    it.clock.now += 3_600_000 - limits.credentialMargin.value + 1;
    expect(await it.read('bot', github)).toBe('ghs_2');
    const seen = it.wire.join('\n') + JSON.stringify(it.reports) + everyByte();
    expect(seen).not.toContain(pem.split('\n')[3]);
    expect(it.wire.join('\n')).not.toContain('eyJ');
  });

  it('[R32] is refused for what no rule of the session names, and without a rule’s words', async () => {
    server.answer = () => granted();
    const it = await world();
    for (const other of [
      undefined,
      { repositories: ['site', 'secrets'], permissions: github.permissions },
      { repositories: ['other'], permissions: github.permissions },
      { repositories: ['site'], permissions: { contents: 'write' as const, issues: 'admin' as const } },
    ])
      await expect(it.read('bot', other)).rejects.toMatchObject({ code: 'GB_SECRET_REFUSED' });
    expect(server.asked).toEqual([]);
    expect(await it.read('bot', github)).toBe('ghs_1');
  });

  it.each([
    ['all repositories', { repository_selection: 'all', repositories: undefined }],
    ['another repository', { repositories: [{ name: 'site' }, { name: 'secrets' }] }],
    ['another permission', { permissions: { contents: 'write', administration: 'write' } }],
    ['a stronger permission', { permissions: { contents: 'write', issues: 'write' } }],
    ['a permission nobody knows', { permissions: { contents: 'everything' } }],
  ])('a token that is good for %s is not used', async (_, more) => {
    server.answer = () => granted(more);
    await expect((await world()).read('bot', github)).rejects.toMatchObject({
      code: 'GB_CREDENTIAL_UNAVAILABLE',
    });
  });

  it('a key that is none is refused when it is set, without a word of it', async () => {
    const made = await brokerWorld(folder, []);
    const error: unknown = await made
      .set('bot', 'github-app', { appId: '1', installationId: '2', privateKey: 'canary-no-key' })
      .catch((thrown: unknown) => thrown);
    expect(error).toMatchObject({ code: 'GB_INPUT_INVALID' });
    expect(JSON.stringify(error) + String((error as Error).stack)).not.toContain('canary');
  });
});
