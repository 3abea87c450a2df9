import { setTimeout as pause } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
  defaultTrustDomain,
  eventsSubject,
  limits,
  type SessionId,
  type SpiffeId,
} from '../../pure/contracts/index.ts';
import {
  authorizerPublicKeys,
  createAuthorizer,
  createAuthorizerKeys,
  type AuthorizerKeys,
} from '../bus-authorizer/index.ts';
import {
  AuthCallout,
  busOperators,
  renewServer,
  type BusAnswer,
  type BusAuthorizer,
  type BusConnection,
} from './index.ts';
import { disconnected, identityFor, newSessionId, startTestBus, type TestBus } from './testing.ts';

const keys = createAuthorizerKeys();
const revoked = new Set<string>();
const by = (of: AuthorizerKeys): BusAuthorizer =>
  createAuthorizer({
    keys: of,
    trustDomain: defaultTrustDomain,
    isRevoked: (serial) => revoked.has(serial),
    now: () => new Date(),
  });
const right = by(keys);
/** What answers at the moment. */
let answer: BusAuthorizer['answer'] = (...asked) => right.answer(...asked);

let bus: TestBus;
let inside: { readonly session: SessionId; readonly connection: BusConnection };
beforeAll(async () => {
  bus = await startTestBus({
    decides: { keys: authorizerPublicKeys(keys), authorizer: { answer: (...asked) => answer(...asked) } },
  });
  inside = await sidecar();
});
afterAll(() => bus.close());

async function sidecar(lifetimeMs?: number): Promise<typeof inside> {
  const session = newSessionId();
  const leaf = lifetimeMs === undefined ? {} : { lifetimeMs };
  return { session, connection: await bus.connect({ kind: 'sidecar', session }, leaf) };
}
const unavailable = { code: 'GB_BUS_UNAVAILABLE' };

async function whileAnswering<T>(instead: BusAuthorizer['answer'], work: () => Promise<T>): Promise<T> {
  answer = instead;
  try {
    return await work();
  } finally {
    answer = (...asked) => right.answer(...asked);
  }
}

describe('[R12] a callout that answers wrongly', () => {
  let kept: BusAnswer | undefined;
  const wrong: Record<string, BusAuthorizer['answer']> = {
    'with nothing': async (...asked) => ({ ...(await right.answer(...asked)), sealed: new Uint8Array() }),
    'with garbage': async (...asked) => ({
      ...(await right.answer(...asked)),
      sealed: Buffer.from('eyJ garbage'),
    }),
    'with bytes that look sealed': async (...asked) => {
      const { sealed, decision } = await right.answer(...asked);
      return { sealed: sealed?.map((byte, index) => (index < 40 ? byte : byte ^ 1)), decision };
    },
    'with the answer to another question': async (...asked) => kept ?? (await right.answer(...asked)),
    'signed by another issuer': (...asked) =>
      by({ ...keys, issuer: createAuthorizerKeys().issuer }).answer(...asked),
    'sealed by another key': (...asked) =>
      by({ ...keys, xkey: createAuthorizerKeys().xkey }).answer(...asked),
  };
  beforeAll(async () => {
    await whileAnswering(async (...asked) => (kept = await right.answer(...asked)), sidecar);
  });
  for (const [how, instead] of Object.entries(wrong)) {
    it(`${how} lets nobody in, ends nobody, and is got over`, async () => {
      await whileAnswering(instead, async () => {
        await expect(sidecar()).rejects.toMatchObject(unavailable);
      });
      await inside.connection.publish(eventsSubject(inside.session), 'x');
      await sidecar();
    });
  }

  it('for another server lets nobody in', async () => {
    const other = await startTestBus({
      decides: {
        keys: authorizerPublicKeys(keys),
        authorizer: { answer: async () => kept ?? (await never()) },
      },
    });
    await expect(other.connect({ kind: 'sidecar', session: newSessionId() })).rejects.toMatchObject(
      unavailable,
    );
    await other.close();
  });

  it('too late for the certificate lets nobody in', async () => {
    const late: BusAuthorizer['answer'] = async (...asked) => {
      const answered = await right.answer(...asked);
      await pause(2500);
      return answered;
    };
    await whileAnswering(late, async () => {
      await expect(sidecar(2000)).rejects.toMatchObject(unavailable);
      // Control: late for nothing but patience.
      await sidecar();
    });
  });
});

const never = (): Promise<never> => new Promise(() => undefined);

