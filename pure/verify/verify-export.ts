import type { JSONWebKeySet } from 'jose';
import { genesis, headAfter, recordHash, type ChainHead } from './chain.ts';
import {
  includes,
  openCheckpoint,
  rootOfHeads,
  tokenHash,
  type CheckpointPayload,
  type Inclusion,
} from './checkpoint.ts';
import { exportLine, type ExportLine } from './export-format.ts';
import { fromOcsf, looksLikeOcsf } from './ocsf.ts';
import { headsOfTombstone, isRetainRecord, retainDetail } from './tombstone.ts';

export interface VerifyProblem {
  /** From 1; 0: the export as a whole. */
  readonly line: number;
  readonly problem: string;
}

export type VerifyResult =
  | {
      readonly ok: true;
      readonly records: number;
      readonly sessions: number;
      readonly checkpoints: number;
      /** Records after the last checkpoint: in order, but not yet under a signature. */
      readonly uncovered: number;
      /** Records that retention took away, as a signed tombstone says. */
      readonly removed: number;
    }
  | { readonly ok: false; readonly problems: readonly VerifyProblem[] };

/**
 * Verifies an export with nothing but public keys (R41). Chains show what was changed, removed, added or reordered inside;
 * signed checkpoints keep whoever holds the store from rebuilding the chains; a checkpoint that a witness kept shows
 * truncation and a replaced key: it must lie in what is exported, under the keys given here.
 */
export async function verifyExport(
  lines: Iterable<string>,
  jwks: JSONWebKeySet,
  witnessCheckpoint?: string,
): Promise<VerifyResult> {
  const check = new ExportCheck(jwks, witnessCheckpoint);
  let line = 0;
  for (const text of lines) {
    if (text.length === 0) continue;
    line += 1;
    // An event of OCSF carries its line; one that says more or other than that is no line.
    await check.line(line, looksLikeOcsf(text) ? (fromOcsf(text) ?? '') : text);
  }
  return check.end();
}

class ExportCheck {
  readonly #jwks: JSONWebKeySet;
  readonly #witness: string | undefined;
  readonly #problems: VerifyProblem[] = [];
  readonly #heads = new Map<string, ChainHead>();
  readonly #ids = new Set<string>();
  #session: string | null | undefined;
  #records = 0;
  #checkpoints = 0;
  #uncovered = 0;
  #lastSeq = 0;
  #removed = 0;
  #firstNumber = 0;
  #retained: { readonly detail: string; seq: number } | undefined;
  #before: { token: string; payload: CheckpointPayload } | undefined;
  #witnessSeen = false;

  constructor(jwks: JSONWebKeySet, witness: string | undefined) {
    this.#jwks = jwks;
    this.#witness = witness;
  }

  async line(line: number, text: string): Promise<void> {
    const parsed = parse(text);
    if (parsed === undefined) return this.#problem(line, 'not a line of an export');
    if (line === 1 && parsed.type !== 'glovebox-audit') this.#problem(1, 'the header is missing');
    switch (parsed.type) {
      case 'glovebox-audit':
        if (line !== 1) this.#problem(line, 'a second header');
        this.#session = parsed.session;
        return;
      case 'tombstone':
        return this.#tombstone(line, parsed);
      case 'record':
        return this.#record(line, parsed);
      case 'checkpoint':
        return this.#checkpoint(line, parsed);
    }
  }

