import type { ChildProcess } from 'node:child_process';
import { randomInt } from 'node:crypto';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { AuthorityView, SessionView } from '../../pure/contracts/index.ts';
import { descendants, isAlive, opened, remainsOf, type Process } from './remains.ts';
import { until } from './until.ts';
import { World } from './world.ts';

/**
 * Calls a tool again and again, each time as a call of its own, and writes one line for each answer: what a person's agent
 * sees of a part that dies.
 */
const caller = `
const call = async () => {
  const response = await fetch(process.env.GLOVEBOX_URL + '/v1/tools/files_list', {
    method: 'POST', headers: { 'content-type': 'application/json' }, body: '{"path":"/shared"}',
  });
  return response.ok ? 'answered' : 'refused ' + response.status;
};
require('node:fs').writeFileSync('made.txt', 'made before\\n');
const again = async () => {
  for (;;) {
    console.log(await call().catch((error) => 'failed ' + error.message));
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
};
again();
`;

let world: World;
let daemon: number;

beforeAll(async () => {
  world = new World();
  writeFileSync(join(world.project, 'caller.cjs'), caller);
  writeFileSync(join(world.folder, 'policy.yaml'), "version: 1\ntools:\n  allow: ['files:read:/**']\n");
  mkdirSync(join(world.home, '.local/share/glovebox/shared'), { recursive: true, mode: 0o700 });
  await world.waive();
  daemon = await world.daemon();
});
afterAll(() => world.close());

interface Caller {
  readonly child: ChildProcess;
  readonly text: () => string;
  readonly answers: () => number;
  readonly closed: Promise<number | null>;
}

async function calling(name: string): Promise<Caller> {
  const policy = join(world.folder, 'policy.yaml');
  const child = world.start(['run', '--name', name, '--policy', policy, '--', 'node', 'caller.cjs']);
  let text = '';
  for (const stream of [child.stdout, child.stderr])
    stream?.setEncoding('utf8').on('data', (chunk: string) => (text += chunk));
  const found = {
    child,
    text: () => text,
    answers: () => text.split('\n').filter((line) => line === 'answered').length,
    closed: new Promise<number | null>((resolve) => child.on('close', resolve)),
  };
  await until(`a call of ${name} is answered`, () => found.answers() > 0, 180_000).catch((error: unknown) => {
    throw new Error(`${String(error)}: ${text.slice(-1000)}`);
  });
  return found;
}

const part = (what: RegExp): Process => {
  const found = descendants(daemon).find(({ title }) => what.test(title));
  if (found === undefined)
    throw new Error(
      `there is no ${String(what)} among ${descendants(daemon)
        .map(({ title }) => title.slice(0, 80))
        .join('; ')}`,
    );
  return found;
};

/** The one sidecar that serves a session, known by the log that it holds open: the others wait for a session of theirs. */
async function sidecarOf(name: string): Promise<Process> {
  const { id } = await world.session(name);
  const found = descendants(daemon).find(
    ({ pid, title }) =>
      title === 'glovebox-sidecar' && opened(pid).some((path) => path.includes(`${id}/output.log`)),
  );
  if (found === undefined) throw new Error(`no sidecar has the log of ${name} open`);
  return found;
}

/** A random point of a running session: some calls more, and no fixed time after one. */
async function somewhere(run: Caller): Promise<void> {
  const until3 = run.answers() + randomInt(3);
  await until('some calls more', () => run.answers() >= until3);
}

const ended = (name: string): Promise<SessionView> =>
  until(`${name} ends`, async () => {
    const session = await world.session(name);
    return session.state === 'ended' && session;
  });

describe('SIGKILL of a part that serves everybody: it is started again, and a following call works', () => {
  it.each([
    ['nats-server', /nats-server -c|nats-server$/],
    ['the signer', /^glovebox-signer/],
    ['the secret broker', /^glovebox-secret-broker/],
    ['the provider’s forwarder', /^glovebox-forwarder/],
    ['the provider’s sandbox', /runsc .*run |runsc-sandbox/],
  ])('[R46] %s', async (name, what) => {
    // Before the session's own sandbox is there, the provider's is the only one.
    const victim = await until(
      `there is ${name}`,
      () => descendants(daemon).some(({ title }) => what.test(title)) && part(what),
    );
    const run = await calling(`without-${victim.pid}`);
    await somewhere(run);
    process.kill(victim.pid, 'SIGKILL');
    await until(`${name} is gone`, () => !isAlive(victim.pid));
    await until(
      `${name} is back`,
      () => descendants(daemon).some(({ pid, title }) => pid !== victim.pid && what.test(title)),
      180_000,
    );
    const before = run.answers();
    await until('a following call is answered', () => run.answers() > before + 2, 90_000).catch(
      (error: unknown) => {
        throw new Error(`${String(error)}: ${run.text().slice(-1500)}`);
      },
    );
    expect(isAlive(daemon)).toBe(true);
    run.child.kill('SIGTERM');
    await run.closed;
    await ended(`without-${victim.pid}`);
    // A new session gets an identity, a bus and an audit record, so whoever died serves again.
    expect((await world.glovebox(['run', '--', 'true'])).code).toBe(0);
  });
});