describe('a callout that is away', () => {
  it('[R12] an authorizer that is started again is waited for', async () => {
    let failures = 3;
    await whileAnswering(
      (...asked) =>
        (failures -= 1) >= 0 ? Promise.reject(new Error('it is being started')) : right.answer(...asked),
      sidecar,
    );
    expect(failures).toBeLessThan(0);
  });

  it('[R12] lets nobody in; who is in stays until the certificate ends; when it is back everybody gets in again', async () => {
    const other = await startTestBus();
    const session = newSessionId();
    const short = await other.connect({ kind: 'sidecar', session }, { lifetimeMs: 7000 });
    await other.callout.close();
    await expect(other.connect({ kind: 'sidecar', session: newSessionId() })).rejects.toMatchObject(
      unavailable,
    );
    await short.publish(eventsSubject(session), 'x');
    expect(await short.lost).toMatchObject(unavailable);
    await other.callout.rotate(await other.ca.issue(busOperators.callout));
    await other.connect({ kind: 'sidecar', session: newSessionId() });
    await other.close();
  });

  it('[R4] the server keeps its certificate, and everybody, until somebody answers', async () => {
    let asked = 0;
    const answers = (): Promise<boolean> => Promise.resolve((asked += 1) > 2);
    const next = await bus.ca.issue({ kind: 'bus', server: 'test' });
    await renewServer(
      () => bus.server,
      { answers },
      () => next,
    );
    expect(asked).toBe(3);
    expect(await bus.callout.answers()).toBe(true);
    await inside.connection.publish(eventsSubject(inside.session), 'x');
  });
});

describe('between question and answer', () => {
  it('[R4] a question that the old connection took is answered after its renewal', async () => {
    let taken = (): void => undefined;
    const isTaken = new Promise<void>((resolve) => (taken = resolve));
    let go = (): void => undefined;
    const held = new Promise<void>((resolve) => (go = resolve));
    await whileAnswering(
      async (...asked) => {
        taken();
        await held;
        return right.answer(...asked);
      },
      async () => {
        const coming = sidecar();
        await isTaken;
        await bus.callout.rotate(await bus.ca.issue(busOperators.callout));
        go();
        await coming;
      },
    );
  });

  it('[R4] whoever is revoked after the decision and before the answer is decided again', async () => {
    const session = newSessionId();
    let questions = 0;
    await whileAnswering(
      async (...asked) => {
        const answered = await right.answer(...asked);
        questions += 1;
        const { decision } = answered;
        if (questions === 1 && decision.allowed) {
          revoked.add(decision.certificate.serial);
          await bus.callout.kick(decision.certificate.identity.id);
        }
        return answered;
      },
      async () => {
        await expect(bus.connect({ kind: 'sidecar', session })).rejects.toMatchObject(unavailable);
      },
    );
    expect(questions).toBe(2);
  });

  it('[R45] more connections than one identity may have end its own oldest, and nobody else’s', async () => {
    const workload = { kind: 'provider', domain: 'graph', name: 'greedy' } as const;
    const first = await bus.connect(workload);
    const ended = disconnected(first);
    for (let count = 0; count < limits.busConnectionsOfOne.value; count += 1) await bus.connect(workload);
    await ended;
    await inside.connection.publish(eventsSubject(inside.session), 'x');
  });

  it('[R12] what travels is sealed: nothing of the certificate or the answer can be read on the way', async () => {
    const seen: Uint8Array[] = [];
    await whileAnswering(async (sealed, xkey) => {
      const answered = await right.answer(sealed, xkey);
      seen.push(sealed, answered.sealed ?? new Uint8Array());
      return answered;
    }, sidecar);
    expect(seen.length).toBeGreaterThanOrEqual(2);
    for (const bytes of seen) {
      const text = Buffer.from(bytes).toString('latin1');
      expect(text).toMatch(/^xkv1/);
      expect(text).not.toMatch(/eyJ|CERTIFICATE|spiffe|gb\./);
    }
  });
});

it('a callout needs the certificate of the callout', async () => {
  const svid = await bus.ca.issue({ kind: 'control-plane', replica: 'main' });
  const options = {
    address: bus.server,
    svid,
    system: () => svid,
    trustDomain: defaultTrustDomain,
    authorizer: right,
  };
  const impostor = await AuthCallout.serve(options);
  // Its subscription was refused: questions go on to whom they belong.
  await sidecar();
  await impostor.close();
});

describe('two that answer the callout', () => {
  it('[R4] whom one let in the other ends, before it came and after the first is gone', async () => {
    const authorizer = by(keys);
    const both = await startTestBus({ decides: { keys: authorizerPublicKeys(keys), authorizer } });
    const [early, late] = [newSessionId(), newSessionId()];
    const of = (session: SessionId): SpiffeId => identityFor({ kind: 'sidecar', session }).id;
    const before = await both.connect({ kind: 'sidecar', session: early });
    const system = await both.ca.issue(busOperators.system);
    const second = await AuthCallout.serve({
      address: both.server,
      svid: await both.ca.issue(busOperators.callout),
      system: () => system,
      trustDomain: defaultTrustDomain,
      authorizer,
    });
    const ended = disconnected(before);
    await expect.poll(async () => await second.kick(of(early)), { timeout: 10_000 }).toBe(1);
    await ended;
    const after = await both.connect({ kind: 'sidecar', session: late });
    await both.callout.close();
    const gone = disconnected(after);
    // It hears of it over a connection of its own, so perhaps a moment later.
    await expect.poll(async () => await second.kick(of(late)), { timeout: 10_000 }).toBe(1);
    await gone;
    await second.close();
    await both.close();
  });
});
