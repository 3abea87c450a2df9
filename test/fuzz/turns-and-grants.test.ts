import fc from 'fast-check';
import { expect, it } from 'vitest';
import {
  asGrantId,
  asTurnId,
  asUserId,
  encodeId,
  type GrantId,
  type TurnId,
} from '../../pure/contracts/index.ts';
import { Grants } from '../../trusted/sidecar/grants.ts';
import { Turns } from '../../trusted/sidecar/turns.ts';

/**
 * Random interleavings of turns, questions, answers, uses, revocations, time and crashes, against a model that is written down in a
 * few lines: what must never be, whatever the order. The store's part is a map here (its own races: test/contract); the code between
 * is the gateway's.
 */
const users = ['local/1000', 'local/1001', 'local/1002'].map(asUserId);
const scopes = ['files:write:/a', 'files:write:/b', 'files:read:/a'];
type User = (typeof users)[number];

let count = 0;
const nextId = (): string => {
  const bytes = new Uint8Array(16);
  count += 1;
  new DataView(bytes.buffer).setUint32(12, count);
  return encodeId(bytes);
};

interface StoredGrant {
  readonly id: GrantId;
  readonly user: User;
  readonly scope: string;
  mode: 'once' | 'session';
  uses: number;
  revoked: boolean;
}
interface Model {
  now: number;
  open: { readonly id: TurnId; readonly user: User; readonly until: number } | null;
  readonly people: Set<User>;
  /** The store: what outlives a gateway. */
  grants: StoredGrant[];
  /** Turn of each token, and whose. */
  readonly tokens: Map<string, { readonly id: TurnId; readonly user: User }>;
  readonly questions: {
    readonly user: User;
    readonly turn: TurnId;
    readonly scope: string;
    answered: boolean;
  }[];
  /** What was carried out by a grant. */
  readonly done: { readonly grant: GrantId; readonly user: User; readonly turnUser: User }[];
}
interface Real {
  turns: Turns;
  grants: Grants;
  cut: string[];
}

const gateway = (model: Model): Real => {
  const turns = new Turns({ now: () => model.now, newToken: nextId });
  const use = async ({
    grantId,
    turnId,
    scope,
  }: {
    grantId: GrantId;
    turnId: TurnId;
    scope: string;
  }): Promise<boolean> => {
    // As the store decides it: the grant's own row, the person of the turn, once.
    const grant = model.grants.find(({ id }) => id === grantId);
    const turn = [...model.tokens.values()].find(({ id }) => id === turnId);
    await Promise.resolve();
    if (grant === undefined || grant.revoked || grant.scope !== scope || turn?.user !== grant.user)
      return false;
    if (grant.mode === 'once' && grant.uses > 0) return false;
    grant.uses += 1;
    return true;
  };
  return { turns, grants: new Grants({ onceOnly: () => turns.onceOnly, use }), cut: [] };
};

const isOpen = (model: Model): boolean => model.open !== null && model.now < model.open.until;
const never = (model: Model): void => {
  // R37: a once-grant is used once at most, whatever raced.
  for (const grant of model.grants) if (grant.mode === 'once') expect(grant.uses).toBeLessThanOrEqual(1);
  // R35: nobody's grant was used in another's turn.
  for (const { user, turnUser } of model.done) expect(turnUser).toBe(user);
};
type Command = fc.AsyncCommand<Model, Real>;
const command = (name: string, run: (model: Model, real: Real) => Promise<void> | void): Command => ({
  check: () => true,
  run: async (model, real) => {
    await run(model, real);
    never(model);
    // R36: the gateway's turn is the model's, and there is one or none.
    const stamp = real.turns.stamp();
    expect(stamp?.turnId ?? null).toBe(isOpen(model) ? model.open?.id : null);
    expect(stamp?.user ?? null).toBe(isOpen(model) ? model.open?.user : null);
  },
  toString: () => name,
});

const opens = (n: number, ms: number): Command =>
  command(`open ${n} for ${ms}`, (model, real) => {
    const id = asTurnId(nextId());
    const user = users[n] as User;
    model.people.add(user);
    model.open = { id, user, until: model.now + ms };
    const onceOnly = model.people.size > 1;
    if (onceOnly) for (const grant of model.grants) grant.mode = 'once';
    for (const grant of model.grants) if (onceOnly && grant.uses > 1) grant.revoked = true;
    model.grants = model.grants.filter(({ revoked }) => !revoked);
    real.turns.open(id, user, { expiresAt: model.now + ms, onceOnly });
    model.tokens.set(real.turns.token() ?? `none ${id}`, { id, user });
  });
const closes = command('close', (model, real) => {
  if (model.open !== null) real.turns.close(model.open.id);
  model.open = null;
});
/** A word that was delayed, or is said again. */
const closesEarlier = fc.nat(20).map((n) =>
  command(`close earlier ${n}`, (model, real) => {
    const earlier = [...model.tokens.values()][n];
    if (earlier !== undefined && earlier.id !== model.open?.id) real.turns.close(earlier.id);
  }),
);
const opensAgain = fc.nat(20).map((n) =>
  command(`open again ${n}`, (model, real) => {
    const earlier = [...model.tokens.values()][n];
    if (earlier !== undefined) real.turns.open(earlier.id, earlier.user);
  }),
);
const passes = (ms: number): Command =>
  command(`time ${ms}`, (model, real) => {
    model.now += ms;
    real.turns.stamp();
    if (!isOpen(model)) model.open = null;
  });
