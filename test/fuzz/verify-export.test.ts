import fc from 'fast-check';
import { beforeAll, describe, expect, it } from 'vitest';
import { encodeId, type AuditRecord } from '../../pure/contracts/index.ts';
import {
  chainRecord,
  exportLine,
  genesis,
  headAfter,
  rootOfHeads,
  tokenHash,
  toOcsf,
  verifyExport,
  type ChainHead,
} from '../../pure/verify/index.ts';
import { createCheckpointKey, type TestCheckpointKey } from '../../trusted/audit/testing.ts';

const runs = Number(process.env['GLOVEBOX_FUZZ_RUNS'] ?? 400);
let key: TestCheckpointKey;
let plain: string[];
let events: string[];
let witness: string;

const idOf = (n: number): string => encodeId(Uint8Array.from({ length: 16 }, (_, i) => (i === 0 ? n : 3)));

beforeAll(async () => {
  key = await createCheckpointKey();
  const heads = new Map<string, ChainHead>();
  plain = [JSON.stringify({ type: 'glovebox-audit', version: 1, session: null })];
  let previous = genesis;
  for (let seq = 1; seq <= 12; seq += 1) {
    const session = idOf(200 + (seq % 3));
    const record: AuditRecord = {
      version: 1,
      id: idOf(seq),
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
      detail: 'a detail',
      time: '2026-11-22T18:00:00.000Z',
    };
    const chained = chainRecord(heads.get(session), seq, record);
    heads.set(session, headAfter(heads.get(session), chained));
    plain.push(JSON.stringify({ type: 'record', seq, prev: chained.prev, hash: chained.hash, record }));
    if (seq % 4 !== 0) continue;
    const all = [...heads.values()];
    witness = await key.sign({
      version: 1,
      number: seq / 4,
      time: '2026-11-22T18:00:00.000Z',
      stream_seq: seq,
      sessions: all.length,
      records: seq,
      root: rootOfHeads(all),
      previous,
    });
    previous = tokenHash(witness);
    plain.push(JSON.stringify({ type: 'checkpoint', token: witness }));
  }
  events = plain.map((line) => JSON.stringify(toOcsf(exportLine.parse(JSON.parse(line)), 9)));
});

type Change = (lines: readonly string[]) => string[];
const at = fc.nat({ max: 1_000_000 });
/** What an attacker who has the file may do to it, without the key. */
const change: fc.Arbitrary<Change> = fc.oneof(
  at.map(
    (n): Change =>
      (lines) =>
        lines.toSpliced(n % lines.length, 1),
  ),
  fc.tuple(at, at).map(
    ([n, m]): Change =>
      (lines) =>
        lines.toSpliced(n % lines.length, 0, lines[m % lines.length] ?? ''),
  ),
  fc.tuple(at, at).map(([n, m]): Change => (lines) => {
    const [a, b] = [n % lines.length, m % lines.length];
    return lines.with(a, lines[b] ?? '').with(b, lines[a] ?? '');
  }),
  at.map(
    (n): Change =>
      (lines) =>
        lines.slice(0, n % lines.length),
  ),
  fc.tuple(at, at, fc.integer({ min: 1, max: 255 })).map(([n, m, bits]): Change => (lines) => {
    const bytes = Buffer.from(lines[n % lines.length] ?? '');
    const place = m % Math.max(1, bytes.length);
    bytes[place] = (bytes[place] ?? 0) ^ bits;
    return lines.with(n % lines.length, bytes.toString());
  }),
  fc.tuple(at, fc.string()).map(
    ([n, text]): Change =>
      (lines) =>
        lines.toSpliced(n % lines.length, 0, text),
  ),
  fc.tuple(at, fc.jsonValue()).map(
    ([n, value]): Change =>
      (lines) =>
        lines.with(n % lines.length, JSON.stringify(value)),
  ),
);

/** What a verifier may pass over: empty lines, and the header's time in OCSF, which nobody signs. */
const essence = (lines: readonly string[]): string =>
  lines
    .filter((line) => line !== '')
    .map((line) =>
      line.includes('"activity_name":"glovebox-audit"') ? line.replace(/"time":-?\d+/, '"time":0') : line,
    )
    .join('\n');

describe('[R41] the verifier, fuzzed', () => {
  it.each(['lines', 'OCSF'])(
    'finds every change of %s, given a witness’s checkpoint, and never fails itself',
    async (form) => {
      const good = form === 'OCSF' ? events : plain;
      expect(await verifyExport(good, key.jwks, witness)).toMatchObject({ ok: true, records: 12 });
      await fc.assert(
        fc.asyncProperty(fc.array(change, { minLength: 1, maxLength: 4 }), async (changes) => {
          const lines = changes.reduce<string[]>(
            (now, one) => (now.length === 0 ? now : one(now)),
            [...good],
          );
          const result = await verifyExport(lines, key.jwks, witness);
          if (essence(lines) === essence(good)) expect(result.ok).toBe(true);
          else expect(result.ok, lines.join('\n')).toBe(false);
        }),
        { numRuns: runs },
      );
    },
  );

  it('whatever is in the file, it answers', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.oneof(fc.string(), fc.json(), fc.constantFrom(...plain))),
        async (lines) => {
          expect(typeof (await verifyExport(lines, key.jwks)).ok).toBe('boolean');
        },
      ),
      { numRuns: runs },
    );
  });

  it('whatever the keys are, it answers, and trusts none of them', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(fc.dictionary(fc.string(), fc.jsonValue())), async (keys) => {
        const jwks = { keys };
        expect(await verifyExport(plain, jwks, witness)).toMatchObject({ ok: false });
      }),
      { numRuns: Math.min(runs, 200) },
    );
  });
});
