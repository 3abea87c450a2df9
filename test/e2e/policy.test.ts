import { randomUUID } from 'node:crypto';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { until } from './until.ts';
import { World } from './world.ts';

/**
 * An agent that tries everything it has, again and again, and says what came of it: the tools, a host, and the ways in which it
 * might change its own policy.
 */
const agent = `
const http = require('node:http');
const api = process.env.GLOVEBOX_URL;
const json = { 'content-type': 'application/json' };
const tool = async (name, body) => (await fetch(api + '/v1/tools/' + name, { method: 'POST', headers: json, body: JSON.stringify(body) })).status;
const connect = (host) => new Promise((resolve) => {
  const request = http.request({ host: '127.0.0.1', port: 3128, method: 'CONNECT', path: host + ':443' });
  request.on('connect', (response, socket) => { socket.destroy(); resolve(response.statusCode); });
  request.on('error', () => resolve('error'));
  request.end();
});
const own = async () => {
  const { sessionId } = await (await fetch(api + '/v1/session')).json();
  const body = JSON.stringify({ text: 'version: 1', file: 'mine' });
  const paths = ['/v1/sessions/' + sessionId + '/policy', '/v1/policy', '/v1/sessions/' + sessionId + '/policy-status'];
  const found = [];
  for (const path of paths) for (const method of ['PUT', 'POST', 'PATCH'])
    found.push((await fetch(api + path, { method, headers: json, body })).status);
  return found;
};
(async () => {
  console.log('own ' + JSON.stringify(await own()));
  for (;;) {
    const list = await (await fetch(api + '/v1/tools')).json();
    console.log(JSON.stringify({
      tools: list.map(({ name, decision }) => name + ' ' + decision),
      read: await tool('files_list', { path: '/shared' }),
      write: await tool('files_write', { path: '/shared/x', content: 'x' }),
      host: await connect('one.example'),
    }));
    await new Promise((resolve) => setTimeout(resolve, 200));
  }
})();
`;

const wide = `version: 1
tools:
  allow: ['files:read:/**']
  ask: ['files:write:/**']
egress:
  - host: one.example
`;
const narrow = "version: 1\ntools:\n  ask: ['files:read:/**']\n";

let world: World;
const file = (text: string): string => {
  const path = join(world.folder, `policy-${randomUUID()}.yaml`);
  writeFileSync(path, text);
  return path;
};
let text = '';
const seen = (): Record<string, unknown> => {
  const lines = text.split('\n').filter((line) => line.startsWith('{') && line.endsWith('}'));
  return JSON.parse(lines.at(-1) ?? '{}') as Record<string, unknown>;
};

beforeAll(async () => {
  world = new World();
  writeFileSync(join(world.project, 'agent.cjs'), agent);
  mkdirSync(join(world.home, '.local/share/glovebox/shared'), { recursive: true, mode: 0o700 });
  await world.waive();
  const run = world.start(['run', '--name', 'changing', '--policy', file(wide), '--', 'node', 'agent.cjs']);
  for (const stream of [run.stdout, run.stderr])
    stream?.setEncoding('utf8').on('data', (chunk: string) => (text += chunk));
  await until('the agent has a provider', () => seen()['read'] === 200, 180_000).catch((error: unknown) => {
    throw new Error(`${String(error)}: ${text.slice(-2000)}`);
  });
});
afterAll(() => world.close());

describe('the policy of a session that runs', () => {
  it('[R3] cannot be changed from inside: no way of the agent’s leads to an operation that would', async () => {
    const line = text.split('\n').find((one) => one.startsWith('own ')) ?? 'own []';
    expect(JSON.parse(line.slice(4))).toEqual(Array.from({ length: 9 }, () => 404));
    const show = await world.glovebox(['policy', 'show', 'changing', '--json']);
    expect(JSON.parse(show.out)).toMatchObject({
      generation: 1,
      applied: 1,
      document: { tools: { ask: ['files:write:/**'] } },
    });
  });

  it('[R2] is changed by a person: tools, hosts and scopes at once, and back, and the sidecar says what it applies', async () => {
    expect(seen()).toMatchObject({ read: 200, write: 403, host: 200 });
    const set = await world.glovebox(['policy', 'set', 'changing', '--policy', file(narrow), '--json']);
    expect([set.code, set.err]).toEqual([0, '']);
    expect(JSON.parse(set.out)).toMatchObject({ generation: 2, applied: 2 });
    const now = await until(
      'the narrower policy holds',
      () => seen()['host'] === 403 && seen()['read'] === 403 && seen(),
    );
    expect(now).toMatchObject({ write: 404 });
    expect(now['tools']).not.toContain('files_write ask');
    const back = await world.glovebox(['policy', 'set', 'changing', '--policy', file(wide)]);
    expect(back).toEqual({ code: 0, out: 'changing: policy generation 3, applied\n', err: '' });
    await until('the wider one holds again', () => seen()['host'] === 200 && seen()['read'] === 200);
  });

  it('[R41] what was set and what was applied is in the trail, by whom and in which order', async () => {
    const { out } = await world.glovebox(['audit', '--session', 'changing', '--limit', '1000', '--json']);
    const records = (
      JSON.parse(out) as { record: { operation: string; rule: string; detail?: string; component: string } }[]
    )
      .map(({ record }) => record)
      .filter(({ operation }) => operation.startsWith('policy.'));
    expect(records.map(({ operation, component, rule }) => [operation, component, rule])).toEqual([
      ['policy.set', 'control-plane', 'operator'],
      ['policy.applied', 'sidecar', 'generation.2'],
      ['policy.set', 'control-plane', 'operator'],
      ['policy.applied', 'sidecar', 'generation.3'],
    ]);
  });

  it('is not changed in what the sandbox was made with, nor by a document that is wrong: one clear error, nothing changed', async () => {
    for (const [more, exit, words] of [
      ['tier: pro\n', 65, /differs in tier/],
      ['workspace: { mode: direct }\n', 65, /differs in workspace/],
      ['tols: {}\n', 65, /unknown key "tols"/],
    ] as const) {
      const ran = await world.glovebox(['policy', 'set', 'changing', '--policy', file(`${wide}${more}`)]);
      expect([ran.code, ran.out]).toEqual([exit, '']);
      expect(ran.err).toMatch(words);
    }
    // What is shown can be set again as it is.
    const show = await world.glovebox(['policy', 'show', 'changing']);
    expect(show.out).toContain('# changing: policy generation 3, applied\n');
    const same = await world.glovebox(['policy', 'set', 'changing', '--policy', file(show.out), '--json']);
    expect(JSON.parse(same.out)).toMatchObject({ generation: 4, applied: 4 });
    await world.glovebox(['stop', 'changing']);
    const late = await world.glovebox(['policy', 'set', 'changing', '--policy', file(wide), '--json']);
    expect([late.code, (JSON.parse(late.err) as { error: { code: string } }).error.code]).toEqual([
      75,
      'GB_SESSION_STATE',
    ]);
  });
});