describe('SIGKILL of what belongs to one session: the session ends, and says why', () => {
  it('[R46] its sidecar: 120, its sandbox is gone within 5 s, its changes are kept', async () => {
    const run = await calling('doorless');
    await somewhere(run);
    const sandboxed = descendants(daemon).filter(({ title }) => /runsc/.test(title));
    process.kill((await sidecarOf('doorless')).pid, 'SIGKILL');
    expect(await run.closed).toBe(120);
    expect(run.text()).toContain('its sidecar died');
    expect(await ended('doorless')).toMatchObject({ reason: 'sidecar-died', changes: 'kept' });
    await until('its sandbox is gone', () => sandboxed.some(({ pid }) => !isAlive(pid)), 5_000);
    expect((await world.glovebox(['diff', 'doorless'])).out).toContain('+made before');
    expect((await world.glovebox(['apply', 'doorless'])).out).toContain('1 applied');
    expect(readFileSync(join(world.project, 'made.txt'), 'utf8')).toBe('made before\n');
    expect((await world.glovebox(['run', '--', 'true'])).code).toBe(0);
  });

  it('[R46] its runsc: an exit code and a line of its own, its changes are kept', async () => {
    const others = new Set(descendants(daemon).map(({ pid }) => pid));
    const run = await calling('unboxed');
    await somewhere(run);
    const own = descendants(daemon).filter(
      ({ pid, title }) => !others.has(pid) && /runsc .*run |runsc-sandbox/.test(title),
    );
    expect(own.length).toBeGreaterThan(0);
    const victim = own[randomInt(own.length)];
    if (victim !== undefined) process.kill(victim.pid, 'SIGKILL');
    expect([117, 118, 119]).toContain(await run.closed);
    expect(run.text()).toMatch(/glovebox: the session ended: its sandbox/);
    expect((await ended('unboxed')).changes).toBe('kept');
    await until('all of it is gone', () => !own.some(({ pid }) => isAlive(pid)), 5_000);
  });
});

describe('the CA, by its commands', () => {
  const ca = async (...words: string[]): Promise<unknown> =>
    JSON.parse((await world.glovebox(['ca', ...words, '--json'])).out);

  it('[R4] is shown, rotated, and a session’s gateway revoked: the session ends with it', async () => {
    const before = await ca('show');
    expect(await ca('rotate')).not.toMatchObject({ issuing: (before as AuthorityView).issuing });
    expect((await world.glovebox(['ca', 'rotate', '--root'])).out).toContain('The next root is announced');
    const again = await world.glovebox(['ca', 'rotate', '--root']);
    expect(again).toMatchObject({ code: 65 });
    expect(again.err).toContain('being replaced already');
    const session = await calling('revoked');
    await world.glovebox(['ca', 'revoke', 'revoked']);
    expect(await session.closed).toBe(120);
    expect(session.text()).toContain('revoked');
    expect((await world.glovebox(['ca', 'turn'])).code).toBe(64);
  }, 60_000);
});

describe('the end', () => {
  it('[R26] after down nothing is left: no process, mount, loop device, control group or run folder', async () => {
    const policy = join(world.folder, 'policy.yaml');
    const begun = await world.glovebox([
      'run',
      '--detach',
      '--name',
      'last',
      '--policy',
      policy,
      '--',
      'sleep',
      '600',
    ]);
    expect(begun.code).toBe(0);
    // The control of the search: while it runs, each kind of what is looked for is found.
    const kinds = new Set(remainsOf(world).map((line) => line.split(':')[0]));
    expect([...kinds]).toEqual(expect.arrayContaining(['process', 'mount', 'run folder']));
    const below = descendants(daemon);
    expect((await world.glovebox(['down'])).code).toBe(0);
    expect(below.filter(({ pid }) => isAlive(pid))).toEqual([]);
    expect(remainsOf(world)).toEqual([]);
    expect((await world.glovebox(['up'])).code).toBe(0);
    expect(await world.session('last')).toMatchObject({ state: 'ended', reason: 'stopped' });
    const verified = await world.glovebox(['audit', 'verify']);
    // 3: whole, under the keys that this machine itself showed.
    expect([verified.code, verified.err]).toEqual([3, '']);
  });
});
