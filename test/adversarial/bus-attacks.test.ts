import { once } from 'node:events';
import { connect as connectTcp } from 'node:net';
import fc from 'fast-check';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import {
  asSessionId,
  auditSubject,
  controlSubject,
  eventsSubject,
  inputSubject,
  mayPublish,
  presenceSubject,
  providerSubject,
  spiffeId,
  type SessionId,
} from '../../pure/contracts/index.ts';
import { BusConnection, publishIntent } from '../../trusted/bus/index.ts';
import { createTestCa } from '../../trusted/bus/testing.ts';
import type { SvidMaterial } from '../../trusted/identity/index.ts';
import { TokenVerifier } from '../../trusted/tokens/index.ts';
import { BusWorld, trustDomain } from '../integration/bus-world.ts';
import { newId } from '../integration/sidecar-world.ts';
import { RawNats } from './raw-nats.ts';

/** The real signer, CA, nats-server and audit writer; the attacker has a real certificate, and lines of its own. */
let world: BusWorld;
let victim: SessionId;
let sidecar: RawNats;
let provider: RawNats;
const open: RawNats[] = [];
beforeAll(async () => {
  world = await BusWorld.start(300);
});
afterAll(async () => await world.close());
beforeEach(async () => {
  victim = asSessionId(newId());
  sidecar = await raw(await sidecarCertificate(own));
  provider = await raw(graph);
});
afterEach(async () => {
  await Promise.all(open.splice(0).map((one) => one.end()));
});

const own = asSessionId(newId());
let graph: SvidMaterial;
beforeAll(async () => {
  graph = await world.certificate({ kind: 'provider', domain: 'graph', name: 'hostile' });
});

async function raw(
  certificate: SvidMaterial | undefined,
  say: Record<string, unknown> = {},
  ca?: string,
): Promise<RawNats> {
  const one = await RawNats.connect(world.bus, certificate, say, ca);
  open.push(one);
  return one;
}
const sidecarCertificate = (session: SessionId): Promise<SvidMaterial> =>
  world.certificate({ kind: 'sidecar', session });
const victimsSidecar = async (): Promise<RawNats> => await raw(await sidecarCertificate(victim));

type Attempt = readonly ['publish' | 'subscribe', string, string?];
async function refused(who: RawNats, attempts: readonly Attempt[]): Promise<void> {
  for (const [what, subject, queue] of attempts) {
    if (what === 'publish') who.publish(subject, 'x');
    else who.subscribe(subject, queue);
    const [error = 'nothing'] = await who.settle();
    expect(error, `${what} ${subject} ${queue ?? ''}`).toMatch(/^Permissions Violation for /);
  }
}
async function permitted(who: RawNats, attempts: readonly Attempt[]): Promise<void> {
  for (const [what, subject, queue] of attempts) {
    if (what === 'publish') who.publish(subject, 'x');
    else who.subscribe(subject, queue);
    expect(await who.settle(), `${what} ${subject}`).toEqual([]);
  }
}
const chain = async (session: SessionId): Promise<readonly { operation?: string }[]> =>
  (await world.ground.store.audit.read({ session, limit: 100 })).map(({ record }) => record);

