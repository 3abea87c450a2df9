import { beforeAll, beforeEach, describe, expect, it } from 'vitest';
import {
  asGrantId,
  asUserId,
  GloveboxError,
  limits,
  untrusted,
  type AuditRecord,
} from '../../../pure/contracts/index.ts';
import { compileCedar } from '../../../pure/compile/index.ts';
import type { PolicyEngine, PolicyVerdict } from '../../../pure/policy/index.ts';
import { Grants } from '../grants.ts';
import {
  alice,
  nextId,
  openTurns,
  session,
  testRuntime,
  testTrail,
  turn,
  type TestRuntime,
} from '../testing.ts';
import type { OperationTrail } from '../operation-trail.ts';
import type { Turns } from '../turns.ts';
import { CedarEngine, loadCedar, type CedarLibrary } from './cedar-engine.ts';
import { Operations, type ProviderPort } from './operations.ts';

const tools = { allow: ['files:read:/shared/**'], ask: ['files:write:/shared/**'] };
const read = (path = '/shared/a'): ReturnType<typeof untrusted> => untrusted({ path });
const write = (path = '/shared/a'): ReturnType<typeof untrusted> => untrusted({ path, content: 'x' });
const done = (): Promise<Uint8Array> => Promise.resolve(Buffer.from('{"ok":true,"result":{"done":1}}'));
let cedar: CedarLibrary;
let runtime: TestRuntime;
let turns: Turns;
let grants: Grants;
let records: AuditRecord[];
let storing: { fail: boolean; outcomes: Promise<void> };
let trail: OperationTrail;
let reached: string[];
let answer: () => Promise<Uint8Array>;
let use: () => Promise<boolean>;
let make: (engine?: PolicyEngine) => Operations;

beforeAll(async () => {
  cedar = await loadCedar();
});
let generation = 100;
beforeEach(() => {
  runtime = testRuntime();
  turns = openTurns();
  use = () => Promise.resolve(true);
  grants = new Grants({ onceOnly: () => turns.onceOnly, use: async () => await use() });
  const made = testTrail(runtime);
  records = made.records;
  storing = made.control;
  trail = made.trail;
  reached = [];
  answer = done;
  const provider: ProviderPort = {
    request: (domain, operation) => {
      // The intent is there before anything is asked of a provider (R42).
      expect(records.filter(({ kind }) => kind === 'intent').length).toBeGreaterThan(reached.length);
      reached.push(`${domain}.${operation}`);
      return answer();
    },
    undelivered: (error) => error instanceof GloveboxError && error.code === 'GB_BUS_REFUSED',
  };
  make = (engine = CedarEngine.prepare(compileCedar(tools), (generation += 1), cedar)) =>
    new Operations({
      session,
      turns,
      grants,
      trail: made.trail,
      provider,
      policy: { tools, decide: async (question) => await engine.decide(question) },
      runtime,
    });
});
const grant = (mode: 'once' | 'session', user = alice): void =>
  grants.add({ id: asGrantId(nextId()), user, scope: 'files:write:/shared/**', mode, argsHash: null });

