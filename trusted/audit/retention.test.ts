import { beforeEach, describe, expect, it } from 'vitest';
import { asSessionId, encodeId, type AuditRecord, type SessionId } from '../../pure/contracts/index.ts';
import {
  chainRecord,
  exportLine,
  genesis,
  headAfter,
  inclusionOf,
  retainOperation,
  rootOfHeads,
  tokenHash,
  toOcsf,
  verifyExport,
  type VerifyResult,
} from '../../pure/verify/index.ts';
import { exportAudit } from './export.ts';
import { MemoryAuditStore } from './memory-store.ts';
import { retainAudit } from './retention.ts';
import { createCheckpointKey, type TestCheckpointKey } from './testing.ts';

const idOf = (n: number): string =>
  encodeId(Uint8Array.from({ length: 16 }, (_, i) => (i < 2 ? (n >> (8 * i)) & 255 : 7)));
const alice: SessionId = asSessionId(idOf(1000));
const bob: SessionId = asSessionId(idOf(1001));
const day = (n: number): string => new Date(Date.UTC(2026, 0, n)).toISOString();

let key: TestCheckpointKey;
let store: MemoryAuditStore;
let now: number;

async function append(session: string, over: Partial<AuditRecord> = {}): Promise<void> {
  const seq = (await store.lastSeq()) + 1;
  const record: AuditRecord = {
    version: 1,
    id: idOf(seq),
    session,
    turn: null,
    user: 'local/1000',
    sandbox: null,
    component: session === 'system' ? 'control-plane' : 'sidecar',
    kind: 'event',
    operation: 'files.read',
    args_hash: null,
    decision: 'allow',
    rule: 'test',
    time: day(now),
    ...over,
  };
  const head = await store.head(session);
  const chained = chainRecord(head, seq, record);
  await store.append({
    afterSeq: seq - 1,
    records: [chained],
    heads: [headAfter(head, chained)],
    lastSeq: seq,
  });
}

async function checkpoint(): Promise<string> {
  const heads = await store.heads();
  const before = await store.lastCheckpoint();
  if (before?.payload.root === rootOfHeads(heads)) return before.token;
  const payload = {
    version: 1 as const,
    number: (before?.payload.number ?? 0) + 1,
    time: day(now),
    stream_seq: await store.lastSeq(),
    sessions: heads.length,
    records: heads.reduce((sum, { count }) => sum + count, 0),
    root: rootOfHeads(heads),
    previous: before === undefined ? genesis : tokenHash(before.token),
  };
  const token = await key.sign(payload);
  await store.addCheckpoint({ payload, token });
  return token;
}

const writer = {
  covered: async <T>(work: () => Promise<T>): Promise<T> => {
    await checkpoint();
    return await work();
  },
};
const order = async (detail: string): Promise<void> =>
  await append('system', { operation: retainOperation, detail, rule: 'operator' });
const retain = async (before: string) =>
  await retainAudit({ writer, store, record: order }, new Date(before));
const verify = async (lines: readonly string[], witness?: string): Promise<VerifyResult> =>
  await verifyExport(lines, key.jwks, witness);

/** Ten days, two sessions, a checkpoint a day. */
beforeEach(async () => {
  key = await createCheckpointKey();
  store = new MemoryAuditStore();
  for (now = 1; now <= 10; now += 1) {
    await append(alice);
    if (now > 4) await append(bob);
    await checkpoint();
  }
  now = 11;
});

describe('[R41] retention', () => {
  it('takes away what the checkpoint before the time covers; the rest verifies, with a tombstone', async () => {
    expect(await retain(day(6))).toEqual({ removed: 6, checkpoint: 5 });
    const lines = await exportAudit(writer, store);
    expect(await verify(lines)).toMatchObject({
      ok: true,
      records: 11,
      removed: 6,
      sessions: 3,
      uncovered: 0,
    });
    expect(await store.read({ limit: 99 })).toHaveLength(11);
  });

  it('again, later: one tombstone, further on; and nothing where nothing is old enough', async () => {
    await retain(day(4));
    expect(await retain(day(4))).toEqual({ removed: 0, checkpoint: 0 });
    now = 12;
    expect(await retain(day(8))).toMatchObject({ checkpoint: 7 });
    expect(await verify(await exportAudit(writer, store))).toMatchObject({ ok: true, removed: 10 });
  });

  it('one session’s export goes on from its place; one that is all gone is not found', async () => {
    await retain(day(6));
    expect(await verify(await exportAudit(writer, store, bob))).toMatchObject({
      ok: true,
      records: 5,
      removed: 1,
    });
    expect(await verify(await exportAudit(writer, store, alice))).toMatchObject({
      ok: true,
      records: 5,
      removed: 5,
    });
    now = 20;
    await append(bob);
    await checkpoint();
    now = 30;
    await retain(day(25));
    await expect(exportAudit(writer, store, alice)).rejects.toMatchObject({ code: 'GB_NOT_FOUND' });
  });

  it('a witness’s checkpoint from after it fits; one from before it is said to be too old', async () => {
    const tokens = (await store.checkpoints()).map(({ token }) => token);
    await retain(day(6));
    const lines = await exportAudit(writer, store);
    expect(await verify(lines, tokens[8])).toMatchObject({ ok: true });
    expect(await verify(lines, tokens[4])).toMatchObject({ ok: true });
    expect(await verify(lines, tokens[2])).toMatchObject({
      ok: false,
      problems: [{ problem: expect.stringContaining('older than what was kept') as string }],
    });
  });

  it('changed records are not taken away, where nobody could see it any more', async () => {
    const read = store.read.bind(store);
    store.read = async (query) =>
      (await read(query)).map((one) => (one.seq === 2 ? { ...one, hash: 'f'.repeat(64) } : one));
    await expect(retain(day(6))).rejects.toMatchObject({ code: 'GB_AUDIT_TAMPERED' });
    store.read = read;
    expect(await store.read({ limit: 99 })).toHaveLength(16);
  });
});

