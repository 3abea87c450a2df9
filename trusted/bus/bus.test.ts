import { once } from 'node:events';
import { mkdtemp, readdir, rm, stat } from 'node:fs/promises';
import { createServer, type AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
  auditSubject,
  controlSubject,
  defaultTrustDomain,
  eventsSubject,
  eventsPattern,
  inputSubject,
  providerSubject,
  providerSubscription,
  type SessionId,
} from '../../pure/contracts/index.ts';
import { BusConnection, ensureAuditStream, NatsServer, publishIntent, readStored } from './index.ts';
import {
  identityFor,
  natsServerPath,
  newMessageId,
  newSessionId,
  startTestBus,
  type TestBus,
} from './testing.ts';

let bus: TestBus;
let controlPlane: BusConnection;
beforeAll(async () => {
  bus = await startTestBus();
  controlPlane = await bus.connect({ kind: 'control-plane', replica: 'main' });
  await ensureAuditStream(controlPlane);
});
afterAll(() => bus.close());

const sidecar = (session: SessionId): Promise<BusConnection> => bus.connect({ kind: 'sidecar', session });
const provider = (domain: string, name = 'one'): Promise<BusConnection> =>
  bus.connect({ kind: 'provider', domain, name });

/** Serves a domain; remembers what came. */
async function serve(domain: string): Promise<{ connection: BusConnection; seen: string[] }> {
  const connection = await provider(domain);
  const seen: string[] = [];
  const { pattern, queue } = providerSubscription(domain);
  await connection.subscribe(
    pattern,
    (message) => {
      seen.push(message.subject);
      message.respond(`answer to ${message.string()}`);
    },
    { queue },
  );
  return { connection, seen };
}

describe('requests and answers', () => {
  it('a sidecar asks, a provider of the domain answers', async () => {
    await serve('graph');
    const session = newSessionId();
    const answer = await (await sidecar(session)).request(providerSubject('graph', 'read', session), 'x');
    expect(answer.string()).toBe('answer to x');
  });

  it('a request that nobody serves fails at once, and surely reached nobody', async () => {
    const session = newSessionId();
    const connection = await sidecar(session);
    await expect(connection.request(providerSubject('email', 'send', session), 'x')).rejects.toMatchObject({
      code: 'GB_UPSTREAM_FAILED',
      details: { detail: 'nobody serves it' },
    });
  });

  it('a message over the limit is refused before it is sent', async () => {
    const session = newSessionId();
    const connection = await sidecar(session);
    await expect(connection.publish(eventsSubject(session), 'x'.repeat(1_048_577))).rejects.toMatchObject({
      code: 'GB_BUS_UNAVAILABLE',
    });
    await connection.publish(eventsSubject(session), 'x'.repeat(1_048_576));
  });
});

describe('between domains', () => {
  it('[R8] a graph provider cannot subscribe to, queue-subscribe into, or publish to messaging', async () => {
    const { connection } = await serve('graph');
    const session = newSessionId();
    const refused = { code: 'GB_BUS_REFUSED' };
    const ignore = (): void => undefined;
    for (const options of [{}, { queue: 'messaging' }, { queue: 'graph' }]) {
      for (const pattern of [
        'gb.provider.messaging.*.*',
        'gb.provider.>',
        'gb.provider.*.*.*',
        'gb.>',
        '>',
      ]) {
        await expect(connection.subscribe(pattern, ignore, options)).rejects.toMatchObject(refused);
      }
    }
    await expect(
      connection.publish(providerSubject('messaging', 'send', session), 'x'),
    ).rejects.toMatchObject(refused);
    // Its own domain outside its queue group would see every request twice.
    const own = providerSubscription('graph');
    await expect(connection.subscribe(own.pattern, ignore)).rejects.toMatchObject(refused);
    await expect(connection.subscribe(own.pattern, ignore, { queue: 'x' })).rejects.toMatchObject(refused);
    // Control: its own domain in its queue group.
    await (await connection.subscribe(own.pattern, ignore, { queue: own.queue })).stop();
  });

  it('[R8] the server itself answers Permissions Violation', async () => {
    const connection = await provider('graph');
    const failure: unknown = await connection
      .subscribe('gb.provider.messaging.*.*', () => undefined)
      .catch((error: unknown) => error);
    expect(failure).toBeInstanceOf(Error);
    expect(String((failure as Error).cause)).toMatch(/Permissions Violation for Subscription to/);
  });

  it('[R11] a provider cannot publish session input nor read session events', async () => {
    const connection = await provider('graph');
    const session = newSessionId();
    for (const subject of [inputSubject(session), controlSubject(session), eventsSubject(session)]) {
      await expect(connection.publish(subject, 'x')).rejects.toMatchObject({ code: 'GB_BUS_REFUSED' });
      await expect(connection.subscribe(subject, () => undefined)).rejects.toMatchObject({
        code: 'GB_BUS_REFUSED',
      });
    }
    // Control: those whose subjects they are.
    const owner = await sidecar(session);
    const input = new Promise<string>((resolve) => {
      void owner
        .subscribe(inputSubject(session), (message) => resolve(message.string()))
        .then(() => controlPlane.publish(inputSubject(session), 'hello'));
    });
    expect(await input).toBe('hello');
    const event = new Promise<string>((resolve) => {
      void controlPlane
        .subscribe(eventsPattern, (message) => resolve(message.string()))
        .then(() => owner.publish(eventsSubject(session), 'there'));
    });
    expect(await event).toBe('there');
  });
});

