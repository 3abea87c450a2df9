import fc from 'fast-check';
import { CompactSign, exportJWK, generateKeyPair, type JSONWebKeySet } from 'jose';
import { beforeAll, describe, expect, it } from 'vitest';
import type { AuditRecord } from '../contracts/index.ts';
import {
  chainRecord,
  genesis,
  headAfter,
  inclusionOf,
  openIntents,
  rootOfHeads,
  tokenHash,
  verifyExport,
  type ChainedRecord,
  type ChainHead,
  type CheckpointPayload,
} from './index.ts';

interface Signer {
  readonly jwks: JSONWebKeySet;
  sign(payload: CheckpointPayload, typ?: string): Promise<string>;
}

async function createSigner(kid = 'checkpoint.one'): Promise<Signer> {
  const { publicKey, privateKey } = await generateKeyPair('EdDSA');
  return {
    jwks: { keys: [{ ...(await exportJWK(publicKey)), kid }] },
    sign: (payload, typ = 'glovebox-checkpoint+jws') =>
      new CompactSign(new TextEncoder().encode(JSON.stringify(payload)))
        .setProtectedHeader({ alg: 'EdDSA', kid, typ })
        .sign(privateKey),
  };
}

const sessions = ['a'.repeat(26), 'b'.repeat(26), 'c'.repeat(26)];
const idOf = (seq: number): string =>
  [...String(seq)]
    .map((digit) => 'abcdefghij'[Number(digit)] ?? '')
    .join('')
    .padEnd(26, 'z');

const recordAt = (seq: number, over: Partial<AuditRecord> = {}): AuditRecord => ({
  version: 1,
  id: idOf(seq),
  session: sessions[seq % 3] ?? '',
  turn: null,
  user: 'local/1000',
  sandbox: null,
  component: 'sidecar',
  kind: 'event',
  operation: `op.${seq}`,
  args_hash: null,
  decision: 'allow',
  rule: 'test',
  time: '2026-11-22T18:00:00.000Z',
  ...over,
});

interface Trail {
  readonly lines: string[];
  readonly tokens: string[];
  readonly heads: readonly ChainHead[];
}

/** Records 1 to `count`, a checkpoint after each of `at`. */
async function trail(
  signer: Signer,
  count: number,
  at: readonly number[],
  change?: (seq: number) => Partial<AuditRecord>,
): Promise<Trail> {
  const heads = new Map<string, ChainHead>();
  const lines = [JSON.stringify({ type: 'glovebox-audit', version: 1, session: null })];
  const tokens: string[] = [];
  for (let seq = 1; seq <= count; seq += 1) {
    const record = recordAt(seq, change?.(seq));
    const head = heads.get(record.session);
    const chained = chainRecord(head, seq, record);
    heads.set(record.session, headAfter(head, chained));
    lines.push(lineOf(chained));
    if (!at.includes(seq)) continue;
    const before = tokens.at(-1);
    const token = await signer.sign({
      version: 1,
      number: tokens.length + 1,
      time: '2026-11-22T18:00:00.000Z',
      stream_seq: seq,
      sessions: heads.size,
      records: seq,
      root: rootOfHeads([...heads.values()]),
      previous: before === undefined ? genesis : tokenHash(before),
    });
    tokens.push(token);
    lines.push(JSON.stringify({ type: 'checkpoint', token }));
  }
  return { lines, tokens, heads: [...heads.values()] };
}

const lineOf = ({ seq, prev, hash, record }: ChainedRecord): string =>
  JSON.stringify({ type: 'record', seq, prev, hash, record });

let signer: Signer;
let good: Trail;
beforeAll(async () => {
  signer = await createSigner();
  good = await trail(signer, 9, [4, 9]);
});

const verify = (lines: readonly string[], witness = good.tokens.at(-1)): ReturnType<typeof verifyExport> =>
  verifyExport(lines, signer.jwks, witness);