describe('an operation', () => {
  it('permitted by the policy, or by a grant, is carried out after its intent', async () => {
    const operations = make();
    expect(await operations.call('files_read', read())).toEqual({ done: 1 });
    grant('once');
    expect(await operations.call('files_write', write())).toEqual({ done: 1 });
    expect(reached).toEqual(['files.read', 'files.write']);
    expect(records.map(({ kind, outcome }) => [kind, outcome])).toEqual([
      ['intent', undefined],
      ['outcome', 'ok'],
      ['intent', undefined],
      ['outcome', 'ok'],
    ]);
  });

  it('[R42] does not happen when its intent cannot be stored', async () => {
    storing.fail = true;
    await expect(make().call('files_read', read())).rejects.toThrow('GB_AUDIT_UNAVAILABLE');
    expect(reached).toEqual([]);
    storing.fail = false;
    expect(await make().call('files_read', read())).toEqual({ done: 1 });
  });

  describe('whose outcome takes its time to be stored', () => {
    let store: () => void;
    beforeEach(() => {
      storing.outcomes = new Promise((resolve) => (store = resolve));
    });

    it('is answered before; the end of the session waits for the record', async () => {
      expect(await make().call('files_read', read())).toEqual({ done: 1 });
      expect(records.map(({ kind }) => kind)).toEqual(['intent']);
      let over = false;
      const settled = trail.settled().then(() => (over = true));
      await new Promise((resolve) => setImmediate(resolve));
      expect(over).toBe(false);
      store();
      await settled;
      expect(records.map(({ kind, outcome }) => [kind, outcome])).toEqual([
        ['intent', undefined],
        ['outcome', 'ok'],
      ]);
    });

    it('[R42] [R45] waits for it when too many are not stored', async () => {
      const operations = make();
      for (let count = 0; count < limits.operationsAtOnce.value; count += 1)
        await operations.call('files_read', read());
      let answered = false;
      const late = operations.call('files_read', read()).then(() => (answered = true));
      while (reached.length <= limits.operationsAtOnce.value)
        await new Promise((resolve) => setImmediate(resolve));
      await new Promise((resolve) => setImmediate(resolve));
      expect(answered).toBe(false);
      store();
      await late;
      await operations.call('files_read', read());
    });
  });

  it('[R35] Alice’s grant does nothing in Bob’s turn', async () => {
    grant('session');
    turns.open(nextId(), asUserId('local/2000'));
    await expect(make().call('files_write', write())).rejects.toThrow('GB_CONSENT_REQUIRED');
    turns.open(nextId(), alice);
    expect(await make().call('files_write', write())).toEqual({ done: 1 });
  });

  it('[R37] the store has the last word on each use; one that cannot be asked says no', async () => {
    grant('session');
    use = () => Promise.resolve(false);
    await expect(make().call('files_write', write())).rejects.toThrow('GB_CONSENT_REQUIRED');
    grant('session');
    use = () => Promise.reject(new Error('away'));
    await expect(make().call('files_write', write())).rejects.toThrow('GB_CONSENT_REQUIRED');
    expect(reached).toEqual([]);
    use = () => Promise.resolve(true);
    expect(await make().call('files_write', write())).toEqual({ done: 1 });
  });

  it('[R37] a revocation cuts off the call that is under way by it, and no other', async () => {
    const one = asGrantId(nextId());
    grants.add({ id: one, user: alice, scope: 'files:write:/shared/**', mode: 'session', argsHash: null });
    let arrived: () => void = () => undefined;
    const under = new Promise<void>((resolve) => (arrived = resolve));
    answer = () => {
      arrived();
      return new Promise(() => undefined);
    };
    const call = make().call('files_write', write());
    const refused = expect(call).rejects.toThrow('GB_GRANT_REVOKED');
    await under;
    grants.revoke(nextId());
    grants.revoke(one);
    await refused;
    expect(records.at(-1)).toMatchObject({ kind: 'outcome', outcome: 'unknown', grant: one });
    answer = done;
    await expect(make().call('files_write', write())).rejects.toThrow('GB_CONSENT_REQUIRED');
    // The control: a call that the policy permits by itself goes on.
    expect(await make().call('files_read', read())).toEqual({ done: 1 });
  });

  it('[R37] one that was revoked while the store was asked is not used', async () => {
    const one = asGrantId(nextId());
    grants.add({ id: one, user: alice, scope: 'files:write:/shared/**', mode: 'session', argsHash: null });
    use = () => {
      setImmediate(() => grants.revoke(one));
      return new Promise((resolve) => setImmediate(() => setImmediate(() => resolve(true))));
    };
    await expect(make().call('files_write', write())).rejects.toThrow('GB_CONSENT_REQUIRED');
    expect(reached).toEqual([]);
  });

  it('[R36] a call that names an earlier turn is that person’s, and gets no grant', async () => {
    const token = turns.token() ?? '';
    grant('session');
    turns.open(nextId(), alice);
    await expect(make().call('files_write', write(), { by: 'token', token })).rejects.toThrow(
      'GB_CONSENT_REQUIRED',
    );
    turns.open(nextId(), asUserId('local/2000'));
    await make().call('files_read', read(), { by: 'token', token });
    expect(records.at(-1)).toMatchObject({ turn, user: alice });
    // The controls: without it, or with the open turn's own, a call is the open turn's.
    await make().call('files_read', read());
    expect(records.at(-1)).toMatchObject({ user: 'local/2000' });
    await make().call('files_read', read(), { by: 'token', token: turns.token() ?? '' });
    expect(records.at(-1)).toMatchObject({ user: 'local/2000' });
    await expect(make().call('files_read', read(), { by: 'token', token: nextId() })).rejects.toThrow(
      'GB_TOKEN_INVALID',
    );
  });

  it('[R36] is of the turn in which it arrived, whatever opens while it is decided', async () => {
    let decide: (verdict: PolicyVerdict) => void = () => undefined;
    const engine: PolicyEngine = { decide: () => new Promise((resolve) => (decide = resolve)) };
    const call = make(engine).call('files_read', read());
    turns.open(nextId(), asUserId('local/2000'));
    decide({ decision: 'allow', rule: 'test' });
    await call;
    expect(records[0]).toMatchObject({ turn, user: alice });
  });

  it('[R36] without an open turn is denied, whatever the policy says', async () => {
    turns.close(turn);
    grant('session');
    for (const name of ['files_read', 'files_write']) {
      await expect(make().call(name, name === 'files_read' ? read() : write())).rejects.toThrow(
        'GB_POLICY_DENIED',
      );
    }
    expect(records.map(({ rule, user }) => [rule, user])).toEqual([
      ['turn.none', null],
      ['turn.none', null],
    ]);
    expect(reached).toEqual([]);
  });

  it('[R37] of 100 that race for a grant for once exactly one is carried out', async () => {
    grant('once');
    const operations = make();
    const calls = await Promise.allSettled(
      Array.from({ length: 60 }, () => operations.call('files_write', write())),
    );
    const more = await Promise.allSettled(
      Array.from({ length: 40 }, () => operations.call('files_write', write())),
    );
    expect([...calls, ...more].filter(({ status }) => status === 'fulfilled')).toHaveLength(1);
    expect(reached).toHaveLength(1);
  });

  it('[R45] beyond so many at once is refused, and the next one after them is not', async () => {
    let release: () => void = () => undefined;
    const held = new Promise<void>((resolve) => (release = resolve));
    answer = () => held.then(() => Buffer.from('{"ok":true,"result":{}}'));
    const operations = make();
    const under = Array.from({ length: limits.operationsAtOnce.value }, () =>
      operations.call('files_read', read()),
    );
    await expect(operations.call('files_read', read())).rejects.toThrow('GB_LIMIT_REACHED');
    release();
    await Promise.all(under);
    expect(await operations.call('files_read', read())).toEqual({});
  });

  it.each([
    [
      'no answer',
      () =>
        Promise.reject(new GloveboxError('GB_UPSTREAM_FAILED', { what: 'x', detail: 'no answer in time' })),
      'unknown',
    ],
    ['nobody there', () => Promise.reject(new GloveboxError('GB_BUS_REFUSED', {})), 'error'],
    ['an answer that is none', () => Promise.resolve(Buffer.from('nonsense')), 'unknown'],
    [
      'an answer of another form',
      () => Promise.resolve(Buffer.from('{"ok":true,"result":{},"more":1}')),
      'unknown',
    ],
  ])('[R42] with %s has its outcome recorded', async (_what, given, outcome) => {
    answer = given;
    await expect(make().call('files_read', read())).rejects.toThrow('GB_UPSTREAM_FAILED');
    expect(records.at(-1)).toMatchObject({ kind: 'outcome', outcome });
  });
});