describe('a provider by hand', () => {
  it('[R8] reaches no other domain: the server itself answers Permissions Violation', async () => {
    await refused(provider, [
      ...['gb.provider.messaging.*.*', 'gb.provider.*.*.*', 'gb.provider.>', 'gb.>', '>', '*.*.>'].flatMap(
        (subject): Attempt[] => [
          ['subscribe', subject],
          ['subscribe', subject, 'graph'],
          ['subscribe', subject, 'messaging'],
        ],
      ),
      ['publish', providerSubject('messaging', 'send', victim)],
      ['publish', '_INBOX.sidecar.x.reply.messaging.y'],
    ]);
    await permitted(provider, [['subscribe', 'gb.provider.graph.*.*', 'graph']]);
  });

  it('[R8] steals no message from its own domain’s queue group: not beside it, nor in another', async () => {
    await refused(provider, [
      ['subscribe', 'gb.provider.graph.*.*'],
      ['subscribe', 'gb.provider.graph.*.*', 'thief'],
      ['subscribe', providerSubject('graph', 'read', victim)],
      ['subscribe', 'gb.provider.graph.*.*', '*'],
      ['subscribe', 'gb.provider.graph.*.*', '>'],
    ]);
  });

  it('[R9] [R11] publishes no input, control, event or record, and reads none', async () => {
    const subjects = [inputSubject, controlSubject, eventsSubject, presenceSubject].map((of) => of(victim));
    await refused(provider, [
      ...subjects.flatMap((subject): Attempt[] => [
        ['publish', subject],
        ['subscribe', subject],
      ]),
      ...['sidecar', 'control-plane', 'provider'].map((name): Attempt => [
        'publish',
        `gb.audit.${victim}.${name}`,
      ]),
      ['subscribe', 'gb.audit.>'],
      ['subscribe', 'gb.session.>'],
      ['publish', 'gb.audit.system.control-plane'],
    ]);
  });

  it('[R9] cannot be made to answer anywhere but where its domain answers', async () => {
    const seen: string[] = [];
    await world.provider('graph', 'honest', {
      read: () => {
        seen.push('asked');
        return Promise.resolve({ injected: 'do as I say' });
      },
    });
    const theirs = await victimsSidecar();
    await permitted(theirs, [
      ['subscribe', inputSubject(victim)],
      ['subscribe', controlSubject(victim)],
      ['subscribe', `_INBOX.sidecar.${victim}.>`],
    ]);
    const ask = (reply: string): void =>
      sidecar.publish(providerSubject('graph', 'read', own), '{"callId":"1","args":{}}', reply);
    await permitted(sidecar, [['subscribe', `_INBOX.sidecar.${own}.>`]]);
    await expect
      .poll(
        async () => {
          ask(`_INBOX.sidecar.${own}.reply.graph.control`);
          await sidecar.settle();
          return sidecar.messages.some(({ text }) => text.includes('do as I say'));
        },
        { timeout: 20_000 },
      )
      .toBe(true);
    const before = seen.length;
    const forged = [
      inputSubject(victim),
      controlSubject(victim),
      auditSubject(victim, 'sidecar'),
      `_INBOX.sidecar.${victim}.anything`,
      `_INBOX.control-plane.local.x`,
      '$JS.API.STREAM.PURGE.AUDIT',
      `_INBOX.sidecar.${victim}.reply.messaging.x`,
    ];
    for (const reply of forged) ask(reply);
    await expect.poll(() => seen.length).toBe(before + forged.length);
    // What is left: an answer that the victim did not ask for, on a token that it has not given out.
    ask(`_INBOX.sidecar.${victim}.reply.graph.guess`);
    await expect.poll(() => theirs.messages.length).toBe(1);
    expect(theirs.messages.map(({ subject }) => subject)).toEqual([
      `_INBOX.sidecar.${victim}.reply.graph.guess`,
    ]);
    expect(await chain(victim)).toEqual([]);
  });

  it('[R9] an answer that was not asked for is dropped by who gets it', async () => {
    const svid = await sidecarCertificate(victim);
    const unasked: string[] = [];
    const bus = await BusConnection.connect({
      address: world.bus,
      svid,
      identity: svid.identity,
      onUnasked: (subject) => unasked.push(subject),
    });
    await permitted(provider, [['subscribe', 'gb.provider.graph.*.*', 'graph']]);
    // Nobody else serves this one's time: the real question is answered by whoever has it, on its token.
    const answer = bus
      .request(providerSubject('graph', 'read', victim), '{"callId":"1","args":{}}')
      .catch(() => undefined);
    const guess = `_INBOX.sidecar.${victim}.reply.graph.${'0'.repeat(32)}`;
    await expect
      .poll(async () => {
        provider.publish(guess, '{"ok":true,"result":{"forged":true}}');
        await provider.settle();
        return unasked;
      })
      .toContain(guess);
    for (const { reply } of provider.messages) if (reply !== undefined) provider.publish(reply, 'theirs');
    await provider.settle();
    expect((await answer)?.string() ?? '').not.toContain('forged');
    await bus.close();
  });
});