describe('between sessions', () => {
  it('[R9] a sidecar reaches only subjects that carry its own session', async () => {
    await serve('graph');
    const [own, other] = [newSessionId(), newSessionId()];
    const connection = await sidecar(own);
    const attempts = [
      providerSubject('graph', 'read', other),
      auditSubject(other, 'sidecar'),
      auditSubject(own, 'control-plane'),
      auditSubject('system', 'control-plane'),
      eventsSubject(other),
      inputSubject(own),
      controlSubject(own),
    ];
    for (const subject of attempts) {
      await expect(connection.publish(subject, 'x')).rejects.toMatchObject({ code: 'GB_BUS_REFUSED' });
    }
    await expect(connection.request(providerSubject('graph', 'read', other), 'x')).rejects.toMatchObject({
      code: 'GB_BUS_REFUSED',
    });
    for (const subject of [
      inputSubject(other),
      controlSubject(other),
      eventsSubject(own),
      'gb.session.*.input',
    ]) {
      await expect(connection.subscribe(subject, () => undefined)).rejects.toMatchObject({
        code: 'GB_BUS_REFUSED',
      });
    }
    // Control: the same, of its own session.
    expect((await connection.request(providerSubject('graph', 'read', own), 'x')).string()).toBe(
      'answer to x',
    );
    await connection.publish(eventsSubject(own), 'x');
  });

  it('[R9] a forged reply subject leads nowhere: the provider’s answer into another’s subject is refused', async () => {
    const { seen } = await serve('docs');
    const [own, victim] = [newSessionId(), newSessionId()];
    const connection = await sidecar(own);
    const got: string[] = [];
    const target = await sidecar(victim);
    await target.subscribe(inputSubject(victim), (message) => {
      got.push(message.string());
    });
    const before = await lastSequence();
    for (const reply of [inputSubject(victim), auditSubject(victim, 'sidecar')]) {
      await connection.use(async (nc) => {
        nc.publish(providerSubject('docs', 'read', own), 'injected', { reply });
        await nc.flush();
      });
    }
    // The next request goes through the same provider after both: its answer is the control, and the wait.
    await connection.request(providerSubject('docs', 'read', own), 'x');
    expect(seen.length).toBe(3);
    await controlPlane.publish(inputSubject(victim), 'real');
    await expect.poll(() => got).toEqual(['real']);
    expect(await lastSequence()).toBe(before);
  });

  it('[R9] a message id that another took first does not make an intent vanish', async () => {
    const [mallory, victim] = [newSessionId(), newSessionId()];
    const guessed = newMessageId();
    const one = await sidecar(mallory);
    await publishIntent(one, auditSubject(mallory, 'sidecar'), Buffer.from('"forged"'), {
      newMessageId: () => guessed,
    });
    const ids = [guessed, newMessageId()];
    const stored = await publishIntent(
      await sidecar(victim),
      auditSubject(victim, 'sidecar'),
      Buffer.from('"real"'),
      {
        newMessageId: () => ids.shift() ?? '',
      },
    );
    const found = await readStored(controlPlane, stored.sequence);
    expect(found?.subject).toBe(auditSubject(victim, 'sidecar'));
    expect(Buffer.from(found?.data ?? []).toString()).toBe('"real"');
    // If every id is taken, it is not stored, and says so.
    await expect(
      publishIntent(one, auditSubject(mallory, 'sidecar'), Buffer.from('"x"'), {
        newMessageId: () => guessed,
      }),
    ).rejects.toMatchObject({ code: 'GB_AUDIT_UNAVAILABLE' });
  });

  it('an answer that was not asked for is dropped and reported', async () => {
    const session = newSessionId();
    const unasked: string[] = [];
    const connection = await BusConnection.connect({
      address: bus.server,
      svid: await bus.ca.issue({ kind: 'sidecar', session }),
      identity: identityFor({ kind: 'sidecar', session }),
      onUnasked: (subject) => unasked.push(subject),
    });
    const rogue = await provider('sheets');
    const { pattern, queue } = providerSubscription('sheets');
    const guess = `_INBOX.sidecar.${session}.reply.sheets.${'0'.repeat(32)}`;
    await rogue.subscribe(
      pattern,
      async (message) => {
        await rogue.publish(guess, 'guessed');
        message.respond('asked');
      },
      { queue },
    );
    expect((await connection.request(providerSubject('sheets', 'read', session), 'x')).string()).toBe(
      'asked',
    );
    expect(unasked).toEqual([guess]);
    // Another domain's answers it may not even send.
    await expect(rogue.publish(guess.replace('sheets', 'graph'), 'x')).rejects.toMatchObject({
      code: 'GB_BUS_REFUSED',
    });
    await connection.close();
  });
});

