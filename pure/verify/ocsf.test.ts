import { describe, expect, it } from 'vitest';
import type { AuditRecord } from '../contracts/index.ts';
import { chainRecord, fromOcsf, toOcsf, type ExportLine } from './index.ts';

const record: AuditRecord = {
  version: 1,
  id: 'a'.repeat(26),
  session: 'b'.repeat(26),
  turn: 'c'.repeat(26),
  user: 'local/1000',
  sandbox: 'd'.repeat(26),
  component: 'sidecar',
  kind: 'outcome',
  intent: 'e'.repeat(26),
  operation: 'files.write',
  args_hash: '0'.repeat(64),
  scope: 'files:write:/shared/a',
  decision: 'allow',
  rule: 'tools.allow',
  outcome: 'ok',
  detail: 'done',
  time: '2026-11-22T18:00:00.000Z',
};
const lineOf = (over: Partial<AuditRecord> = {}): ExportLine => ({
  type: 'record',
  ...chainRecord(undefined, 7, { ...record, ...over }),
});
const header: ExportLine = { type: 'glovebox-audit', version: 1, session: null };

/**
 * Names, requirements and values as schema.ocsf.io has them for 1.3.0: class 6003 with the profile security_control, and class 0.
 */
const published = {
  6003: {
    required: 'activity_id actor api category_uid class_uid metadata severity_id src_endpoint time type_uid',
    known: `action_id activity_name category_name class_name disposition_id message resources status status_detail status_id unmapped`,
  },
  0: {
    required: 'activity_id category_uid class_uid metadata severity_id time type_uid',
    known: 'activity_name category_name class_name message unmapped',
  },
} as const;
const known = {
  actor: 'app_name app_uid authorizations idp process session user',
  api: 'group operation request response service version',
  metadata: 'correlation_uid event_code log_name original_time product profiles sequence uid version',
  src_endpoint: 'hostname ip name port svc_name uid',
};
const names = (text: string): string[] => text.split(' ');

describe('an OCSF event', () => {
  it.each([6003, 0] as const)(
    'of class %i has what the class requires, and only names that it knows',
    (uid) => {
      const event = toOcsf(uid === 0 ? header : lineOf(), 5);
      const { required, known: others } = published[uid];
      expect(event['class_uid']).toBe(uid);
      expect(Object.keys(event)).toEqual(expect.arrayContaining(names(required)));
      expect([...names(required), ...names(others)]).toEqual(expect.arrayContaining(Object.keys(event)));
      expect(event['type_uid']).toBe(uid * 100 + Number(event['activity_id']));
      for (const [name, of] of Object.entries(known)) {
        const value = event[name];
        if (typeof value === 'object' && value !== null)
          expect(names(of)).toEqual(expect.arrayContaining(Object.keys(value)));
      }
      expect(event['metadata']).toMatchObject({ version: '1.3.0', product: { vendor_name: 'Glovebox' } });
    },
  );

  it.each([
    [{ operation: 'files.read' }, { activity_id: 2, activity_name: 'Read' }],
    [{ operation: 'files.write' }, { activity_id: 3, activity_name: 'Update' }],
    [{ operation: 'egress:DELETE' }, { activity_id: 4 }],
    [{ operation: 'session.end' }, { activity_id: 99, activity_name: 'session.end' }],
    [{ outcome: 'ok' }, { status_id: 1 }],
    [{ outcome: 'error' }, { status_id: 2 }],
    [{ outcome: 'unknown' }, { status_id: 0 }],
    [
      { kind: 'intent', outcome: undefined },
      { status_id: 99, status: 'Intent' },
    ],
    [{ decision: 'deny' }, { action_id: 2, disposition_id: 2, severity_id: 3 }],
    [{ decision: 'allow' }, { action_id: 1, disposition_id: 1, severity_id: 1 }],
  ] as const)('%o is %o', (over, expected) => {
    expect(toOcsf(lineOf(over as Partial<AuditRecord>), 0)).toMatchObject(expected);
  });

  it('[R41] carries its line, and says nothing that the line does not', () => {
    for (const line of [lineOf(), header]) {
      const text = JSON.stringify(toOcsf(line, 5));
      expect(fromOcsf(text)).toBe(JSON.stringify(line));
    }
    const event = toOcsf(lineOf(), 5);
    for (const [name, value] of Object.entries(event)) {
      if (name === 'unmapped') continue;
      const changed = typeof value === 'number' ? value + 1 : 'other';
      expect(fromOcsf(JSON.stringify({ ...event, [name]: changed })), name).toBeUndefined();
      expect(fromOcsf(JSON.stringify({ ...event, [name]: undefined })), `without ${name}`).toBeUndefined();
    }
    expect(fromOcsf(JSON.stringify({ ...event, more: 1 }))).toBeUndefined();
    expect(fromOcsf(JSON.stringify(event, null, 1))).toBeUndefined();
    expect(fromOcsf('{"class_uid":')).toBeUndefined();
  });
});
