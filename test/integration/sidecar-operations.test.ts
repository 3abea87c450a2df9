import { readFileSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { SidecarActivate } from '../../pure/contracts/index.ts';
import type { TestSidecar } from './sidecar-process.ts';
import { newId, SidecarWorld } from './sidecar-world.ts';

let world: SidecarWorld;
const calls: { subject: string; args: Record<string, unknown> }[] = [];
beforeAll(async () => {
  world = await SidecarWorld.start();
  await world.provider(({ args }, subject) => {
    calls.push({ subject, args });
    if (args['path'] === '/shared/silent') return { nonsense: true };
    if (args['path'] === '/shared/none')
      return { ok: false, error: { code: 'ENOENT', message: 'no\u001b[2J such file' } };
    return { ok: true, result: { text: 'hello' } };
  });
});
afterAll(() => world.close());

const tools = { allow: ['files:read:/shared/**'], ask: ['files:write:/shared/**'] };

/** Runs a script in the sandbox with `call(path, body)` at hand; what it prints as JSON is the answer. */
async function agent(
  sidecar: TestSidecar,
  script: string,
  more: Partial<SidecarActivate> & { tools?: typeof tools } = {},
): Promise<unknown> {
  const source = `
    const call = async (path, body, headers = {}) => {
      const response = await fetch('http://127.0.0.1:9090' + path, body === undefined ? { headers } : {
        method: 'POST', body: JSON.stringify(body), headers: { 'content-type': 'application/json', ...headers } });
      return { status: response.status, ...(await response.json()) };
    };
    const http = require('node:http');
    const raw = (headers, path = '/v1/session') => new Promise((resolve, reject) => http.get({ host: '127.0.0.1', port: 9090, path, headers }, (r) => { r.resume(); resolve(r.statusCode); }).on('error', reject));
    (async () => { console.log(JSON.stringify(await (async () => { ${script} })())); })();`;
  sidecar.activate([process.execPath, '-e', source], { tools, stdin: false, ...more });
  const { code } = await sidecar.report('exited');
  const text = readFileSync(sidecar.logPath, 'utf8');
  expect(code, text).toBe(0);
  return JSON.parse(text);
}

async function begun(): Promise<TestSidecar> {
  const sidecar = await world.sidecar();
  await sidecar.openTurn();
  return sidecar;
}

describe('an operation from the sandbox to a provider', () => {
  it('[R41] [R42] is decided, recorded, carried out and answered, under the session of its link', async () => {
    const sidecar = await begun();
    const answer = await agent(
      sidecar,
      `return [await call('/v1/tools/files_read', { path: '/shared/a' }), await call('/v1/session'), (await (await fetch('http://localhost:9090/v1/tools')).json()).map((t) => [t.name, t.decision])];`,
    );
    expect(answer).toEqual([
      { status: 200, text: 'hello' },
      expect.objectContaining({
        status: 200,
        sessionId: sidecar.session,
        user: 'local/1000',
        turnId: sidecar.turn,
      }),
      [
        ['files_list', 'allow'],
        ['files_read', 'allow'],
        ['files_search', 'allow'],
        ['files_write', 'ask'],
      ],
    ]);
    expect(calls.at(-1)).toEqual({
      subject: `gb.provider.files.read.${sidecar.session}`,
      args: { path: '/shared/a' },
    });
    const records = (await world.records()).filter((record) => record.session === sidecar.session);
    expect(
      records.map(({ kind, operation, rule, decision, outcome, turn, user, scope }) => ({
        kind,
        operation,
        rule,
        decision,
        outcome,
        turn,
        user,
        scope,
      })),
    ).toEqual([
      {
        kind: 'intent',
        operation: 'files.read',
        rule: 'tools.allow.0',
        decision: 'allow',
        outcome: undefined,
        turn: sidecar.turn,
        user: 'local/1000',
        scope: 'files:read:/shared/a',
      },
      {
        kind: 'outcome',
        operation: 'files.read',
        rule: 'tools.allow.0',
        decision: 'allow',
        outcome: 'ok',
        turn: sidecar.turn,
        user: 'local/1000',
        scope: 'files:read:/shared/a',
      },
    ]);
    expect(records[1]?.intent).toBe(records[0]?.id);
  });

  it('[R34] [R40] is refused outside the policy, without consent, and for what does not exist; each is recorded', async () => {
    const sidecar = await begun();
    const before = calls.length;
    const answer = (await agent(
      sidecar,
      `return [
        await call('/v1/tools/files_read', { path: '/other/a' }),
        await call('/v1/tools/files_write', { path: '/shared/a', content: 'x' }),
        await call('/v1/tools/files_erase', { path: '/shared/a' }),
        await call('/v1/tools/files_read', { path: '/shared/../other' }),
        await call('/v1/tools/files_read', { path: '/shared/a', extra: 1 }),
      ];`,
    )) as { status: number; error: { code: string } }[];
    expect(answer.map(({ status, error }) => [status, error.code])).toEqual([
      [403, 'GB_POLICY_DENIED'],
      [403, 'GB_CONSENT_REQUIRED'],
      [404, 'GB_NOT_FOUND'],
      [400, 'GB_INPUT_INVALID'],
      [400, 'GB_INPUT_INVALID'],
    ]);
    expect(calls.length).toBe(before);
    const records = (await world.records()).filter((record) => record.session === sidecar.session);
    expect(records.map(({ kind, decision, rule }) => [kind, decision, rule])).toEqual([
      ['event', 'deny', 'tools.none'],
      ['event', 'ask', 'tools.ask.0'],
      ['event', 'deny', 'tools.none'],
    ]);
  });

  it('[R36] is refused without an open turn', async () => {
    const sidecar = await begun();
    await sidecar.say({ type: 'turn-close', turn_id: sidecar.turn });
    const answer = await agent(sidecar, `return await call('/v1/tools/files_read', { path: '/shared/a' });`);
    expect(answer).toMatchObject({
      status: 403,
      error: { code: 'GB_POLICY_DENIED', why: expect.stringContaining('turn.none') },
    });
  });

  it('a provider that answers badly, or that nobody runs, is an error with its outcome recorded', async () => {
    const sidecar = await begun();
    const answer = (await agent(
      sidecar,
      `return [await call('/v1/tools/files_read', { path: '/shared/silent' }), await call('/v1/tools/files_read', { path: '/shared/none' })];`,
    )) as { status: number; error: { code: string; why: string } }[];
    expect(answer.map(({ status, error }) => [status, error.code])).toEqual([
      [502, 'GB_UPSTREAM_FAILED'],
      [422, 'GB_TOOL_FAILED'],
    ]);
    expect(answer[1]?.error.why).toBe('no\\u{1b}[2J such file');
    const records = (await world.records()).filter(
      (record) => record.session === sidecar.session && record.kind === 'outcome',
    );
    expect(records.map(({ outcome }) => outcome)).toEqual(['unknown', 'error']);
  });

  it('the API answers its own names only, and not to web pages', async () => {
    const sidecar = await begun();
    const answer = await agent(
      sidecar,
      `return [
        await raw({ host: '127.0.0.1:9090' }), await raw({ host: 'localhost:9090' }),
        await raw({ host: 'evil.example' }), await raw({ host: '127.0.0.1:9090', origin: 'http://evil.example' }),
        await raw({ host: 'evil.example' }, '/mcp'), await raw({ host: '127.0.0.1:9090' }, '/v1/none'),
        // Who is still sending meets a closed connection before it reads the answer.
        await call('/v1/tools/files_read', { path: 'x'.repeat(1100000) }).then((r) => r.status, () => 413),
      ];`,
    );
    expect(answer).toEqual([200, 200, 403, 403, 403, 404, 413]);
  });

  it('the way out is closed for what the policy does not name', async () => {
    const sidecar = await begun();
    const answer = await agent(
      sidecar,
      `return await new Promise((resolve, reject) => http.request({ host: '127.0.0.1', port: 3128, method: 'CONNECT', path: 'example.com:443' }).on('connect', (r) => resolve(r.statusCode)).on('error', reject).end());`,
    );
    expect(answer).toBe(403);
  });
});

describe('consent', () => {
  interface Asked {
    readonly id: string;
    readonly order: Record<string, unknown>;
    readonly session: string;
  }
  /** What the control plane does with a question is the test's; `answer` gets what was asked. */
  function people(sidecar: TestSidecar, answer: (asked: Asked) => Promise<Record<string, unknown>>): Asked[] {
    const all: Asked[] = [];
    world.onConsent = (session, order) => {
      const asked = { id: newId(), order, session };
      all.push(asked);
      void answer(asked).then((words) => sidecar.say({ type: 'consent', challenge_id: asked.id, ...words }));
      return Promise.resolve({
        id: asked.id,
        expiresAt: new Date(Date.now() + 300_000).toISOString(),
        digest: 'digest',
      });
    };
    return all;
  }
  const approved =
    (sidecar: TestSidecar, claims: Record<string, unknown> = {}) =>
    async (asked: Asked): Promise<Record<string, unknown>> => ({
      answer: 'approved',
      token: await sidecar.signConsent({
        scope: String(asked.order['scope']),
        challenge_id: asked.id,
        args_hash: String(asked.order['argsHash']),
        turn_id: String(asked.order['turnId']),
        digest: 'digest',
        ...claims,
      }),
    });
  const askAndWrite = `return [
    await call('/v1/permissions', { scope: 'files:write:/shared/a', reason: 'to test' }),
    await call('/v1/tools/files_write', { path: '/shared/a', content: 'x' }),
    await call('/v1/tools/files_write', { path: '/shared/a', content: 'x' }),
  ];`;

  it('[R37] [R39] granted once: one call, and no second', async () => {
    const sidecar = await begun();
    const asked = people(sidecar, approved(sidecar));
    const answer = (await agent(sidecar, askAndWrite)) as Record<string, unknown>[];
    expect(answer[0]).toMatchObject({ granted: true, mode: 'once', scope: 'files:write:/shared/a' });
    expect(answer.map(({ status }) => status)).toEqual([200, 200, 403]);
    expect(asked[0]).toMatchObject({
      session: sidecar.session,
      order: { turnId: sidecar.turn, operation: 'files:write', reason: 'to test' },
    });
    const intent = (await world.records()).find(
      (record) => record.session === sidecar.session && record.kind === 'intent',
    );
    expect(intent).toMatchObject({ rule: 'tools.ask.0', grant: expect.stringMatching(/^[a-z2-7]{26}$/) });
  });

  it('[R37] granted once: of 100 racing calls exactly one wins', async () => {
    const sidecar = await begun();
    people(sidecar, approved(sidecar));
    const before = calls.length;
    const answer = await agent(
      sidecar,
      `await call('/v1/permissions', { scope: 'files:write:/shared/**' });
       const all = await Promise.all(Array.from({ length: 100 }, (_, i) => call('/v1/tools/files_write', { path: '/shared/' + i, content: 'x' })));
       return all.map((one) => one.status).sort();`,
    );
    const statuses = answer as number[];
    expect(statuses.filter((status) => status === 200)).toHaveLength(1);
    expect(calls.length).toBe(before + 1);
  });

  it('[R35] granted for the session: again and again, and not in another user’s turn', async () => {
    const sidecar = await begun();
    people(sidecar, approved(sidecar, { mode: 'session' }));
    const waiting = agent(
      sidecar,
      `const first = await call('/v1/permissions', { scope: 'files:write:/shared/a' });
       const write = () => call('/v1/tools/files_write', { path: '/shared/a', content: 'x' });
       const mine = [await write(), await write()];
       await call('/v1/events', { kind: 'progress', text: 'switch' });
       while ((await call('/v1/session')).user === 'local/1000') await new Promise((r) => setTimeout(r, 5));
       return [first, ...mine, await write()].map((one) => one.status);`,
    );
    const switched = new Promise<void>((resolve) => {
      void world.bus.subscribe(
        `gb.session.${sidecar.session}.events`.replace(sidecar.session, '*'),
        (message) => {
          if (message.subject.includes(sidecar.session)) resolve();
        },
      );
    });
    await switched;
    await sidecar.openTurn('local/2000' as never, newId());
    expect(await waiting).toEqual([200, 200, 200, 403]);
  });

  it('a denial, and an expiry, are no grants', async () => {
    for (const answer of ['denied', 'expired'] as const) {
      const sidecar = await begun();
      people(sidecar, () => Promise.resolve({ answer, token: null }));
      const got = (await agent(sidecar, askAndWrite)) as Record<string, unknown>[];
      expect(got[0]).toMatchObject({ status: 200, granted: false });
      expect(got[1]).toMatchObject({ status: 403 });
    }
  });

  it('[R40] what the policy does not leave to a person is not even asked', async () => {
    const sidecar = await begun();
    const asked = people(sidecar, approved(sidecar));
    const answer = await agent(
      sidecar,
      `return [await call('/v1/permissions', { scope: 'files:write:/other/a' }), await call('/v1/permissions', { scope: 'files:write:/**' }), await call('/v1/permissions', { scope: 'files:read:/shared/a' })];`,
    );
    expect(answer).toMatchObject([{ status: 403 }, { status: 403 }, { status: 200, granted: true }]);
    expect(asked).toEqual([]);
  });
});

describe('the MCP endpoint', () => {
  it('lists the permitted tools and request_permission, and calls them', async () => {
    const sidecar = await begun();
    const client = new URL('../../node_modules/@modelcontextprotocol/client/dist/index.mjs', import.meta.url)
      .href;
    const answer = await agent(
      sidecar,
      `const { Client, StreamableHTTPClientTransport } = await import(${JSON.stringify(client)});
       const client = new Client({ name: 'test', version: '1' });
       await client.connect(new StreamableHTTPClientTransport(new URL('http://127.0.0.1:9090/mcp')));
       const { tools } = await client.listTools();
       const good = await client.callTool({ name: 'files_read', arguments: { path: '/shared/a' } });
       const bad = await client.callTool({ name: 'files_write', arguments: { path: '/shared/a', content: 'x' } });
       await client.close();
       return { names: tools.map((tool) => tool.name), schema: tools.find((t) => t.name === 'files_read').inputSchema, good, bad };`,
    );
    expect(answer).toMatchObject({
      names: ['files_list', 'files_read', 'files_search', 'files_write', 'request_permission'],
      schema: { type: 'object', required: ['path'] },
      good: { structuredContent: { text: 'hello' } },
      bad: {
        isError: true,
        content: [{ type: 'text', text: expect.stringContaining('GB_CONSENT_REQUIRED') }],
      },
    });
    console.log(
      'RSS of a sidecar that served MCP:',
      readFileSync(`/proc/${sidecar.child.pid}/status`, 'utf8').match(/VmRSS:\s+(\d+)/)?.[1],
    );
  });
});
