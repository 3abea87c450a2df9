import { readFileSync } from 'node:fs';
import { GloveboxError } from '../../../pure/contracts/index.ts';
import { connect } from '../connect.ts';
import { print, printJson, table } from '../output.ts';

type Options = Record<string, unknown>;
type AuditRecord = Readonly<Record<string, unknown>>;

export async function audit(
  what: string | undefined,
  file: string | undefined,
  options: Options,
): Promise<number> {
  const session = typeof options['session'] === 'string' ? options['session'] : undefined;
  switch (what) {
    case undefined:
    case 'list':
      return list(session, options);
    case 'export':
      return exportTo(session);
    case 'verify':
      return verify(file, session, options['json'] === true);
    default:
      throw new GloveboxError('GB_USAGE', {
        detail: `audit ${what}`,
        hint: 'It is glovebox audit, glovebox audit export, or glovebox audit verify [FILE].',
      });
  }
}

async function list(session: string | undefined, options: Options): Promise<number> {
  const limit = typeof options['limit'] === 'string' ? Number(options['limit']) : 50;
  if (!Number.isInteger(limit) || limit < 1)
    throw new GloveboxError('GB_USAGE', { detail: '--limit', hint: 'It is a whole number from 1 on.' });
  const records = await connect().client.call('audit', { query: { session, limit } });
  if (options['json'] === true) printJson(records);
  else process.stdout.write(recordTable(records));
  return 0;
}

/** Record members may be named in either style; a column that a record has not is a dash. */
const cell = (record: AuditRecord, ...names: readonly string[]): string => {
  for (const name of names) {
    const value = record[name];
    if (value !== undefined && value !== null)
      return typeof value === 'string' ? value : JSON.stringify(value);
  }
  return '-';
};

function recordTable(records: readonly AuditRecord[]): string {
  const rows = records.map((record) => [
    cell(record, 'time', 'at', 'recordedAt'),
    cell(record, 'sessionName', 'session', 'session_id', 'sessionId').slice(0, 20),
    cell(record, 'kind', 'type', 'phase'),
    cell(record, 'operation'),
    cell(record, 'decision', 'outcome'),
    cell(record, 'rule'),
    cell(record, 'user'),
  ]);
  return table(['TIME', 'SESSION', 'KIND', 'OPERATION', 'DECISION', 'RULE', 'USER'], rows, 60);
}

async function exportTo(session: string | undefined): Promise<number> {
  const { stdout } = process;
  for await (const chunk of (await connect().client.exportAudit(session)) as AsyncIterable<Buffer>) {
    if (stdout.destroyed) break;
    await new Promise((resolve) => stdout.write(chunk, resolve));
  }
  return 0;
}

async function verify(file: string | undefined, session: string | undefined, json: boolean): Promise<number> {
  const text = file === undefined ? await exported(session) : readFile(file);
  const { verifyAuditText } = await import('../audit-verify.ts');
  const result = await verifyAuditText(text);
  if (json) printJson(result.report);
  else for (const line of result.lines) print(line);
  return result.ok ? 0 : 1;
}

async function exported(session: string | undefined): Promise<string> {
  const chunks: Buffer[] = [];
  for await (const chunk of (await connect().client.exportAudit(session)) as AsyncIterable<Buffer>)
    chunks.push(chunk);
  return Buffer.concat(chunks).toString('utf8');
}

function readFile(file: string): string {
  try {
    return readFileSync(file === '-' ? 0 : file, 'utf8');
  } catch (error) {
    const detail = error instanceof Error && 'code' in error ? String(error.code) : 'it cannot be read';
    throw new GloveboxError('GB_INPUT_INVALID', { what: `The file ${file}`, detail });
  }
}
