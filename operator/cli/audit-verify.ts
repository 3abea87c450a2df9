import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { JSONWebKeySet } from 'jose';
import { GloveboxError } from '../../pure/contracts/index.ts';
import { escapeUntrusted } from '../../pure/render/index.ts';
import { exportLine, toOcsf, verifyExport, type VerifyResult } from '../../pure/verify/index.ts';

export interface AuditVerdict {
  readonly result: VerifyResult;
  readonly lines: readonly string[];
}

const shownProblems = 20;

/** Checks an export with public keys and, where one was kept, a witness's checkpoint; nothing is asked of a control plane. */
export async function verifyAudit(
  text: string,
  keys: JSONWebKeySet,
  witness: string | undefined,
  keysGiven: boolean,
): Promise<AuditVerdict> {
  const result = await verifyExport(text.split('\n'), keys, witness);
  return { result, lines: linesOf(result, witness !== undefined, keysGiven) };
}

function linesOf(result: VerifyResult, witnessed: boolean, keysGiven: boolean): string[] {
  if (result.ok) {
    const open =
      result.uncovered === 0 ? '' : `; ${result.uncovered} after the last checkpoint, in order but unsigned`;
    const removed =
      result.removed === 0 ? '' : `; ${result.removed} before them were taken away by order (retention)`;
    return [
      `Whole: ${result.records} records of ${result.sessions} sessions under ${result.checkpoints} signed checkpoints${removed}${open}.`,
      ...(keysGiven
        ? []
        : [
            'NOT PROVEN: the keys are those that this machine showed first. Keep `glovebox audit keys` elsewhere, and give --keys FILE.',
          ]),
      ...(witnessed
        ? []
        : ['Without a witness’s checkpoint (--checkpoint FILE) a cut-off end cannot be seen.']),
    ];
  }
  const more = result.problems.length - shownProblems;
  return [
    `NOT whole: ${result.problems.length} problem${result.problems.length === 1 ? '' : 's'}.`,
    ...result.problems
      .slice(0, shownProblems)
      .map(
        ({ line, problem }) =>
          `  ${line === 0 ? 'export' : `line ${line}`}: ${escapeUntrusted(problem, 300)}`,
      ),
    ...(more > 0 ? [`  and ${more} more`] : []),
  ];
}

/** The lines of an export as OCSF events, which `audit verify` reads too. The header has the time of the first record. */
export function asOcsf(text: string): string {
  const lines = linesIn(text).map((line) => exportLine.parse(JSON.parse(line)));
  const first = lines.find((line) => line.type === 'record');
  const at = first?.type === 'record' ? Date.parse(first.record.time) : 0;
  return lines.map((line) => `${JSON.stringify(toOcsf(line, at))}\n`).join('');
}

export function lastCheckpointOf(text: string): string | undefined {
  const last = linesIn(text)
    .map((line) => exportLine.parse(JSON.parse(line)))
    .findLast((line) => line.type === 'checkpoint');
  return last?.type === 'checkpoint' ? last.token : undefined;
}

const linesIn = (text: string): string[] => text.split('\n').filter((line) => line !== '');

/** Public keys from a file: a JWKS, as `glovebox audit keys` prints it. */
export function readKeys(file: string): JSONWebKeySet {
  const refuse = (detail: string): GloveboxError =>
    new GloveboxError('GB_INPUT_INVALID', { what: `The key file ${file}`, detail });
  let value: unknown;
  try {
    value = JSON.parse(readFileSync(file, 'utf8'));
  } catch (error) {
    throw refuse(error instanceof SyntaxError ? 'it is not JSON' : 'it cannot be read');
  }
  if (typeof value !== 'object' || value === null || !('keys' in value) || !Array.isArray(value.keys))
    throw refuse('it is not a JSON Web Key Set');
  return value as JSONWebKeySet;
}

/** Where `audit keys` and `audit verify` keep the keys that they saw, so that a later check needs no control plane. */
export const keptKeys = (state: string): string => join(state, 'audit-keys.json');
