import { encodeId, type AuditRecord } from '../../../pure/contracts/index.ts';
import { chainRecord, genesis, headAfter, rootOfHeads } from '../../../pure/verify/index.ts';
import type { TestCheckpointKey } from '../../../trusted/audit/testing.ts';

/** An export of two records and one checkpoint. */
export async function smallTrail(key: TestCheckpointKey): Promise<{ lines: string[]; token: string }> {
  const session = encodeId(new Uint8Array(16).fill(9));
  const recordAt = (seq: number): AuditRecord => ({
    version: 1,
    id: encodeId(new Uint8Array(16).fill(seq)),
    session,
    turn: null,
    user: 'local/1000',
    sandbox: null,
    component: 'sidecar',
    kind: 'event',
    operation: 'files.read',
    args_hash: null,
    decision: 'allow',
    rule: 'test',
    time: '2026-11-22T18:00:00.000Z',
  });
  const first = chainRecord(undefined, 1, recordAt(1));
  const second = chainRecord(headAfter(undefined, first), 2, recordAt(2));
  const head = headAfter(headAfter(undefined, first), second);
  const token = await key.sign({
    version: 1,
    number: 1,
    time: '2026-11-22T18:00:00.000Z',
    stream_seq: 2,
    sessions: 1,
    records: 2,
    root: rootOfHeads([head]),
    previous: genesis,
  });
  const lines = [
    { type: 'glovebox-audit', version: 1, session: null },
    ...[first, second].map(({ seq, prev, hash, record }) => ({ type: 'record', seq, prev, hash, record })),
    { type: 'checkpoint', token },
  ];
  return { lines: lines.map((line) => JSON.stringify(line)), token };
}
