import { chmodSync, existsSync, mkdirSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { ControlPlaneWorld, descendantsOf, isRunning, until } from './control-plane-world.ts';

describe('the control plane, whole', () => {
  const world = new ControlPlaneWorld();
  beforeAll(async () => {
    await world.start();
    await world.waiveWhatIsMissing();
  });
  afterAll(async () => await world.close());

  test('runs a command sealed, keeps its output and its staged changes, and says how it ended', async () => {
    const { id } = await world.run(['sh', '-c', 'echo out; echo new > made.txt; exit 3']);
    const ended = await world.untilState(id, 'ended');
    expect(ended).toMatchObject({ reason: 'exited', exitCode: 3, changes: 'kept' });
    expect((await world.call('GET', `/v1/sessions/${id}/logs`)).body).toContain('out\n');
    expect(readdirSync(world.workspace)).not.toContain('made.txt');
    const changes = await world.call('GET', `/v1/sessions/${id}/changes`);
    expect(changes.body).toMatchObject({
      changes: [expect.objectContaining({ path: 'made.txt', kind: 'added' })],
    });
    const audit = await world.call('GET', `/v1/audit?session=${id}`);
    expect((audit.body as { record: { operation: string } }[]).map((one) => one.record.operation)).toEqual([
      'session.start',
      'session.end',
    ]);
  });

  test('a session is found by name and by the start of its id', async () => {
    const { id } = await world.run(['true'], { name: 'by-name' });
    await world.untilState(id, 'ended');
    expect((await world.session('by-name'))['id']).toBe(id);
    expect((await world.session(id.slice(0, 8)))['id']).toBe(id);
    expect((await world.call('GET', '/v1/sessions/zzzz')).status).toBe(404);
  });

  test('stop ends a command in order, and its processes with it', async () => {
    const { id } = await world.run(['sh', '-c', 'trap "exit 9" TERM; while :; do sleep 0.1; done']);
    await world.untilState(id, 'running');
    const stopped = await world.call('POST', `/v1/sessions/${id}/stop`);
    expect(stopped.body).toMatchObject({ state: 'ended', reason: 'stopped', exitCode: 9 });
  });

  test('a log that is followed goes on to the session’s end', async () => {
    const { id } = await world.run(['sh', '-c', 'echo first; sleep 2; echo second']);
    await world.untilState(id, 'running');
    const [now, followed] = await Promise.all([
      world.call('GET', `/v1/sessions/${id}/logs`),
      world.call('GET', `/v1/sessions/${id}/logs?follow=true`),
    ]);
    expect(now.body).not.toContain('second');
    expect(followed.body).toBe('first\nsecond\n');
    expect((await world.call('GET', `/v1/sessions/${id}/logs?follow=true`)).body).toBe('first\nsecond\n');
  });

  test('a time limit ends a session and says so', async () => {
    const { id } = await world.run(['sleep', '600'], { ttlSeconds: 2 });
    expect(await world.untilState(id, 'ended')).toMatchObject({ reason: 'time-limit' });
  });

  const refused: readonly [string, string, () => object][] = [
    ['a missing workspace', 'GB_WORKSPACE_REFUSED', () => ({ workspace: join(world.folder, 'nowhere') })],
    ['the root folder', 'GB_WORKSPACE_REFUSED', () => ({ workspace: '/' })],
    ['the home folder', 'GB_WORKSPACE_REFUSED', () => ({ workspace: world.folder })],
    ['Glovebox’s own state', 'GB_WORKSPACE_REFUSED', () => ({ workspace: world.state })],
    ['a command that does not exist', 'GB_COMMAND_NOT_FOUND', () => ({ command: ['no-such-program-here'] })],
    ['an empty command', 'GB_COMMAND_NOT_FOUND', () => ({ command: [''] })],
    [
      'a policy with an unknown key',
      'GB_POLICY_INVALID',
      () => ({ policy: { text: 'version: 1\negres: []\n', file: 'p.yaml' } }),
    ],
    ['an unknown preset', 'GB_NOT_FOUND', () => ({ preset: 'claud' })],
    ['a preset whose secret is not set', 'GB_', () => ({ preset: 'claude', command: ['claude'] })],
    ['an unknown key', 'GB_INPUT_INVALID', () => ({ sandbox: 'off' })],
  ];
  test.each(refused)('%s is refused, and nothing is half-done', async (_, code, change) => {
    const before = (await world.call('GET', '/v1/sessions?all=true')).body as unknown[];
    const answer = await world.call('POST', '/v1/sessions', {
      command: ['true'],
      workspace: world.workspace,
      detach: true,
      ...change(),
    });
    expect(JSON.stringify(answer.body)).toContain(code);
    expect(answer.status).toBeGreaterThanOrEqual(400);
    expect((await world.call('GET', '/v1/sessions?all=true')).body).toHaveLength(before.length);
  });

  test('the API is described as OpenAPI 3.1, each operation by its registry name', async () => {
    const { body } = await world.call('GET', '/openapi.json');
    expect(body).toMatchObject({
      openapi: '3.1.0',
      paths: { '/v1/sessions': { post: { operationId: 'createSession' } } },
    });
  });

  test('a second control plane is refused in one line, and the first goes on', async () => {
    const second = world.spawn();
    expect(await second.exited).toBe(75);
    expect(second.output().trim().split('\n').at(-1)).toContain('GB_ALREADY_RUNNING');
    expect((await world.call('GET', '/v1/health')).status).toBe(200);
  });

  test('[R46] killed, nothing of it lives on; the next start says what was open, and keeps its changes', async () => {
    const { id } = await world.run(['sh', '-c', 'echo kept > kept.txt; sleep 600']);
    await world.untilState(id, 'running');
    const below = descendantsOf(world.pid);
    expect(below.length).toBeGreaterThan(4);
    await world.kill('SIGKILL');
    await until(async () => below.every((pid) => !isRunning(pid)));
    expect(existsSync(world.socket)).toBe(true);
    await world.start();
    expect(await world.session(id)).toMatchObject({ state: 'ended', reason: 'daemon-died', changes: 'kept' });
    const next = await world.run(['true']);
    expect(await world.untilState(next.id, 'ended')).toMatchObject({ reason: 'exited', exitCode: 0 });
  });

  test('[R26] SIGTERM ends everything in order, with nothing left', async () => {
    const { id } = await world.run(['sleep', '600']);
    await world.untilState(id, 'running');
    const below = descendantsOf(world.pid);
    await world.kill('SIGTERM');
    expect(below.filter(isRunning)).toEqual([]);
    expect(existsSync(world.socket)).toBe(false);
    await world.start();
    expect(await world.session(id)).toMatchObject({ state: 'ended', reason: 'stopped' });
  });
});

describe('what a start refuses', () => {
  const world = new ControlPlaneWorld();
  afterAll(async () => await world.close());

  test('a state folder that others may look into', async () => {
    mkdirSync(world.state, { mode: 0o755 });
    chmodSync(world.state, 0o755);
    const refused = world.spawn();
    expect(await refused.exited).toBe(78);
    expect(refused.output().trim().split('\n').at(-1)).toContain('GB_STATE_REFUSED');
  });

  test('a state folder of another version', async () => {
    chmodSync(world.state, 0o700);
    writeFileSync(join(world.state, 'VERSION'), '99\n');
    const refused = world.spawn();
    expect(await refused.exited).toBe(78);
    expect(refused.output()).toContain('99');
  });
});
