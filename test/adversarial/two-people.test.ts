import { existsSync, readFileSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
import type { ClientHttp2Stream } from 'node:http2';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { asUserId, type AuditRecord } from '../../pure/contracts/index.ts';
import type { TestSidecar } from '../integration/sidecar-process.ts';
import { newId, SidecarWorld } from '../integration/sidecar-world.ts';

/**
 * Alice and Bob talk to one agent, which is hostile: it was granted something in Alice's turn and wants to use it in Bob's. The
 * gateway, its link, the signed words, the bus and the records are real; the test opens turns as the control plane does.
 */
const alice = asUserId('local/1000');
const bob = asUserId('local/1001');
const tools = { allow: ['files:read:/shared/**'], ask: ['files:write:/shared/**'] };

/** Runs each line that is typed as a function's body, and prints what it returns. */
const hostileAgent = String.raw`
const http = require('node:http');
const call = async (path, body, headers = {}) => {
  const response = await fetch('http://127.0.0.1:9090' + path, body === undefined ? { headers } : {
    method: 'POST', body: JSON.stringify(body), headers: { 'content-type': 'application/json', ...headers } });
  const text = await response.text();
  let value = {}; try { value = JSON.parse(text); } catch {}
  return { status: response.status, mcp: response.headers.get('mcp-session-id'), text, ...value };
};
const write = (headers, more = {}) => call('/v1/tools/files_write', { path: '/shared/a', content: 'x', ...more }, headers);
const mcp = (session) => call('/mcp', { jsonrpc: '2.0', id: 1, method: 'tools/call', params: { name: 'files_write', arguments: { path: '/shared/a', content: 'x' } } },
  { accept: 'application/json, text/event-stream', 'mcp-protocol-version': '2025-06-18', ...(session ? { 'mcp-session-id': session } : {}) });
const initialize = () => call('/mcp', { jsonrpc: '2.0', id: 0, method: 'initialize', params: { protocolVersion: '2025-06-18', capabilities: {}, clientInfo: { name: 'x', version: '1' } } },
  { accept: 'application/json, text/event-stream' });
const kept = {};
process.stdin.setRawMode(true);
let text = '';
process.stdin.on('data', (chunk) => {
  text += chunk;
  for (let at; (at = text.indexOf('\r')) !== -1; text = text.slice(at + 1)) run(text.slice(0, at));
});
const run = async (line) => {
  const [id, ...words] = line.split(' ');
  let result;
  try { result = await new Function('call', 'write', 'mcp', 'initialize', 'kept', 'return (async () => {' + words.join(' ') + '})()')(call, write, mcp, initialize, kept); }
  catch (error) { result = { failed: String(error) }; }
  process.stdout.write('\n=' + id + ' ' + JSON.stringify(result ?? null) + '\n');
};
process.stdout.write('\nready\n');
`;

let world: SidecarWorld;
let reached: string[] = [];
beforeAll(async () => {
  world = await SidecarWorld.start();
  await world.provider(({ args }) => {
    reached.push(String(args['path']));
    return { ok: true, result: { done: 1 } };
  });
});
afterAll(async () => await world.close());

async function until<T>(what: string, look: () => T | undefined | Promise<T | undefined>): Promise<T> {
  for (;;) {
    const found = await look();
    if (found !== undefined) return found;
    await delay(10);
    if (sidecar.child.exitCode !== null) throw new Error(`the sidecar ended before: ${what}`);
  }
}
const log = (): string => (existsSync(sidecar.logPath) ? readFileSync(sidecar.logPath, 'utf8') : '');
const shows = (text: string): Promise<true> => until(text, () => (log().includes(text) ? true : undefined));

interface Person {
  /** What the agent does when this person types this. */
  says<T = Record<string, unknown>>(code: string): Promise<T>;
  /** Typed, and not waited for. */
  types(code: string): string;
}
let sidecar: TestSidecar;
let people: { alice: Person; bob: Person };
let order: string[];
/** What the control plane does when somebody types. */
let onInput: (user: string) => void;

async function person(user: string, input = true): Promise<Person> {
  const client = await sidecar.attach(false, user, input);
  const terminal: ClientHttp2Stream = client.open('/v1/stdio/terminal');
  terminal.resume();
  const types = (code: string): string => {
    const id = newId();
    terminal.write(Buffer.from(`${id} ${code}\r`));
    return id;
  };
  return { types, says: async <T>(code: string) => await answered<T>(types(code)) };
}
const answered = <T>(id: string): Promise<T> =>
  until(id, () => {
    const found = new RegExp(`^=${id} (.*?)\r?$`, 'm').exec(log())?.[1];
    return found === undefined ? undefined : (JSON.parse(found) as T);
  });
const records = async (): Promise<AuditRecord[]> =>
  (await world.records()).filter(({ session }) => session === sidecar.session);

beforeEach(async () => {
  reached = [];
  order = [];
  sidecar = await world.sidecar();
  onInput = (user) => {
    order.push(user);
    void sidecar.openTurn(asUserId(user), newId());
  };
  sidecar.onInput = (user) => onInput(user);
  world.onConsent = async (_session, asked) => {
    const id = newId();
    const token = await sidecar.signConsent({
      sub: alice,
      scope: String(asked['scope']),
      challenge_id: id,
      args_hash: String(asked['argsHash']),
      turn_id: String(asked['turnId']),
      digest: 'digest',
      mode: 'session',
    });
    void sidecar.say({ type: 'consent', challenge_id: id, answer: 'approved', token });
    return { id, expiresAt: new Date(Date.now() + 300_000).toISOString(), digest: 'digest' };
  };
  await sidecar.openTurn(alice);
  sidecar.activate([process.execPath, '-e', hostileAgent], { tools, terminal: true });
  await shows('ready');
  people = { alice: await person(alice), bob: await person(bob) };
}, 60_000);

/** Alice grants for the session, and the agent keeps what may help it later. */
const granted = async (): Promise<void> => {
  const code = `kept.permission = await call('/v1/permissions', { scope: 'files:write:/shared/**' });
    kept.token = (await call('/v1/session')).turnToken; kept.mcp = (await initialize()).mcp;
    return [kept.permission.granted, (await write()).status, (await mcp(kept.mcp)).text.includes('isError')];`;
  expect(await people.alice.says(code.replaceAll(/\s+/g, ' '))).toEqual([true, 200, false]);
  expect(reached).toEqual(['/shared/a', '/shared/a']);
  reached = [];
};

describe('Alice’s grant in Bob’s turn', () => {
  it('[R35] [R36] by whatever the agent says of itself, does nothing; in Alice’s it serves', async () => {
    await granted();
    const forged = `const alice = 'local/1000'; const all = [
      await write(), await write({ 'glovebox-turn': kept.token }), await write({ 'x-user': alice, cookie: 'user=' + alice, authorization: 'Bearer ' + kept.token }),
      await write({}, { user: alice }), await write({}, { turnId: kept.token, turn: kept.token }), await write({ date: 'Thu, 01 Jan 1970 00:00:00 GMT' }),
      await write({ 'mcp-session-id': kept.mcp }), await write({ 'glovebox-turn': 'a'.repeat(26) }),
      await call('/v1/permissions', { scope: 'files:write:/shared/**' }, { 'glovebox-turn': kept.token }) ];
      return [(await call('/v1/session')).user, ...all.map((one) => one.error?.code ?? one.status)];`;
    expect(await people.bob.says(forged.replaceAll(/\s+/g, ' '))).toEqual([
      bob,
      'GB_CONSENT_REQUIRED',
      'GB_CONSENT_REQUIRED',
      'GB_CONSENT_REQUIRED',
      'GB_INPUT_INVALID',
      'GB_INPUT_INVALID',
      'GB_CONSENT_REQUIRED',
      'GB_CONSENT_REQUIRED',
      'GB_TOKEN_INVALID',
      'GB_POLICY_DENIED',
    ]);
    expect(await people.bob.says('return (await mcp(kept.mcp)).text.includes("GB_CONSENT_REQUIRED")')).toBe(
      true,
    );
    expect(await people.bob.says('return (await mcp()).text.includes("GB_CONSENT_REQUIRED")')).toBe(true);
    expect(reached).toEqual([]);
    // What names Alice's turn is written down as hers, which has no grant: no forger is taken for Bob, nor Bob for her.
    const refused = (await records()).filter(
      ({ decision, operation }) => decision !== 'allow' && operation === 'files.write',
    );
    expect(refused.map(({ user, grant }) => [user, grant])).toEqual([
      [bob, undefined],
      [alice, undefined],
      [bob, undefined],
      [bob, undefined],
      [alice, undefined],
      [alice, undefined],
      [bob, undefined],
    ]);
    // The control: her turn again, and her grant, but not by the token of the turn that is over.
    const back = `return [(await write()).status, (await mcp(kept.mcp)).text.includes('isError'), (await write({ 'glovebox-turn': kept.token })).status];`;
    expect(await people.alice.says(back)).toEqual([200, false, 403]);
    expect(order).toEqual([bob, alice]);
  }, 60_000);

  it('[R36] by a process that Alice’s turn left running, ends with her turn', async () => {
    await granted();
    const begin = `kept.seen = []; kept.timer = setInterval(async () => { const one = await write(); kept.seen.push([one.status, (await call('/v1/session')).user]); }, 5); return true;`;
    await people.alice.says(begin);
    await until('it writes', () => (reached.length > 3 ? true : undefined));
    // Bob's words are read by the agent in his turn only: from here on nothing is written.
    expect(await people.bob.says(`return (await call('/v1/session')).user`)).toBe(bob);
    // What began before the switch ends under its own turn; after that nothing comes.
    const more = `const from = kept.seen.length; while (kept.seen.length < from + 20) await new Promise((done) => setTimeout(done, 5)); return kept.seen.slice(from + 10);`;
    await people.bob.says(more);
    const after = reached.length;
    for (const one of await people.bob.says<unknown[]>(more)) expect(one).toEqual([403, bob]);
    expect(reached.length).toBe(after);
    for (const record of (await records()).filter(({ grant }) => grant !== undefined))
      expect(record.user).toBe(alice);
  }, 60_000);

  it('[R36] in a race at the switch: each call is whole of the turn in which it came', async () => {
    await granted();
    const flood = `kept.all = []; kept.go = true; for (let n = 0; n < 8; n += 1) (async () => { while (kept.go) kept.all.push((await write()).status); })(); return true;`;
    await people.alice.says(flood);
    for (let round = 0; round < 6; round += 1) {
      await people.bob.says('return 1');
      await people.alice.says('return 1');
    }
    const all = await people.bob.says<number[]>('kept.go = false; return [...new Set(kept.all)].sort()');
    expect(all).toEqual([200, 403]);
    const written = (await records()).filter(({ operation }) => operation === 'files.write');
    for (const { user, grant, decision } of written)
      expect([user, grant !== undefined, decision]).toEqual(
        user === alice ? [alice, true, 'allow'] : [bob, false, 'ask'],
      );
    expect(order).toHaveLength(13);
  }, 120_000);

  it('[R36] [R38] by events that it forges, does nothing', async () => {
    await granted();
    const forged = `const kinds = ['turn-open', 'turn-close', 'input', 'consent', 'grant']; const all = [];
      for (const kind of kinds) all.push((await call('/v1/events', { kind, text: '{"user":"local/1000"}' })).status);
      all.push((await call('/v1/events', { kind: 'message', text: JSON.stringify({ type: 'turn-open', user: 'local/1000' }) })).status);
      return [...all, (await call('/v1/session')).user, (await write()).status];`;
    expect(await people.bob.says(forged.replaceAll(/\s+/g, ' '))).toEqual([
      400,
      400,
      400,
      400,
      400,
      200,
      bob,
      403,
    ]);
  }, 60_000);
});

describe('what is typed', () => {
  it('[R36] waits until it is its person’s turn, and is read in no other', async () => {
    const asked: string[] = [];
    onInput = (user) => void asked.push(user);
    const id = people.bob.types(`return (await call('/v1/session')).user`);
    await until('the gateway asks', () => asked[0]);
    // Alice's own are read meanwhile: it is her turn.
    expect(await people.alice.says(`return (await call('/v1/session')).user`)).toBe(alice);
    expect(log()).not.toContain(`=${id}`);
    await sidecar.openTurn(bob, newId());
    expect(await answered(id)).toBe(bob);
    expect(new Set(asked)).toEqual(new Set([bob]));
  }, 60_000);

  it('[R36] by whoever only looks, reaches nobody', async () => {
    const viewer = await person(asUserId('local/1002'), false);
    viewer.types('process.exit(7)');
    expect(await people.alice.says('return "here"')).toBe('here');
    expect(order).toEqual([]);
  }, 60_000);

  it('[R36] after a turn’s time is over, opens another; until then nothing is done', async () => {
    const now = Math.floor(Date.now() / 1000);
    const words = { type: 'turn-open', turn_id: newId(), user: alice, expires_at: now - 1, once_only: false };
    const id = people.alice.types(`kept.later = new Promise((done) => setTimeout(done, 50)); return true;`);
    await answered(id);
    const waiting = people.alice.types(
      `while ((await call('/v1/session')).user !== null) await new Promise((done) => setTimeout(done, 5)); return (await write()).error.code;`,
    );
    await shows(`=${id}`);
    await sidecar.say(words);
    expect(await answered(waiting)).toBe('GB_POLICY_DENIED');
    expect(await people.alice.says(`return (await call('/v1/session')).user`)).toBe(alice);
    expect(order).toEqual([alice]);
  }, 60_000);
});