  async end(): Promise<VerifyResult> {
    if (this.#session === undefined) this.#problem(0, 'the header is missing');
    this.#checkRetained();
    await this.#checkWitness();
    if (this.#problems.length > 0) return { ok: false, problems: this.#problems };
    return {
      ok: true,
      records: this.#records - this.#removed,
      sessions: this.#heads.size,
      checkpoints: this.#checkpoints,
      uncovered: this.#uncovered,
      removed: this.#removed,
    };
  }

  #record(line: number, { seq, prev, hash, record }: Extract<ExportLine, { type: 'record' }>): void {
    const head = this.#heads.get(record.session);
    if (typeof this.#session === 'string' && record.session !== this.#session) {
      this.#problem(line, `a record of another session (${record.session})`);
    }
    if (seq <= this.#lastSeq) this.#problem(line, `out of order: ${seq} after ${this.#lastSeq}`);
    const id = `${record.session}/${record.id}`;
    if (this.#ids.has(id)) this.#problem(line, `record ${record.id} is there twice`);
    if (prev !== (head?.hash ?? genesis)) {
      this.#problem(line, `record ${seq} does not follow the one before it in its session`);
    }
    if (recordHash(prev, seq, record) !== hash) this.#problem(line, `record ${seq} was changed`);
    if (this.#retained !== undefined && isRetainRecord(record, this.#retained.detail))
      this.#retained.seq = seq;
    this.#ids.add(id);
    this.#lastSeq = Math.max(seq, this.#lastSeq);
    this.#heads.set(record.session, headAfter(head, { seq, prev, hash, record }));
    this.#records += 1;
    this.#uncovered += 1;
  }

  async #tombstone(line: number, tombstone: Extract<ExportLine, { type: 'tombstone' }>): Promise<void> {
    if (line !== 2 || this.#session === undefined) return this.#problem(line, 'a tombstone stands elsewhere');
    const opened = await openCheckpoint(tombstone.token, this.#jwks);
    if (!opened.ok) return this.#problem(line, `the tombstone does not verify: ${opened.reason}`);
    const { payload } = opened;
    const heads = headsOfTombstone(tombstone, payload, this.#session);
    if (heads === undefined)
      return this.#problem(line, 'the tombstone’s chains are not those that its checkpoint was signed over');
    for (const head of heads) this.#heads.set(head.session, head);
    this.#removed = heads.reduce((sum, { count }) => sum + count, 0);
    this.#records = this.#removed;
    this.#lastSeq = payload.stream_seq;
    this.#before = { token: tombstone.token, payload };
    if (tombstone.token === this.#witness) this.#witnessSeen = true;
    this.#firstNumber = payload.number;
    if (this.#session === null) this.#retained = { detail: retainDetail(payload, tombstone.token), seq: 0 };
  }

  /** Somebody who may order it did: the order is in the trail, under a later checkpoint. */
  #checkRetained(): void {
    if (this.#retained === undefined) return;
    const { seq } = this.#retained;
    if (seq === 0 || (this.#before?.payload.stream_seq ?? 0) < seq)
      this.#problem(2, 'records were taken away, and no signed record orders it');
  }

  async #checkpoint(
    line: number,
    { token, inclusion }: Extract<ExportLine, { type: 'checkpoint' }>,
  ): Promise<void> {
    const opened = await openCheckpoint(token, this.#jwks);
    if (!opened.ok) return this.#problem(line, `a checkpoint does not verify: ${opened.reason}`);
    const { payload } = opened;
    const before = this.#before;
    if (payload.stream_seq < this.#lastSeq)
      this.#problem(line, 'a checkpoint stands after records that it does not cover');
    if (this.#session === null) {
      if (payload.number !== (before?.payload.number ?? 0) + 1)
        this.#problem(line, 'a checkpoint is missing or swapped');
      if (payload.previous !== (before === undefined ? genesis : tokenHash(before.token))) {
        this.#problem(line, 'a checkpoint does not follow the one before it');
      }
      this.#whole(line, payload);
    } else {
      if (before !== undefined && payload.number <= before.payload.number)
        this.#problem(line, 'checkpoints are out of order');
      this.#part(line, payload, inclusion);
    }
    this.#before = { token, payload };
    this.#checkpoints += 1;
    this.#uncovered = 0;
    if (token === this.#witness) this.#witnessSeen = true;
  }

  #whole(line: number, payload: CheckpointPayload): void {
    if (payload.records !== this.#records || payload.sessions !== this.#heads.size) {
      const there = `${this.#records} records of ${this.#heads.size} sessions`;
      this.#problem(
        line,
        `it covers ${payload.records} records of ${payload.sessions} sessions; there are ${there}`,
      );
    }
    if (payload.root !== rootOfHeads([...this.#heads.values()])) {
      this.#problem(line, 'the records are not those that the checkpoint was signed over');
    }
  }

  #part(line: number, payload: CheckpointPayload, inclusion: Inclusion | undefined): void {
    if (inclusion === undefined)
      return this.#problem(line, 'the session’s place under the checkpoint is missing');
    const head = this.#heads.get(inclusion.head.session);
    const same =
      head !== undefined &&
      inclusion.head.session === this.#session &&
      head.hash === inclusion.head.hash &&
      head.count === inclusion.head.count &&
      head.lastSeq === inclusion.head.lastSeq;
    if (!same || !includes(payload, inclusion)) {
      this.#problem(line, 'the records are not those that the checkpoint was signed over');
    }
  }

  async #checkWitness(): Promise<void> {
    if (this.#witness === undefined || this.#witnessSeen) return;
    const opened = await openCheckpoint(this.#witness, this.#jwks);
    if (!opened.ok) return this.#problem(0, `the witness’s checkpoint is of another key: ${opened.reason}`);
    const last = this.#before?.payload;
    const { number, stream_seq } = opened.payload;
    const gone = this.#retained !== undefined && number < this.#firstNumber;
    if (gone) return this.#problem(0, `the witness’s checkpoint ${number} is older than what was kept`);
    if (last === undefined || number > last.number) {
      return this.#problem(0, `truncated: the witness has checkpoint ${number}, up to record ${stream_seq}`);
    }
    const why = typeof this.#session === 'string' ? 'export all sessions to compare' : 'it was swapped';
    this.#problem(0, `the witness’s checkpoint ${number} is not in the export: ${why}`);
  }

  #problem(line: number, problem: string): void {
    this.#problems.push({ line, problem });
  }
}

function parse(text: string): ExportLine | undefined {
  try {
    const value: unknown = JSON.parse(text);
    const parsed = exportLine.safeParse(value);
    // A line says what it says once: another spelling of the same record (duplicate members, spaces) is a changed byte.
    return parsed.success && JSON.stringify(value) === text ? parsed.data : undefined;
  } catch (error) {
    if (error instanceof SyntaxError) return undefined;
    throw error;
  }
}