describe('[R41] who takes records away without the right to', () => {
  /** A tombstone of a real checkpoint in place of the records before it, in an export that nobody ordered to cut. */
  async function cut(number: number): Promise<string[]> {
    const lines = await exportAudit(writer, store);
    const at = lines.findIndex((line) => JSON.parse(line).type === 'checkpoint' && number-- === 1);
    const heads = new Map<string, ReturnType<typeof headAfter>>();
    for (const text of lines.slice(1, at)) {
      const line = exportLine.parse(JSON.parse(text));
      if (line.type === 'record')
        heads.set(line.record.session, headAfter(heads.get(line.record.session), line));
    }
    const { token } = JSON.parse(lines[at] ?? '') as { token: string };
    const tombstone = { type: 'tombstone', token, heads: [...heads.values()] };
    return [lines[0] ?? '', JSON.stringify(tombstone), ...lines.slice(at + 1)];
  }

  it('has no order in the trail', async () => {
    expect(await verify(await cut(3))).toMatchObject({
      ok: false,
      problems: [{ problem: expect.stringContaining('no signed record orders it') as string }],
    });
  });

  it('the control: with the order, the same cut verifies', async () => {
    const { payload, token } = (await store.checkpoints())[2] ?? expect.fail('no checkpoint');
    const { retainDetail } = await import('../../pure/verify/index.ts');
    await order(retainDetail(payload, token));
    expect(await verify(await cut(3))).toMatchObject({ ok: true });
  });

  it('an order of an agent’s, of another checkpoint, or under no checkpoint yet, is none', async () => {
    const { retainDetail } = await import('../../pure/verify/index.ts');
    const [, second, third] = await store.checkpoints();
    if (second === undefined || third === undefined) throw new Error('no checkpoints');
    const detail = retainDetail(third.payload, third.token);
    await append(alice, { operation: retainOperation, detail });
    await append('system', {
      operation: retainOperation,
      detail: retainDetail(second.payload, second.token),
    });
    await append('system', { operation: retainOperation, detail, decision: 'deny' });
    await append('system', { operation: retainOperation, detail, component: 'sidecar' });
    expect(await verify(await cut(3))).toMatchObject({ ok: false });
    await order(detail);
    const lines = await cut(3);
    expect(await verify(lines)).toMatchObject({ ok: true });
    expect(await verify(lines.slice(0, -1))).toMatchObject({ ok: false });
  });

  it('cannot change, leave out or add a chain of the tombstone', async () => {
    await retain(day(6));
    const lines = await exportAudit(writer, store);
    const tombstone = JSON.parse(lines[1] ?? '') as { heads: { count: number; session: string }[] };
    const [first, second] = tombstone.heads;
    if (first === undefined || second === undefined) throw new Error('no heads');
    for (const heads of [
      [{ ...first, count: first.count + 1 }, second],
      [first],
      [first, second, second],
      [{ ...first, session: 'system' }, second],
      undefined,
    ])
      expect((await verify(lines.with(1, JSON.stringify({ ...tombstone, heads })))).ok).toBe(false);
    expect((await verify(lines.toSpliced(1, 1))).ok, 'no tombstone').toBe(false);
    expect((await verify(lines.toSpliced(2, 1))).ok, 'a record less').toBe(false);
    expect((await verify([...lines, lines[1] ?? ''])).ok, 'a second tombstone').toBe(false);
    expect((await verify([lines[1] ?? '', lines[0] ?? '', ...lines.slice(2)])).ok, 'in the wrong place').toBe(
      false,
    );
  });

  it('one session’s tombstone is of that session', async () => {
    await retain(day(6));
    const lines = await exportAudit(writer, store, bob);
    const tombstone = JSON.parse(lines[1] ?? '') as { token: string };
    const other = inclusionOf(alice, (await store.tombstone())?.heads ?? []);
    expect((await verify(lines.with(1, JSON.stringify({ ...tombstone, inclusion: other })))).ok).toBe(false);
  });
});

it('[R41] the same, as OCSF', async () => {
  await retain(day(6));
  const lines = await exportAudit(writer, store);
  const events = lines.map((line) => JSON.stringify(toOcsf(exportLine.parse(JSON.parse(line)), 0)));
  expect(await verify(events)).toEqual(await verify(lines));
});