describe('[R41] the offline verifier', () => {
  it('control: an untouched export verifies, with and without the witness', async () => {
    const expected = { ok: true, records: 9, sessions: 3, checkpoints: 2, uncovered: 0, removed: 0 };
    expect(await verify(good.lines)).toEqual(expected);
    expect(await verifyExport(good.lines, signer.jwks)).toEqual(expected);
    expect(await verify(good.lines, good.tokens[0])).toEqual(expected);
  });

  it('finds any changed byte', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.nat(),
        fc.nat(),
        fc.integer({ min: 32, max: 126 }),
        async (whichLine, place, code) => {
          const index = whichLine % good.lines.length;
          const line = good.lines[index] ?? '';
          const at = place % line.length;
          const changed = line.slice(0, at) + String.fromCharCode(code) + line.slice(at + 1);
          fc.pre(changed !== line);
          const lines = good.lines.with(index, changed);
          expect((await verify(lines)).ok).toBe(false);
        },
      ),
      { numRuns: 300 },
    );
  });

  it('finds any removed, repeated or swapped line', async () => {
    for (let index = 0; index < good.lines.length; index += 1) {
      expect((await verify(good.lines.toSpliced(index, 1))).ok, `removed ${index}`).toBe(false);
      expect(
        (await verify(good.lines.toSpliced(index, 0, good.lines[index] ?? ''))).ok,
        `twice ${index}`,
      ).toBe(false);
      const next = good.lines[index + 1];
      if (next === undefined) continue;
      const swapped = good.lines.toSpliced(index, 2, next, good.lines[index] ?? '');
      expect((await verify(swapped)).ok, `swapped ${index}`).toBe(false);
    }
  });

  it('finds truncation at every line, given the latest checkpoint of a witness', async () => {
    for (let length = 0; length < good.lines.length; length += 1) {
      const result = await verify(good.lines.slice(0, length));
      expect(result.ok, `first ${length} lines`).toBe(false);
    }
    // Without a witness a cut at a checkpoint cannot be seen.
    expect(await verifyExport(good.lines.slice(0, 6), signer.jwks)).toMatchObject({ ok: true });
  });

  it('finds chains that were rebuilt after a change: their checkpoint is not signed', async () => {
    const rebuilt = await trail(signer, 9, [4, 9], (seq) => (seq === 2 ? { decision: 'deny' } : {}));
    // All hashes right; the checkpoints are the old ones.
    const lines = rebuilt.lines.map((line, index) =>
      line.includes('"checkpoint"') ? (good.lines[index] ?? '') : line,
    );
    expect((await verifyExport(lines, signer.jwks)).ok).toBe(false);
    // The holder of the signing key itself is caught by the witness.
    expect((await verifyExport(rebuilt.lines, signer.jwks)).ok).toBe(true);
    expect(await verify(rebuilt.lines)).toMatchObject({
      ok: false,
      problems: [{ problem: expect.stringContaining('swapped') as unknown }],
    });
  });

  it('finds an added record at the end of a chain under a checkpoint', async () => {
    const head = good.heads.find((one) => one.session === sessions[0]);
    const added = lineOf(chainRecord(head, 10, recordAt(10, { session: sessions[0] ?? '' })));
    expect((await verify(good.lines.toSpliced(-1, 0, added))).ok).toBe(false);
    // After the last checkpoint it is said to be uncovered.
    expect(await verify([...good.lines, added])).toMatchObject({ ok: true, uncovered: 1 });
  });

  it('finds a swapped checkpoint', async () => {
    const [first = '', second = ''] = good.lines.filter((line) => line.includes('"checkpoint"'));
    const swapped = good.lines.map((line) => (line === first ? second : line === second ? first : line));
    expect((await verify(swapped)).ok).toBe(false);
    expect((await verify(good.lines.map((line) => (line === first ? second : line)))).ok).toBe(false);
  });

  it('finds a replaced key, another purpose’s key, and another typ', async () => {
    const other = await createSigner();
    const forged = await trail(other, 9, [4, 9]);
    expect((await verifyExport(forged.lines, signer.jwks)).ok).toBe(false);
    // The key in the export's company was replaced too: the witness's checkpoint is of the old one.
    expect(await verifyExport(forged.lines, other.jwks, good.tokens[1])).toMatchObject({
      ok: false,
      problems: [{ problem: expect.stringContaining('another key') as unknown }],
    });
    const consent = await createSigner('consent.one');
    expect((await verifyExport((await trail(consent, 3, [3])).lines, consent.jwks)).ok).toBe(false);
    const typed: Signer = {
      jwks: signer.jwks,
      sign: (payload) => signer.sign(payload, 'glovebox-consent+jwt'),
    };
    expect((await verifyExport((await trail(typed, 3, [3])).lines, signer.jwks)).ok).toBe(false);
  });

  it('finds a record removed from a chain that no checkpoint covers yet', async () => {
    const { lines } = await trail(signer, 9, []);
    expect(await verifyExport(lines, signer.jwks)).toMatchObject({ ok: true, uncovered: 9 });
    expect((await verifyExport(lines.toSpliced(2, 1), signer.jwks)).ok).toBe(false);
  });

  it('finds a checkpoint left out of the signed sequence, by number and by link', async () => {
    const one = await trail(signer, 3, [3]);
    const payload: CheckpointPayload = {
      version: 1,
      number: 2,
      time: '2026-11-22T18:00:00.000Z',
      stream_seq: 3,
      sessions: 3,
      records: 3,
      root: rootOfHeads(one.heads),
      previous: tokenHash(one.tokens[0] ?? ''),
    };
    const next = async (over: Partial<CheckpointPayload>): Promise<boolean> => {
      const token = await signer.sign({ ...payload, ...over });
      return (await verifyExport([...one.lines, JSON.stringify({ type: 'checkpoint', token })], signer.jwks))
        .ok;
    };
    expect(await next({})).toBe(true);
    expect(await next({ number: 3 })).toBe(false);
    expect(await next({ previous: genesis })).toBe(false);
  });

  it('refuses a record with a control character, and a line in another spelling', async () => {
    const line = good.lines[1] ?? '';
    expect((await verify(good.lines.with(1, line.replace('op.1', 'op\\n1')))).ok).toBe(false);
    expect((await verify(good.lines.with(1, line.replace('{"type"', '{ "type"')))).ok).toBe(false);
    expect((await verify(good.lines.with(1, line.replace('"seq":1,', '"seq":1,"seq":1,')))).ok).toBe(false);
  });
});