const setsBack = command('clock back', (model, real) => {
  real.turns.stamp();
  if (!isOpen(model)) model.open = null;
  model.now -= 5;
});
const asks = (n: number): Command =>
  command(`ask ${n}`, (model, real) => {
    const stamp = real.turns.stamp();
    if (stamp === null) return;
    model.questions.push({ user: stamp.user, turn: stamp.turnId, scope: scopes[n] ?? '', answered: false });
  });
const answers = (n: number, mode: 'once' | 'session'): Command =>
  command(`answer ${n} ${mode}`, (model, real) => {
    const open = model.questions.filter((one) => !one.answered);
    const question = open[n % Math.max(1, open.length)];
    if (question === undefined || question.answered) return;
    question.answered = true;
    const { user, scope } = question;
    const kept = model.people.size > 1 ? 'once' : mode;
    const id = asGrantId(nextId());
    model.grants.push({ id, user, scope, mode: kept, uses: 0, revoked: false });
    real.grants.add({ id, user, scope, mode, argsHash: null });
  });
const uses = (n: number, racing: number, named: number | null): Command =>
  command(`use ${n} x${racing} ${named ?? 'open'}`, async (model, real) => {
    const token = named === null ? undefined : [...model.tokens.keys()][named];
    if (named !== null && token === undefined) return;
    const by = token === undefined ? ({ by: 'nothing' } as const) : ({ by: 'token', token } as const);
    const stamp = real.turns.stamp(by);
    if (stamp === null) return expect(isOpen(model)).toBe(false);
    const scope = scopes[n] ?? '';
    const taken = await Promise.all(
      Array.from({ length: racing }, async () => await real.grants.take(stamp, scope, '')),
    );
    for (const id of taken) {
      if (id === null) continue;
      const grant = model.grants.find((one) => one.id === id) ?? expect.fail('a grant that never was [R34]');
      // R36: what names an earlier turn gets none; the open turn's does, for its own person and its exact scope.
      expect(stamp.turnId).toBe(model.open?.id);
      expect(grant.scope).toBe(scope);
      expect(grant.revoked).toBe(false);
      model.done.push({ grant: id, user: grant.user, turnUser: model.open?.user ?? expect.fail('nobody') });
    }
  });
const revokes = (n: number, heard: boolean): Command =>
  command(`revoke ${n} ${heard ? 'heard' : 'not heard'}`, (model, real) => {
    const grant = model.grants[n];
    if (grant === undefined) return;
    grant.revoked = true;
    // The bus may lose the word: the store's no stands all the same.
    if (!heard) return;
    const over = real.grants.underWay(grant.id, () => real.cut.push(grant.id));
    real.grants.revoke(grant.id);
    expect(real.cut).toContain(grant.id);
    over();
  });
/** The gateway dies with its session; its successor has nothing (R34), though the store remembers. */
const crashes = command('crash', (model, real) => {
  Object.assign(real, gateway(model));
  model.open = null;
  model.tokens.clear();
  model.questions.length = 0;
  model.people.clear();
  for (const user of users) for (const scope of scopes) expect(real.grants.has(user, scope, '')).toBe(false);
});

it('[R34] [R35] [R36] [R37] no order of turns, questions, answers, uses, revocations, time and crashes breaks a rule', async () => {
  let used = 0;
  const index = fc.nat(5);
  const commands = fc.commands(
    [
      fc.tuple(fc.nat(2), fc.integer({ min: 1, max: 400 })).map(([n, ms]) => opens(n, ms)),
      fc.nat(3).map((n) => (n === 0 ? closes : answers(n, 'session'))),
      closesEarlier,
      opensAgain,
      fc.integer({ min: 1, max: 100 }).map(passes),
      fc.constant(setsBack),
      fc.nat(2).map(asks),
      fc
        .tuple(index, fc.constantFrom('once' as const, 'session' as const))
        .map(([n, mode]) => answers(n, mode)),
      fc
        .tuple(fc.nat(2), fc.constantFrom(1, 1, 7), fc.option(fc.nat(6), { nil: null }))
        .map(([n, r, t]) => uses(n, r, t)),
      fc.tuple(fc.nat(2), fc.constantFrom(1, 7)).map(([n, r]) => uses(n, r, null)),
      fc.tuple(index, fc.boolean()).map(([n, heard]) => revokes(n, heard)),
      // Rare: after one there is nothing left to break.
      fc.nat(7).map((n) => (n === 0 ? crashes : asks(n % 3))),
    ],
    { maxCommands: 80, size: 'max' },
  );
  await fc.assert(
    fc.asyncProperty(commands, async (cmds) => {
      const model: Model = {
        now: 1000,
        open: null,
        people: new Set(),
        grants: [],
        tokens: new Map(),
        questions: [],
        done: [],
      };
      await fc.asyncModelRun(() => ({ model, real: gateway(model) }), cmds);
      used += model.done.length;
    }),
    { numRuns: 1500 },
  );
  // The control: grants did serve.
  expect(used).toBeGreaterThan(200);
}, 120_000);
