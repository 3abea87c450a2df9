import fc from 'fast-check';
import { afterAll, beforeAll, expect, it } from 'vitest';
import {
  inboxPrefix,
  mayPublish,
  maySubscribe,
  type SessionId,
  type Workload,
} from '../../pure/contracts/index.ts';
import type { BusConnection } from './index.ts';
import { newSessionId, startTestBus, type TestBus } from './testing.ts';

/** What the registry says, the real server does: for random pairs of identity and subject. */
const sessions: readonly SessionId[] = [newSessionId(), newSessionId()];
const [first, second] = sessions as readonly [SessionId, SessionId];
const workloads: readonly Workload[] = [
  { kind: 'control-plane', replica: 'main' },
  { kind: 'secret-broker' },
  { kind: 'sidecar', session: first },
  { kind: 'sidecar', session: second },
  { kind: 'provider', domain: 'graph', name: 'one' },
  { kind: 'provider', domain: 'messaging', name: 'two' },
];

let bus: TestBus;
const connections: BusConnection[] = [];
beforeAll(async () => {
  bus = await startTestBus();
  for (const workload of workloads) connections.push(await bus.connect(workload));
});
afterAll(() => bus.close());

const who = fc.integer({ min: 0, max: workloads.length - 1 });
const session = fc.constantFrom(...sessions, 'system', '*');
const domain = fc.constantFrom('graph', 'messaging', '*');
const near = fc.oneof(
  fc.tuple(domain, fc.constantFrom('read', '*'), session).map((parts) => `gb.provider.${parts.join('.')}`),
  fc
    .tuple(session, fc.constantFrom('sidecar', 'control-plane', 'x', '*'))
    .map((parts) => `gb.audit.${parts.join('.')}`),
  fc
    .tuple(session, fc.constantFrom('input', 'control', 'events', 'presence', '*', '>'))
    .map((parts) => `gb.session.${parts.join('.')}`),
  fc
    .tuple(session, domain, fc.constantFrom('t', '*'))
    .map(([s, d, t]) => `_INBOX.sidecar.${s}.reply.${d}.${t}`),
  fc
    .tuple(fc.constantFrom(...workloads), fc.constantFrom('x', '*', '>'))
    .map(([workload, tail]) => `${inboxPrefix(workload)}.${tail}`),
  fc
    .tuple(
      fc.constantFrom(
        ...['INFO', 'STREAM.INFO', 'STREAM.CREATE', 'STREAM.UPDATE', 'STREAM.DELETE', 'STREAM.PURGE'],
        ...['STREAM.MSG.GET', 'STREAM.MSG.DELETE', 'STREAM.SNAPSHOT', 'DIRECT.GET', 'STREAM.NAMES', '*'],
        ...[
          'CONSUMER.INFO',
          'CONSUMER.CREATE',
          'CONSUMER.DELETE',
          'CONSUMER.MSG.NEXT',
          'CONSUMER.DURABLE.CREATE',
        ],
      ),
      fc.constantFrom('', '.AUDIT', '.OTHER', '.AUDIT.x', '.AUDIT.*', '.>'),
    )
    .map(([name, tail]) => `$JS.API.${name}${tail}`),
  fc.constantFrom(
    ...[
      '$SYS.REQ.USER.AUTH',
      '$SYS.REQ.USER.INFO',
      '$SYS.REQ.SERVER.PING',
      '$SYS.REQ.SERVER.X.KICK',
      '$SYS.>',
    ],
    ...[
      '$SYS._INBOX.x',
      '$JS.ACK.AUDIT.x.1.1.1.1.0',
      '$JS.EVENT.>',
      '$JS.FC.x',
      '_R_.x',
      '>',
      '*',
      '*.>',
      '_INBOX.>',
    ],
  ),
  // Anything of the words that mean something, in any order.
  fc
    .array(
      fc.constantFrom(
        ...['gb', 'provider', 'session', 'audit', '_INBOX', 'sidecar', 'reply', 'graph', 'messaging', 'read'],
        ...['input', 'control', 'events', 'control-plane', 'main', 'one', '$JS', 'API', '*', first, second],
      ),
      { minLength: 1, maxLength: 6 },
    )
    .map((tokens) => tokens.join('.')),
);
/** Near misses: a token more, less or other than what is permitted. */
const subject = fc
  .tuple(near, fc.constantFrom('', '.more', '.>', 'x'), fc.integer({ min: 0, max: 8 }))
  .map(([text, tail, cut]) => `${cut === 8 ? text.split('.').slice(0, -1).join('.') : text}${tail}`)
  .filter((text) => !/>.+|^$/.test(text));
const queue = fc.constantFrom(undefined, 'graph', 'messaging', 'other');

const permitted = (work: Promise<unknown>): Promise<boolean> =>
  work.then(
    () => true,
    (error: unknown) => {
      expect(error).toMatchObject({ code: 'GB_BUS_REFUSED' });
      return false;
    },
  );

it('[R8] [R9] [R10] the server permits a publication exactly where the registry does', async () => {
  let allowed = 0;
  await fc.assert(
    fc.asyncProperty(
      who,
      subject.filter((text) => !/[*>]/.test(text)),
      async (index, given) => {
        const expected = mayPublish(workloads[index] as Workload, given);
        if (expected) allowed += 1;
        const connection = connections[index] as BusConnection;
        expect(await permitted(connection.publish(given, ''))).toBe(expected);
      },
    ),
    { numRuns: 3000 },
  );
  expect(allowed).toBeGreaterThan(5);
});

it('[R8] [R9] [R10] the server permits a subscription exactly where the registry does', async () => {
  let allowed = 0;
  await fc.assert(
    fc.asyncProperty(who, subject, queue, async (index, given, group) => {
      const expected = maySubscribe(workloads[index] as Workload, given, group);
      if (expected) allowed += 1;
      const connection = connections[index] as BusConnection;
      const attempt = connection
        .subscribe(given, () => undefined, group === undefined ? {} : { queue: group })
        .then((subscription) => subscription.stop());
      expect(await permitted(attempt)).toBe(expected);
    }),
    { numRuns: 3000 },
  );
  expect(allowed).toBeGreaterThan(5);
});
