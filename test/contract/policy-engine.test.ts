import { createServer, type RequestListener, type Server } from 'node:http';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { engineOf } from '../../trusted/sidecar/testing.ts';
import { OpaServer } from './opa-server.ts';
import { policyEngineContract, policyOf, user } from './policy-engine-contract.ts';

policyEngineContract(
  'Cedar',
  () => engineOf(undefined),
  () => Promise.resolve(),
);
const shared = new OpaServer();
policyEngineContract(
  'Open Policy Agent',
  async () => {
    await shared.start();
    return await engineOf({ engine: 'opa', socket: shared.socket, token: shared.token });
  },
  () => shared.remove(),
);

const tools = { allow: ['files:read:/a/**'], ask: ['files:write:/a/**'] };
const read = { sessionId: 's', user, scope: 'files:read:/a/b' };
const failed = { decision: 'deny', rule: 'engine.failed' };
const allowed = { decision: 'allow', rule: 'tools.allow.0' };

describe('Open Policy Agent, where things go wrong', () => {
  const server = new OpaServer();
  beforeAll(() => server.start());
  afterAll(() => server.remove());
  const engine = async (token = server.token) =>
    (await engineOf({ engine: 'opa', socket: server.socket, token }))(policyOf(tools));

  it('[R40] denies while the server is down, and decides again when it is back', async () => {
    const opa = await engine();
    expect(await opa.decide(read)).toEqual(allowed);
    await server.stop();
    expect(await opa.decide(read)).toEqual(failed);
    await server.start();
    expect(await opa.decide(read)).toEqual(allowed);
  });

  it('[R40] denies with a token that is not the server’s', async () => {
    expect(await (await engine('x'.repeat(64))).decide(read)).toEqual(failed);
    expect(await (await engine()).decide(read)).toEqual(allowed);
  });

  it('[R40] lets nobody change data or policies, read them, or compile, with the token neither', async () => {
    const decision = '/v1/data/glovebox/decision';
    expect(await server.ask('POST', decision, '{}')).toBe(200);
    expect(await server.ask('POST', decision, '{}', null)).toBe(401);
    for (const [method, path] of [
      ['PUT', '/v1/data/organisation'],
      ['PATCH', '/v1/data/glovebox'],
      ['PUT', '/v1/policies/mine'],
      ['DELETE', '/v1/policies/glovebox/glovebox.rego'],
      ['GET', '/v1/policies'],
      ['GET', '/v1/data'],
      ['POST', '/v1/data'],
      ['POST', '/v1/compile'],
      ['POST', '/v1/query'],
      ['GET', decision],
      ['GET', '/v1/config'],
    ] as const)
      // A question without a body is refused as such, before anybody asks who it is.
      expect([400, 401], `${method} ${path}`).toContain(
        await server.ask(method, path, method === 'GET' ? '' : '{}'),
      );
  });

  it('[R40] an organisation’s own rules take away, and only that', async () => {
    await server.stop();
    await server.start(
      `package organisation
       deny contains "no-b" if input.operation.segments[1] == "b"
       allow := true`,
    );
    const opa = await engine();
    expect(await opa.decide(read)).toEqual({ decision: 'deny', rule: 'organisation.no-b' });
    expect(await opa.decide({ ...read, scope: 'files:read:/a/c' })).toEqual(allowed);
    expect(await opa.decide({ ...read, scope: 'files:read:/z' })).toEqual({
      decision: 'deny',
      rule: 'tools.none',
    });
  });
});

describe('a server in the place of the engine', () => {
  const folder = mkdtempSync(join(tmpdir(), 'gb-not-opa-'));
  let server: Server | undefined;
  afterEach(() => {
    server?.closeAllConnections();
    server?.close();
  });
  afterAll(() => rmSync(folder, { recursive: true }));
  let count = 0;

  async function decided(listener: RequestListener, question = read): Promise<unknown> {
    const socket = join(folder, `${String((count += 1))}.sock`);
    server = createServer(listener).listen(socket);
    await once(server, 'listening');
    const prepare = await engineOf({ engine: 'opa', socket, token: 't'.repeat(32) });
    return await prepare(policyOf(tools)).decide(question);
  }
  const says =
    (body: string, status = 200): RequestListener =>
    (request, response) => {
      request.resume();
      response.writeHead(status).end(body);
    };
  const result = (decision: string, rule: string): string => JSON.stringify({ result: { decision, rule } });

  it('decides where it answers as the engine does', async () => {
    expect(await decided(says(result('allow', 'tools.allow.0')))).toEqual(allowed);
    expect(await decided(says(result('deny', 'organisation.x')))).toEqual({
      decision: 'deny',
      rule: 'organisation.x',
    });
  });

  it('[R40] is denied where it never answers', async () => {
    expect(await decided((request) => void request.resume())).toEqual(failed);
  });

  it('[R40] is denied where its answer never ends', async () => {
    expect(
      await decided((request, response) => {
        request.resume();
        response.writeHead(200).write('{"result":');
      }),
    ).toEqual(failed);
  });

  it.each([
    ['an error', says(result('allow', 'tools.allow.0'), 500)],
    ['nothing', says('')],
    ['no JSON', says('allow')],
    ['no result', says('{}')],
    ['a result of another shape', says('{"result": true}')],
    ['a word that is none', says(result('yes', 'tools.allow.0'))],
    ['more than was asked', says('{"result": {"decision": "allow", "rule": "tools.allow.0", "also": 1}}')],
    ['a rule that is no name', says(result('allow', 'tools.allow.0\n'))],
    [
      'an answer without end',
      says(`{"result": {"decision": "allow", "rule": "tools.allow.0"}, "x": "${'x'.repeat(20_000)}"}`),
    ],
    ['a redirect', says('', 302)],
    ['a broken connection', (request) => void request.socket.destroy()],
  ] satisfies [string, RequestListener][])(
    '[R40] is denied where it answers with %s',
    async (_, listener) => {
      expect(await decided(listener)).toEqual(failed);
    },
  );

  it.each([
    ['by a rule that does not take it in', 'allow', 'tools.allow.0', 'files:read:/z'],
    ['by a rule that only asks', 'allow', 'tools.ask.0', 'files:write:/a/b'],
    ['by a rule that there is not', 'allow', 'tools.allow.1', 'files:read:/a/b'],
    ['by no rule', 'allow', 'because', 'files:read:/a/b'],
    ['asking by a rule of another list', 'ask', 'tools.allow.0', 'files:read:/a/b'],
    ['asking for what the policy does not leave to anybody', 'ask', 'tools.ask.0', 'files:write:/z'],
  ])('[R40] does not widen the policy %s', async (_, decision, rule, scope) => {
    expect(await decided(says(result(decision, rule)), { ...read, scope })).toEqual({
      decision: 'deny',
      rule: 'engine.overreached',
    });
  });
});