describe('inboxes and JetStream', () => {
  it('[R10] nobody can subscribe to another’s inbox, to > or to _INBOX.>', async () => {
    const [own, other] = [newSessionId(), newSessionId()];
    const connections = [
      await sidecar(own),
      await provider('graph'),
      controlPlane,
      await bus.connect({ kind: 'secret-broker' }),
    ];
    const wide = [
      '>',
      '_INBOX.>',
      '_INBOX.*.*',
      '*.>',
      `_INBOX.sidecar.${other}.>`,
      '_INBOX.sidecar.>',
      '$SYS.>',
      '$JS.>',
    ];
    for (const connection of connections) {
      for (const pattern of wide) {
        await expect(
          connection.subscribe(pattern, () => undefined),
          pattern,
        ).rejects.toMatchObject({
          code: 'GB_BUS_REFUSED',
        });
      }
    }
    await (await connections[0]?.subscribe(`_INBOX.sidecar.${own}.x`, () => undefined))?.stop();
  });

  it('[R10] JetStream’s API is open only as far as each role needs', async () => {
    const session = newSessionId();
    const own = await sidecar(session);
    const broker = await bus.connect({ kind: 'secret-broker' });
    const stored = await publishIntent(own, auditSubject(session, 'sidecar'), Buffer.from('"x"'), {
      newMessageId,
    });
    expect((await readStored(broker, stored.sequence))?.subject).toBe(auditSubject(session, 'sidecar'));
    expect((await readStored(controlPlane, stored.sequence))?.sequence).toBe(stored.sequence);
    const everyone = [own, await provider('graph'), broker];
    const api = [
      'STREAM.CREATE.AUDIT',
      'STREAM.CREATE.OTHER',
      'STREAM.UPDATE.AUDIT',
      'STREAM.DELETE.AUDIT',
      'STREAM.PURGE.AUDIT',
      'STREAM.INFO.AUDIT',
      'STREAM.NAMES',
      'STREAM.MSG.DELETE.AUDIT',
      'CONSUMER.CREATE.AUDIT.x',
      'CONSUMER.MSG.NEXT.AUDIT.x',
      'DIRECT.GET.AUDIT',
      'INFO',
    ];
    for (const connection of everyone) {
      for (const name of api) {
        await expect(connection.request(`$JS.API.${name}`, '{}'), name).rejects.toMatchObject({
          code: 'GB_BUS_REFUSED',
        });
      }
    }
    await expect(readStored(own, stored.sequence)).rejects.toMatchObject({ code: 'GB_BUS_REFUSED' });
    for (const name of [
      'STREAM.DELETE.AUDIT',
      'STREAM.MSG.DELETE.AUDIT',
      'STREAM.CREATE.OTHER',
      'STREAM.SNAPSHOT.AUDIT',
    ]) {
      await expect(controlPlane.request(`$JS.API.${name}`, '{}'), name).rejects.toMatchObject({
        code: 'GB_BUS_REFUSED',
      });
    }
    for (const connection of [...everyone, controlPlane]) {
      await expect(connection.request('$SYS.REQ.SERVER.PING', '')).rejects.toMatchObject({
        code: 'GB_BUS_REFUSED',
      });
      await expect(connection.publish('$SYS.REQ.USER.AUTH', 'x')).rejects.toMatchObject({
        code: 'GB_BUS_REFUSED',
      });
    }
  });

  it('a record over its bound is refused and not stored', async () => {
    const session = newSessionId();
    const connection = await sidecar(session);
    const before = await lastSequence();
    await expect(
      publishIntent(connection, auditSubject(session, 'sidecar'), Buffer.alloc(16_385), { newMessageId }),
    ).rejects.toMatchObject({ code: 'GB_AUDIT_UNAVAILABLE' });
    expect(await lastSequence()).toBe(before);
  });
});

it('what nats-server reads is for its user alone', async () => {
  for (const name of await readdir(bus.folder)) {
    const { mode } = await stat(join(bus.folder, name));
    expect(mode & 0o077, name).toBe(0);
  }
});

async function lastSequence(): Promise<number> {
  return ensureAuditStream(controlPlane);
}

describe('a port that somebody has', () => {
  it('is said in one line, and nothing of a server is left', async () => {
    const other = createServer().listen(0, '127.0.0.1');
    await once(other, 'listening');
    const { port } = other.address() as AddressInfo;
    const folder = await mkdtemp(join(tmpdir(), 'glovebox-bus-port-'));
    const starting = NatsServer.start({
      binary: natsServerPath,
      folder,
      name: 'second',
      port,
      trustDomain: defaultTrustDomain,
      keys: bus.keys,
      svid: await bus.ca.issue({ kind: 'bus', server: 'second' }),
    });
    await expect(starting).rejects.toMatchObject({
      code: 'GB_BUS_UNAVAILABLE',
      why: expect.stringMatching(new RegExp(`${String(port)}: bind: address already in use`)) as string,
    });
    other.close();
    await rm(folder, { recursive: true });
  });
});