describe('a policy engine that fails', () => {
  const engines: [string, () => PolicyEngine][] = [
    [
      'throws',
      () => ({
        decide: () => {
          throw new Error('down');
        },
      }),
    ],
    ['rejects', () => ({ decide: () => Promise.reject(new Error('down')) })],
    [
      'answers nonsense',
      () => ({ decide: () => Promise.resolve({ decision: 'perhaps', rule: 'x' } as never) }),
    ],
    ['answers nothing', () => ({ decide: () => Promise.resolve(undefined as never) })],
    [
      'Cedar: throws',
      () =>
        broken({
          statefulIsAuthorized: () => {
            throw new Error('trap');
          },
        }),
    ],
    [
      'Cedar: answers failure',
      () => broken({ statefulIsAuthorized: () => ({ type: 'failure', errors: [], warnings: [] }) }),
    ],
    [
      'Cedar: allows with an error',
      () =>
        broken({
          statefulIsAuthorized: () => ({
            type: 'success',
            warnings: [],
            response: {
              decision: 'allow',
              diagnostics: {
                reason: ['tools.allow.0'],
                errors: [
                  {
                    policyId: 'forbid',
                    error: { message: 'x', help: null, code: null, url: null, severity: null },
                  },
                ],
              },
            },
          }),
        }),
    ],
    [
      'Cedar: allows for no reason',
      () =>
        broken({
          statefulIsAuthorized: () => ({
            type: 'success',
            warnings: [],
            response: { decision: 'allow', diagnostics: { reason: [], errors: [] } },
          }),
        }),
    ],
    ['Cedar: answers nonsense', () => broken({ statefulIsAuthorized: () => ({}) as never })],
  ];
  const broken = (part: Partial<CedarLibrary>): PolicyEngine =>
    CedarEngine.prepare(compileCedar(tools), (generation += 1), { ...cedar, ...part });
  it.each(engines)('[R40] and %s means deny', async (_how, engine) => {
    await expect(make(engine()).call('files_read', read())).rejects.toThrow(/GB_(POLICY_DENIED|INTERNAL)/);
    expect(reached).toEqual([]);
  });

  it('[R40] by being slow means deny', async () => {
    const call = make({ decide: () => new Promise(() => undefined) }).call('files_read', read());
    call.catch(() => undefined);
    await new Promise((resolve) => setImmediate(resolve));
    runtime.pass(limits.policyDecision.value);
    await expect(call).rejects.toThrow('GB_POLICY_DENIED');
    expect(reached).toEqual([]);
  });

  it('a policy that cannot be prepared is no engine', () => {
    for (const text of [
      'nonsense',
      'permit(principal, action, resource);',
      '@id("a") permit(principal == ?principal, action, resource);',
    ]) {
      expect(() => CedarEngine.prepare(text, (generation += 1), cedar)).toThrow('GB_POLICY_INVALID');
    }
  });
});
