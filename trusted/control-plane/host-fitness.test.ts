import { expect, test } from 'vitest';
import { GloveboxError, type Guarantee, type HostReport, type UserId } from '../../pure/contracts/index.ts';
import type { RunningSandbox, SandboxDriver, SandboxRequest } from '../drivers/index.ts';
import type { Waiver } from '../store/index.ts';
import { HostFitness } from './host-fitness.ts';
import type { AuditEvent } from './ports.ts';
import { onlyWhenFit } from './sandboxes.ts';

const alice = 'local/1000' as UserId;

/** A host without AppArmor, as its probe tells it. */
function report(waived: readonly string[]): HostReport {
  const apparmor: Guarantee = {
    id: 'apparmor',
    title: 'AppArmor',
    state: waived.includes('apparmor') ? 'waived' : 'missing',
    detail: 'this kernel has none',
    todo: 'Waive it.',
    waivable: true,
  };
  return { facts: {}, guarantees: [apparmor], fit: apparmor.state !== 'missing' };
}

function world(change: { probe?: () => Promise<HostReport>; audit?: () => Promise<void> } = {}) {
  const waivers = new Map<string, Waiver>();
  const steps: string[] = [];
  const records: AuditEvent[] = [];
  let probes = 0;
  const host = new HostFitness(
    {
      probe: async (waived) => {
        probes += 1;
        return change.probe === undefined ? report(waived) : await change.probe();
      },
    },
    {
      list: async () => [...waivers.values()],
      add: async (waiver) => {
        steps.push(`waived ${waiver.name}`);
        waivers.set(waiver.name, waiver);
        return true;
      },
      remove: async (name) => waivers.delete(name),
    },
    {
      record: async (event) => {
        await change.audit?.();
        steps.push(event.operation);
        records.push(event);
        return records.length;
      },
    },
    { now: () => 0 },
  );
  let started = 0;
  const driver: SandboxDriver = {
    start: async () => {
      started += 1;
      return {} as RunningSandbox;
    },
    reap: async () => ({ sandboxes: [], processes: 0, mounts: 0, cgroups: 0, left: [] }),
    openChanges: async () => undefined,
    removeChanges: async () => undefined,
    prepare: async () => undefined,
    close: async () => undefined,
  };
  const guarded = onlyWhenFit(driver, async () => await host.requireFit());
  const start = async (): Promise<unknown> => await guarded.start({} as SandboxRequest);
  return { host, steps, records, start, counts: () => ({ probes, started }) };
}

test('[R24] no sandbox starts on a host that lacks a guarantee; once it was waived by name, one does', async () => {
  const { host, start, counts } = world();
  await expect(start()).rejects.toMatchObject({ code: 'GB_HOST_UNFIT' });
  expect(counts().started).toBe(0);
  expect(await host.waived()).toEqual([]);
  await host.waive('apparmor', true, alice);
  await start();
  expect(counts().started).toBe(1);
  expect(await host.waived()).toEqual(['apparmor is waived: this kernel has none']);
  await host.waive('apparmor', false, alice);
  await expect(start()).rejects.toMatchObject({ code: 'GB_HOST_UNFIT' });
});

test('[R24] [R42] a waiver is recorded before it holds, and does not hold if it cannot be recorded', async () => {
  const recorded = world();
  await recorded.host.waive('apparmor', true, alice);
  expect(recorded.steps).toEqual(['host.waive', 'waived apparmor']);
  expect(recorded.records).toMatchObject([
    { session: 'system', decision: 'allow', detail: 'apparmor', user: alice },
  ]);

  const dark = world({
    audit: async () => {
      throw new GloveboxError('GB_AUDIT_UNAVAILABLE', { detail: 'the bus is down' });
    },
  });
  await expect(dark.host.waive('apparmor', true, alice)).rejects.toMatchObject({
    code: 'GB_AUDIT_UNAVAILABLE',
  });
  expect(dark.steps).toEqual([]);
  await expect(dark.start()).rejects.toMatchObject({ code: 'GB_HOST_UNFIT' });
});

test('a probe that fails starts nothing, and is tried again', async () => {
  let broken = true;
  const { start, counts } = world({
    probe: async () => {
      if (broken) throw new Error('no answer');
      return { facts: {}, guarantees: [], fit: true };
    },
  });
  await expect(start()).rejects.toThrow('no answer');
  expect(counts().started).toBe(0);
  broken = false;
  await start();
  await start();
  expect(counts()).toEqual({ probes: 2, started: 2 });
});
