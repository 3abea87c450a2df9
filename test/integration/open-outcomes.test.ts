import { readFileSync } from 'node:fs';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import type { AuditRecord } from '../../pure/contracts/index.ts';
import { ControlPlaneWorld, descendantsOf, until } from './control-plane-world.ts';

/** An agent that asks for the same list again and again: one call at a time, each with its intent and its outcome. */
const agent = `while :; do curl -sS --max-time 600 -X POST -H 'content-type: application/json' -d '{"path":"/"}' http://127.0.0.1:9090/v1/tools/files_list; done`;
const policy = { text: "version: 1\ntools:\n  allow: ['files:read:/**']\n", file: 'policy.yaml' };

const titleOf = (pid: number): string => {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'latin1');
  } catch {
    // It ended meanwhile.
    return '';
  }
};

describe('[R42] an outcome that a crash left open', () => {
  const world = new ControlPlaneWorld();
  const programs = (title: string): number[] =>
    descendantsOf(world.pid).filter((pid) => titleOf(pid).includes(title));
  const records = async (id: string, limit = 1000): Promise<AuditRecord[]> => {
    const { body } = await world.call('GET', `/v1/audit?session=${id}&limit=${limit}`);
    return (body as { record: AuditRecord }[]).map(({ record }) => record);
  };
  const openOf = (found: readonly AuditRecord[]): AuditRecord[] =>
    found.filter(({ kind, id }) => kind === 'intent' && !found.some(({ intent }) => intent === id));

  let id = '';
  let open: AuditRecord;
  beforeAll(async () => {
    await world.start();
    await world.waiveWhatIsMissing();
  });
  afterAll(async () => await world.close());

  beforeEach(async () => {
    ({ id } = await world.run(['sh', '-c', agent], { policy }));
    await until(async () =>
      (await records(id)).some(({ outcome, intent }) => intent !== undefined && outcome === 'ok'),
    );
    // The provider is there and answers no more: whatever is asked from now on stays open.
    for (const pid of programs('glovebox-forwarder')) process.kill(pid, 'SIGSTOP');
    let same = 0;
    let last = '';
    await until(async () => {
      const [one] = openOf(await records(id, 20));
      same = one !== undefined && one.id === last ? same + 1 : 0;
      last = one?.id ?? '';
      return same === 5;
    });
    open = openOf(await records(id, 20))[0] as AuditRecord;
  });

  afterEach(() => {
    for (const pid of programs('glovebox-forwarder')) process.kill(pid, 'SIGCONT');
  });

  const isUnknown = async (): Promise<void> => {
    const found = await records(id);
    expect(openOf(found)).toEqual([]);
    expect(found.filter(({ intent }) => intent === open.id)).toEqual([
      expect.objectContaining({
        kind: 'outcome',
        outcome: 'unknown',
        component: 'control-plane',
        operation: open.operation,
        args_hash: open.args_hash,
        turn: open.turn,
        user: open.user,
      }),
    ]);
    // Never repeated by itself: no later intent, by anybody.
    expect(found.filter(({ kind }) => kind === 'intent').at(-1)?.id).toBe(open.id);
    // Control: an outcome that was known stays what it was.
    expect(found.some(({ outcome, intent }) => intent !== undefined && outcome === 'ok')).toBe(true);
  };

  test('the sidecar is killed: the end of its session says unknown', async () => {
    for (const pid of programs('glovebox-sidecar')) process.kill(pid, 'SIGKILL');
    await world.untilState(id, 'ended');
    await isUnknown();
  });

  test('the provider dies: the call ends as unknown at once, and the next ones are answered by its successor', async () => {
    for (const pid of programs('glovebox-forwarder')) process.kill(pid, 'SIGKILL');
    await until(async () => (await records(id)).some(({ intent }) => intent === open.id));
    const found = await records(id);
    expect(found.filter(({ intent }) => intent === open.id)).toMatchObject([
      { outcome: 'unknown', component: 'sidecar', detail: 'GB_PROVIDER_GONE' },
    ]);
    const later = (found: readonly AuditRecord[]): boolean =>
      found
        .slice(found.findIndex(({ intent }) => intent === open.id))
        .some(({ outcome }) => outcome === 'ok');
    await until(async () => later(await records(id)));
    expect(await world.session(id)).toMatchObject({ state: 'running' });
    await world.call('POST', `/v1/sessions/${id}/stop`);
  });

  test('the control plane is killed: its next start says unknown, once', async () => {
    await world.kill('SIGKILL');
    await world.start();
    expect(await world.session(id)).toMatchObject({ state: 'ended', reason: 'daemon-died' });
    await until(async () => openOf(await records(id)).length === 0);
    await isUnknown();
    const before = (await records(id)).length;
    await world.kill('SIGKILL');
    await world.start();
    expect(await records(id)).toHaveLength(before);
  });

  test('a limit gives the newest records, in their order', async () => {
    for (const pid of programs('glovebox-sidecar')) process.kill(pid, 'SIGKILL');
    await world.untilState(id, 'ended');
    await until(async () => openOf(await records(id)).length === 0);
    const all = (await records(id)).map((one) => one.id);
    expect(all.length).toBeGreaterThan(4);
    expect((await records(id, 3)).map((one) => one.id)).toEqual(all.slice(-3));
  });
});