describe('a sidecar by hand', () => {
  it('[R9] reaches only what carries its own session', async () => {
    const of = [eventsSubject, presenceSubject];
    await refused(sidecar, [
      ...of.map((subject): Attempt => ['publish', subject(victim)]),
      ['publish', inputSubject(own)],
      ['publish', controlSubject(own)],
      ['publish', inputSubject(victim)],
      ['publish', providerSubject('graph', 'read', victim)],
      ['publish', auditSubject(victim, 'sidecar')],
      ['publish', auditSubject(own, 'control-plane')],
      ['publish', `gb.audit.${own}.sidecar.more`],
      ...[
        inputSubject(victim),
        controlSubject(victim),
        'gb.session.*.input',
        'gb.session.>',
        'gb.audit.>',
      ].map((subject): Attempt => ['subscribe', subject]),
      ['subscribe', 'gb.provider.graph.*.*', 'graph'],
      ['subscribe', `gb.provider.*.*.${own}`],
    ]);
    await permitted(sidecar, [
      ['publish', eventsSubject(own)],
      ['subscribe', inputSubject(own)],
    ]);
  });

  it('[R10] nobody hears another’s inbox, everything, JetStream’s API or the system', async () => {
    const inboxes = [
      ...[
        '>',
        '_INBOX.>',
        '_INBOX.*.>',
        '_INBOX.sidecar.>',
        '_INBOX.sidecar.*.>',
        '_INBOX.sidecar.*.reply.graph.*',
      ],
      ...[
        `_INBOX.sidecar.${victim}.>`,
        `_INBOX.sidecar.${victim}`,
        '_INBOX.control-plane.>',
        '_INBOX.provider.>',
      ],
      ...['_INBOX.secret-broker.>', '_INBOX.system.>', '_INBOX.callout.>', '_R_.>', '$SYS._INBOX.>'],
      ...[
        '$JS.>',
        '$JS.API.>',
        '$JS.ACK.>',
        '$JS.EVENT.>',
        '$SYS.>',
        '$SYS.REQ.>',
        '$SYS.ACCOUNT.>',
        '$KV.>',
        '$O.>',
      ],
    ];
    const api = [
      'INFO',
      'STREAM.CREATE.AUDIT',
      'STREAM.DELETE.AUDIT',
      'STREAM.PURGE.AUDIT',
      'STREAM.MSG.GET.AUDIT',
    ];
    const more = [
      'STREAM.CREATE.MINE',
      'STREAM.NAMES',
      'CONSUMER.CREATE.AUDIT',
      'CONSUMER.MSG.NEXT.AUDIT.x',
      'DIRECT.GET.AUDIT',
    ];
    const system = [
      '$SYS.REQ.USER.AUTH',
      '$SYS.REQ.USER.INFO',
      '$SYS.REQ.SERVER.PING',
      '$SYS.REQ.SERVER.PING.CONNZ',
    ];
    for (const who of [sidecar, provider]) {
      await refused(who, [
        ...inboxes.map((subject): Attempt => ['subscribe', subject]),
        ...inboxes.slice(0, 8).map((subject): Attempt => ['subscribe', subject, 'q']),
        ...[...api, ...more].map((name): Attempt => ['publish', `$JS.API.${name}`]),
        ...system.map((subject): Attempt => ['publish', subject]),
        ...['$JS.ACK.AUDIT.x.1.1.1.1.0', '$SYS.ACCOUNT.GB.CONNECT'].map((subject): Attempt => [
          'publish',
          subject,
        ]),
      ]);
    }
    await permitted(sidecar, [['subscribe', `_INBOX.sidecar.${own}.>`]]);
  });

  it('[R9] an acknowledgement of JetStream that was sent into another’s input and trail is no word and no record there', async () => {
    const theirs = await victimsSidecar();
    await permitted(theirs, [['subscribe', inputSubject(victim)]]);
    sidecar.publish(auditSubject(own, 'sidecar'), '"x"', inputSubject(victim));
    sidecar.publish(auditSubject(own, 'sidecar'), '"y"', auditSubject(victim, 'sidecar'));
    expect(await sidecar.settle()).toEqual([]);
    // NATS does deliver it: hence the signature on every word of the control plane.
    await expect.poll(() => theirs.messages.length).toBe(1);
    const [word] = theirs.messages;
    expect(word?.text).toContain('"stream":"AUDIT"');
    const verifier = new TokenVerifier(await world.ground.signer.publicKeys());
    expect(await verifier.verify('control', word?.text ?? '')).toMatchObject({ ok: false });
    await expect.poll(() => chain(victim)).toHaveLength(1);
    expect((await chain(victim))[0]?.operation).toBe('audit.reject');
  });

  it('[R9] a message id that somebody took first makes no intent vanish', async () => {
    const svid = await sidecarCertificate(victim);
    const bus = await BusConnection.connect({ address: world.bus, svid, identity: svid.identity });
    const [taken, fresh] = [newId(), newId()];
    sidecar.publishWith(
      { 'Nats-Msg-Id': taken },
      auditSubject(own, 'sidecar'),
      '"squatted"',
      `_INBOX.sidecar.${own}.a`,
    );
    await sidecar.settle();
    const ids = [taken, fresh];
    const bytes = Buffer.from(JSON.stringify({ intent: newId() }));
    const stored = await publishIntent(bus, auditSubject(victim, 'sidecar'), bytes, {
      newMessageId: () => ids.shift() ?? newId(),
    });
    expect(ids).toEqual([]);
    await expect.poll(() => chain(victim)).toHaveLength(1);
    expect(stored.sequence).toBeGreaterThan(0);
    await bus.close();
  });

  it('[R42] no header of JetStream’s clears, replaces or refuses what others have stored', async () => {
    await permitted(sidecar, [['subscribe', `_INBOX.sidecar.${own}.>`]]);
    const subject = auditSubject(own, 'sidecar');
    const before = (await world.ground.bus.connection.request('$JS.API.STREAM.INFO.AUDIT', '')).json<{
      state: { messages: number };
    }>();
    const attempts = [
      { 'Nats-Rollup': 'all' },
      { 'Nats-Rollup': 'sub' },
      { 'Nats-TTL': '1s' },
      { 'Nats-Incr': '1' },
      { 'Nats-Schedule': '@at 2030-01-01T00:00:00Z', 'Nats-Schedule-Target': inputSubject(victim) },
      { 'Nats-Batch-Id': 'x', 'Nats-Batch-Sequence': '1' },
      { 'Nats-Marker-Reason': 'Purge' },
    ];
    for (const [index, headers] of attempts.entries()) {
      sidecar.publishWith(headers, subject, '"x"', `_INBOX.sidecar.${own}.h.${String(index)}`);
    }
    await sidecar.settle();
    const after = (await world.ground.bus.connection.request('$JS.API.STREAM.INFO.AUDIT', '')).json<{
      state: { messages: number };
    }>();
    expect(after.state.messages).toBeGreaterThanOrEqual(before.state.messages);
    // A trace of a message goes only where its sender may publish.
    sidecar.publishWith({ 'Nats-Trace-Dest': inputSubject(victim) }, eventsSubject(own), 'x');
    expect(await sidecar.settle()).toEqual([expect.stringMatching(/^Permissions Violation for Publish/)]);
  });
});

