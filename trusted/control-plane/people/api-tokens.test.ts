import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import type { FastifyInstance } from 'fastify';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { z } from 'zod';
import {
  limits,
  operatorRoutes,
  tokenOperations,
  tokenScopes,
  type Route,
  type TokenScope,
} from '../../../pure/contracts/index.ts';
import { openSqliteStore, type Store } from '../../store/index.ts';
import { RequestRate } from '../../workload-http/index.ts';
import type { OperatorHandlers } from '../operator/handlers.ts';
import { personAtSocket } from '../operator/operator-socket.ts';
import { operatorServer } from '../operator/server.ts';
import { randomIds } from '../random-ids.ts';
import { ApiTokens } from './api-tokens.ts';

const routes: [string, Route][] = Object.entries(operatorRoutes);
const me = personAtSocket();
let folder: string;
let store: Store;
let now: number;
let tokens: ApiTokens;
let app: FastifyInstance;
let ran: string[];
let audited: string[];

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'glovebox-tokens-'));
  store = await openSqliteStore(join(folder, 'db'));
  now = Date.parse('2026-11-01T00:00:00.000Z');
  ran = [];
  audited = [];
  tokens = new ApiTokens({
    store: store.apiTokens,
    audit: { record: async ({ operation }) => audited.push(operation) },
    clock: { now: () => now },
    ids: randomIds,
  });
  const handlers = Object.fromEntries(
    routes.map(([name, route]) => [
      name,
      async ({ caller }: { caller: { user: string } }) => {
        ran.push(`${name} ${caller.user}`);
        const stream = Readable.from([Buffer.from('null')]);
        return route.response instanceof z.ZodNull ? { contentType: 'application/json', stream } : {};
      },
    ]),
  ) as unknown as OperatorHandlers;
  app = await operatorServer({
    handlers,
    // Who may call is what is tested here: what a request holds is not.
    routes: Object.fromEntries(
      routes.map(([name, { method, path, callers, owner, response }]) => [
        name,
        { method, path, callers, owner, response: response instanceof z.ZodNull ? response : z.any() },
      ]),
    ),
    findSession: () => Promise.resolve({} as never),
    caller: me,
    tokens,
    version: '0',
    rate: new RequestRate('operatorRate', 1_000_000, Date.now),
    onError: (error) => console.error(error),
  });
});
afterEach(async () => {
  await app.close();
  await store.close();
  rmSync(folder, { recursive: true, force: true });
});

const made = async (scopes: readonly TokenScope[], expiresInSeconds = 3600) =>
  await tokens.create({ name: 'ci', scopes, expiresInSeconds }, me.user);
const ask = async (route: Route, authorization?: string): Promise<number> =>
  (
    await app.inject({
      method: route.method,
      url: route.path.replaceAll(/:[a-z]+/g, 'one'),
      headers: authorization === undefined ? {} : { authorization },
    })
  ).statusCode;

describe('an API token', () => {
  it('[R39] opens what its scope names, on every route; no scope opens an answer, a login or another token', async () => {
    const each = await Promise.all(tokenScopes.map(async (scope) => [scope, await made([scope])] as const));
    const all = await made([...tokenScopes]);
    for (const [name, route] of routes) {
      if (name === 'attachSession') continue;
      const needed = tokenOperations[name];
      for (const [scope, { token }] of each)
        expect([name, scope, await ask(route, `Bearer ${token}`)]).toEqual([
          name,
          scope,
          scope === needed ? 200 : 403,
        ]);
      expect([name, await ask(route, `Bearer ${all.token}`)]).toEqual([
        name,
        needed === undefined ? 403 : 200,
      ]);
      // The control: the person at the socket may do each of them.
      expect([name, await ask(route)]).toEqual([name, 200]);
    }
    for (const name of [
      'approveConsent',
      'denyConsent',
      'revokeGrant',
      'createToken',
      'revokeToken',
      'attachSession',
      'execSession',
      'openBrowser',
      'putSecret',
      'waive',
      'shutdown',
    ])
      expect([name, name in operatorRoutes, tokenOperations[name]]).toEqual([name, true, undefined]);
    for (const name of Object.keys(tokenOperations))
      expect([name, name in operatorRoutes]).toEqual([name, true]);
  });

  it('that is wrong, revoked or expired is nobody, not even the person at the socket', async () => {
    const { token, view } = await made(['read']);
    const { health } = operatorRoutes;
    const forged = [
      '',
      'Bearer',
      'Basic eDp5',
      `Bearer ${token}x`,
      `Bearer ${token.slice(0, -1)}`,
      `Bearer ${token.replace(/.$/, (last) => (last === 'A' ? 'B' : 'A'))}`,
      `Bearer gbt_${randomIds.token()}_${token.slice(-43)}`,
      `bearer ${token}`,
      `Bearer ${token}, Bearer ${token}`,
    ];
    for (const header of forged) expect([header, await ask(health, header)]).toEqual([header, 403]);
    expect(ran).toEqual([]);
    expect(await ask(health, `Bearer ${token}`)).toBe(200);
    now += 3_600_000;
    expect(await ask(health, `Bearer ${token}`)).toBe(403);
    now -= 1;
    expect(await ask(health, `Bearer ${token}`)).toBe(200);
    expect((await tokens.revoke(view.id, me.user)).state).toBe('revoked');
    expect(await ask(health, `Bearer ${token}`)).toBe(403);
    expect(ran).toEqual([`health ${me.user}`, `health ${me.user}`]);
    expect(audited).toEqual(['token.create', 'token.revoke']);
  });

  it('is kept as its digest only, and lasts no longer than it may', async () => {
    const { token } = await made(['read', 'read', 'run']);
    expect(JSON.stringify(await store.apiTokens.list(10))).not.toContain(token.slice(-43));
    expect(await tokens.list()).toMatchObject([{ name: 'ci', scopes: ['read', 'run'], state: 'good' }]);
    await expect(made(['read'], limits.apiTokenTime.value / 1000 + 1)).rejects.toThrow('GB_LIMIT_REACHED');
    await expect(tokens.revoke('nothing', me.user)).rejects.toThrow('GB_NOT_FOUND');
  });

  it('[R45] of one person only so many are good at once', async () => {
    for (let n = 0; n < limits.apiTokens.value; n += 1) await made(['read']);
    await expect(made(['read'])).rejects.toThrow('GB_LIMIT_REACHED');
    const [first] = await tokens.list();
    await tokens.revoke(first?.id ?? '', me.user);
    await expect(made(['read'])).resolves.toBeDefined();
  });
});
