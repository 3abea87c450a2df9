import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import type { JSONWebKeySet } from 'jose';
import { GloveboxError } from '../../../pure/contracts/index.ts';
import { connect } from '../connect.ts';
import { print, printJson, table } from '../output.ts';

type Options = Record<string, unknown>;
type AuditRecord = Readonly<Record<string, unknown>>;
const textOf = (value: unknown): string | undefined => (typeof value === 'string' ? value : undefined);

export async function audit(
  what: string | undefined,
  file: string | undefined,
  options: Options,
): Promise<number> {
  const session = textOf(options['session']);
  switch (what) {
    case undefined:
    case 'list':
      return list(session, options);
    case 'export':
      return exportTo(session, textOf(options['format']) ?? 'jsonl');
    case 'checkpoint':
      return checkpoint();
    case 'retain':
      return retain(textOf(options['older']), options['json'] === true);
    case 'keys':
      printJson(await currentKeys());
      return 0;
    case 'verify':
      return verify(file, session, options);
    default:
      throw new GloveboxError('GB_USAGE', {
        detail: `audit ${what}`,
        hint: 'It is glovebox audit, or audit with export, checkpoint, keys, verify [FILE] or retain.',
      });
  }
}

async function list(session: string | undefined, options: Options): Promise<number> {
  const limit = Number(textOf(options['limit']) ?? '50');
  if (!Number.isInteger(limit) || limit < 1 || limit > 10_000)
    throw new GloveboxError('GB_USAGE', { detail: '--limit', hint: 'It is a whole number from 1 to 10000.' });
  const records = await connect().client.call('audit', { query: { session, limit } });
  if (options['json'] === true) printJson(records);
  else if (records.length === 0) print('There are no records.');
  else process.stdout.write(recordTable(records));
  return 0;
}

/** A record, or a record within its place in the chain. */
function recordTable(found: readonly AuditRecord[]): string {
  const rows = found.map((one) => {
    const record = (
      typeof one['record'] === 'object' && one['record'] !== null ? one['record'] : one
    ) as AuditRecord;
    const cell = (name: string): string => {
      const value = record[name];
      if (value === undefined || value === null) return '-';
      return typeof value === 'string' ? value : JSON.stringify(value);
    };
    return [
      cell('time').replace('T', ' ').slice(0, 19),
      cell('session').slice(0, 8),
      cell('kind'),
      cell('operation'),
      cell('decision'),
      cell('outcome'),
      cell('scope') === '-' ? cell('detail') : cell('scope'),
      cell('rule'),
      cell('user'),
    ];
  });
  return table(
    ['TIME (UTC)', 'SESSION', 'KIND', 'OPERATION', 'DECISION', 'OUTCOME', 'SCOPE', 'RULE', 'USER'],
    rows,
    50,
  );
}

async function exportTo(session: string | undefined, format: string): Promise<number> {
  if (format !== 'jsonl' && format !== 'ocsf')
    throw new GloveboxError('GB_USAGE', { detail: `--format ${format}`, hint: 'It is jsonl or ocsf.' });
  const { stdout } = process;
  if (format === 'ocsf') {
    const { asOcsf } = await import('../audit-verify.ts');
    stdout.write(asOcsf(await exported(session)));
    return 0;
  }
  for await (const chunk of (await connect().client.exportAudit(session)) as AsyncIterable<Buffer>) {
    if (stdout.destroyed) break;
    await new Promise((resolve) => stdout.write(chunk, resolve));
  }
  return 0;
}

/** The newest checkpoint, for a witness: whoever has it can tell later what was changed or cut off before it. */
async function checkpoint(): Promise<number> {
  const { lastCheckpointOf } = await import('../audit-verify.ts');
  const token = lastCheckpointOf(await exported('system').catch(() => exported(undefined)));
  if (token === undefined)
    throw new GloveboxError('GB_NOT_FOUND', { what: 'checkpoint', detail: 'nothing is recorded yet' });
  print(token);
  return 0;
}

async function retain(older: string | undefined, json: boolean): Promise<number> {
  if (older === undefined)
    throw new GloveboxError('GB_USAGE', {
      detail: 'audit retain',
      hint: 'It needs --older, such as --older 90d.',
    });
  const { readDuration } = await import('../run/duration.ts');
  const before = new Date(Date.now() - readDuration(older) * 1000).toISOString();
  const { removed, checkpoint: number } = await connect().client.call('retainAudit', { body: { before } });
  if (json) printJson({ removed, checkpoint: number });
  else if (number === 0) print('No checkpoint is that old: nothing was taken away.');
  else print(`${removed} records were taken away, up to checkpoint ${number}; the rest verifies.`);
  return 0;
}

const currentKeys = async (): Promise<JSONWebKeySet> => await connect().client.call('publicKeys', {});

async function verify(
  file: string | undefined,
  session: string | undefined,
  options: Options,
): Promise<number> {
  const text = file === undefined ? await exported(session) : readInput(file);
  const witnessFile = textOf(options['checkpoint']) ?? textOf(options['witness']);
  const witness = witnessFile === undefined ? undefined : readInput(witnessFile).trim();
  const { readKeys, verifyAudit } = await import('../audit-verify.ts');
  const keysFile = textOf(options['keys']);
  const keys = keysFile === undefined ? await keysOfThisMachine() : readKeys(keysFile);
  const { result, lines } = await verifyAudit(text, keys, witness, keysFile !== undefined);
  if (options['json'] === true)
    printJson({ ...result, keys: keysFile === undefined ? 'first-seen' : 'given' });
  else for (const line of lines) print(line);
  if (!result.ok) return 1;
  return keysFile === undefined || result.uncovered > 0 ? unproven : 0;
}

/** Nothing is wrong, and not everything is proven: who wrote the trail chose the keys, or has not signed the end yet. */
const unproven = 3;

/** Those that were seen first, which a replaced key cannot replace here; but whoever replaced it from the start is believed. */
async function keysOfThisMachine(): Promise<JSONWebKeySet> {
  const { keptKeys, readKeys } = await import('../audit-verify.ts');
  const kept = keptKeys(connect().places.state);
  if (existsSync(kept)) return readKeys(kept);
  const keys = await currentKeys();
  writeFileSync(kept, `${JSON.stringify(keys, null, 2)}\n`, { mode: 0o600 });
  return keys;
}

async function exported(session: string | undefined): Promise<string> {
  const chunks: Buffer[] = [];
  for await (const chunk of (await connect().client.exportAudit(session)) as AsyncIterable<Buffer>)
    chunks.push(chunk);
  return Buffer.concat(chunks).toString('utf8');
}

function readInput(file: string): string {
  try {
    return readFileSync(file === '-' ? 0 : file, 'utf8');
  } catch (error) {
    const detail = error instanceof Error && 'code' in error ? String(error.code) : 'it cannot be read';
    throw new GloveboxError('GB_INPUT_INVALID', { what: `The file ${file}`, detail });
  }
}