it('[R9] a reply subject gives no right and takes none: by hand as by the registry', async () => {
  const who = [
    { one: sidecar, as: { kind: 'sidecar', session: own } },
    { one: provider, as: { kind: 'provider', domain: 'graph', name: 'hostile' } },
  ] as const;
  const place = fc.constantFrom(
    ...[own, victim].flatMap((session) => [
      ...[inputSubject, controlSubject, eventsSubject, presenceSubject].map((of) => of(session)),
      ...[providerSubject('graph', 'read', session), providerSubject('files', 'read', session)],
      ...[auditSubject(session, 'sidecar'), auditSubject(session, 'control-plane')],
      ...[`_INBOX.sidecar.${session}.reply.graph.t`, `_INBOX.sidecar.${session}.reply.files.t`],
      `_INBOX.sidecar.${session}.t`,
    ]),
    ...['$JS.API.STREAM.INFO.AUDIT', '$SYS.REQ.USER.AUTH', '_INBOX.control-plane.local.t'],
  );
  let permissions = 0;
  await fc.assert(
    fc.asyncProperty(fc.constantFrom(...who), place, place, async ({ one, as }, subject, reply) => {
      one.publish(subject, 'x', reply);
      const errors = await one.settle();
      const expected = mayPublish(as, subject);
      if (expected) permissions += 1;
      expect(errors.length === 0, `${as.kind}: ${subject} ${errors.join()}`).toBe(expected);
    }),
    { numRuns: 600 },
  );
  expect(permissions).toBeGreaterThan(20);
});