describe('[R41] the export of one session', () => {
  async function exportOf(session: string): Promise<string[]> {
    const records = good.lines.filter((line) => line.includes('"record"') && line.includes(session));
    const inclusion = inclusionOf(session, good.heads);
    return [
      JSON.stringify({ type: 'glovebox-audit', version: 1, session }),
      ...records,
      JSON.stringify({ type: 'checkpoint', token: good.tokens[1], inclusion }),
    ];
  }

  it('verifies by its place under the checkpoint, without the other sessions', async () => {
    for (const session of sessions) {
      expect(await verify(await exportOf(session))).toMatchObject({ ok: true, records: 3, sessions: 1 });
    }
  });

  it('finds a chain that was rebuilt together with its head', async () => {
    const session = sessions[1] ?? '';
    const rebuilt = await trail(signer, 9, [], (seq) => (seq === 4 ? { decision: 'deny' } : {}));
    const head = rebuilt.heads.find((one) => one.session === session);
    const inclusion = { ...inclusionOf(session, good.heads), head };
    const lines = [
      JSON.stringify({ type: 'glovebox-audit', version: 1, session }),
      ...rebuilt.lines.filter((line) => line.includes('"record"') && line.includes(session)),
      JSON.stringify({ type: 'checkpoint', token: good.tokens[1], inclusion }),
    ];
    expect((await verify(lines)).ok).toBe(false);
  });

  it('finds what is removed, added, cut off, or of another session', async () => {
    const lines = await exportOf(sessions[1] ?? '');
    const other = await exportOf(sessions[2] ?? '');
    for (let index = 0; index < lines.length; index += 1) {
      expect((await verify(lines.toSpliced(index, 1))).ok, `removed ${index}`).toBe(false);
    }
    expect((await verify(lines.toSpliced(1, 0, other[1] ?? ''))).ok).toBe(false);
    expect((await verify(lines.with(-1, other.at(-1) ?? ''))).ok).toBe(false);
  });
});

it('openIntents: an intent is open until an outcome names it', () => {
  fc.assert(
    fc.property(
      fc.array(fc.record({ seq: fc.integer({ min: 1, max: 30 }), ended: fc.boolean() })),
      (entries) => {
        const unique = [...new Map(entries.map((entry) => [entry.seq, entry])).values()];
        const records = unique.flatMap(({ seq, ended }) => [
          recordAt(seq, { kind: 'intent' }),
          ...(ended ? [recordAt(seq + 100, { kind: 'outcome', intent: idOf(seq), outcome: 'ok' })] : []),
        ]);
        const open = unique.filter(({ ended }) => !ended).map(({ seq }) => idOf(seq));
        expect(openIntents(records).map((record) => record.id)).toEqual(open);
      },
    ),
  );
});