describe('[R10] [R12] who gets in, and as what', () => {
  const says: Record<string, unknown>[] = [
    { auth_token: 't' },
    { user: 'u', pass: 'p' },
    { user: spiffeId(trustDomain, { kind: 'bus', server: 'system' }) },
    { user: spiffeId(trustDomain, { kind: 'bus', server: 'callout' }), pass: '' },
    { jwt: 'eyJ0eXAiOiJKV1QiLCJhbGciOiJlZDI1NTE5LW5rZXkifQ.e30.x', sig: 'x' },
    { nkey: 'UDXU4RCSJNZOIQHZNWXHXORDPRTGNJAHAHFRGZNEEJCPQTT2M7NLCNF4', sig: 'x' },
  ];
  it('a name, token, password, key or JWT beside a certificate; an account or permissions of its choice', async () => {
    for (const say of says) await expect(raw(graph, say), JSON.stringify(say)).rejects.toThrow();
    await expect(raw(graph, { account: 'SYS' })).rejects.toThrow();
    await expect(raw(graph, { account: 'AUTH', new_account: true })).rejects.toThrow();
    const wider = await raw(graph, {
      import: { allow: ['>'] },
      export: { allow: ['>'] },
      permissions: { publish: '>' },
    });
    await refused(wider, [
      ['publish', '$SYS.REQ.SERVER.PING'],
      ['subscribe', '>'],
    ]);
    await permitted(wider, [['subscribe', 'gb.provider.graph.*.*', 'graph']]);
  });

  it('plaintext, anonymous, token, password, foreign CA', async () => {
    const { bundlePem } = graph;
    for (const say of [{}, ...says]) await expect(raw(undefined, say, bundlePem)).rejects.toThrow();
    const foreign = await (await createTestCa()).issue({ kind: 'control-plane', replica: 'local' });
    await expect(RawNats.connect(world.bus, foreign, {}, bundlePem)).rejects.toThrow();
    const socket = connectTcp(world.bus.port, world.bus.host);
    const got: Buffer[] = [];
    socket.on('data', (chunk: Buffer) => got.push(chunk));
    socket.on('error', () => undefined);
    await once(socket, 'connect');
    socket.write('CONNECT {}\r\nPING\r\n');
    await once(socket, 'close');
    expect(Buffer.concat(got).toString('latin1')).not.toMatch(/INFO|PONG/);
  });

  it('[R4] a stolen certificate after its revocation: out within a second, not in again, not at a new server either', async () => {
    const stolen = await sidecarCertificate(victim);
    const thief = await raw(stolen);
    const second = new Promise((_, reject) =>
      setTimeout(() => reject(new Error('more than a second')), 1000).unref(),
    );
    await world.ground.revoke(stolen.id);
    await Promise.race([thief.closed, second]);
    await expect(raw(stolen)).rejects.toThrow();
    const before = world.ground.bus.pid ?? 0;
    process.kill(before, 'SIGKILL');
    await expect.poll(() => world.ground.bus.pid).not.toBe(before);
    const control = await sidecarCertificate(asSessionId(newId()));
    await expect.poll(() => raw(control).then(() => 'in', String)).toBe('in');
    await expect(raw(stolen)).rejects.toThrow();
  });
});
