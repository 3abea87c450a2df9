import { z } from 'zod';
import type { AuditRecord } from '../contracts/index.ts';
import { checkpointPayload } from './checkpoint.ts';
import { exportLine, type ExportLine } from './export-format.ts';

/**
 * The trail as OCSF events (schema 1.3.0): records as API Activity (class 6003, profile security_control), the lines between them
 * (header, checkpoints, tombstone) as Base Event (class 0). Each event carries its line of the export in `unmapped.glovebox`, so the
 * trail verifies from the events alone, and everything else in an event is compared with what that line says.
 */
const schemaVersion = '1.3.0';
const product = { name: 'Glovebox', vendor_name: 'Glovebox' } as const;

export type OcsfEvent = Readonly<Record<string, unknown>>;

/** `at`: the time of what has none of its own (the header), in milliseconds. */
export function toOcsf(line: ExportLine, at: number): OcsfEvent {
  return line.type === 'record'
    ? apiActivity(line)
    : baseEvent(line, line.type === 'checkpoint' ? timeOf(line.token, at) : at);
}

const carrier = z.looseObject({ time: z.int(), unmapped: z.strictObject({ glovebox: exportLine }) });

/** The line of the export in an event; undefined where the event says anything that the line does not. */
export function fromOcsf(text: string): string | undefined {
  const parsed = carrier.safeParse(jsonOf(text));
  if (!parsed.success) return undefined;
  const { time, unmapped } = parsed.data;
  return JSON.stringify(toOcsf(unmapped.glovebox, time)) === text
    ? JSON.stringify(unmapped.glovebox)
    : undefined;
}

export const looksLikeOcsf = (text: string): boolean => /^\{"class_uid":\d+,/.test(text);

function apiActivity(line: Extract<ExportLine, { type: 'record' }>): OcsfEvent {
  const { record, seq } = line;
  const activity = activityOf(record);
  const allowed = record.decision === 'allow';
  return {
    class_uid: 6003,
    class_name: 'API Activity',
    category_uid: 6,
    category_name: 'Application Activity',
    ...activity,
    type_uid: 600_300 + activity.activity_id,
    time: Date.parse(record.time),
    severity_id: record.operation === 'audit.reject' ? 4 : allowed ? 1 : 3,
    ...statusOf(record),
    action_id: allowed ? 1 : 2,
    // Blocked, Allowed; a question that stands is neither yet.
    disposition_id: record.decision === 'ask' ? 0 : allowed ? 1 : 2,
    message: `${record.kind} ${record.operation}: ${record.decision} by ${record.rule}`,
    metadata: {
      version: schemaVersion,
      product,
      profiles: ['security_control'],
      uid: record.id,
      sequence: seq,
      log_name: 'audit',
      ...(record.intent === undefined ? {} : { correlation_uid: record.intent }),
    },
    actor: {
      app_name: record.component,
      session: { uid: record.session },
      ...(record.user === null ? {} : { user: { uid: record.user } }),
      authorizations: [{ decision: record.decision, policy: { name: record.rule } }],
    },
    api: { operation: record.operation, service: { name: 'glovebox' }, request: { uid: record.id } },
    src_endpoint: { uid: record.sandbox ?? record.session, svc_name: record.component },
    ...(record.scope === undefined ? {} : { resources: [{ name: record.scope }] }),
    ...(record.detail === undefined ? {} : { status_detail: record.detail }),
    unmapped: { glovebox: line },
  };
}

function baseEvent(line: Exclude<ExportLine, { type: 'record' }>, time: number): OcsfEvent {
  return {
    class_uid: 0,
    class_name: 'Base Event',
    category_uid: 0,
    category_name: 'Uncategorized',
    activity_id: 99,
    activity_name: line.type,
    type_uid: 99,
    time,
    severity_id: 1,
    message: `the trail’s ${line.type === 'glovebox-audit' ? 'header' : line.type}`,
    metadata: { version: schemaVersion, product, log_name: 'audit' },
    unmapped: { glovebox: line },
  };
}

const verbs = new Map([
  ...['list', 'read', 'search', 'get', 'GET', 'HEAD', 'OPTIONS'].map((verb) => [verb, 2] as const),
  ...['write', 'put', 'set', 'POST', 'PUT', 'PATCH', 'apply'].map((verb) => [verb, 3] as const),
  ...['create', 'start'].map((verb) => [verb, 1] as const),
  ...['delete', 'remove', 'discard', 'DELETE'].map((verb) => [verb, 4] as const),
]);
const activityNames = ['Unknown', 'Create', 'Read', 'Update', 'Delete'];

function activityOf({ operation }: AuditRecord): {
  readonly activity_id: number;
  readonly activity_name: string;
} {
  const id = verbs.get(/[^.:]*$/.exec(operation)?.[0] ?? '') ?? 99;
  return { activity_id: id, activity_name: activityNames[id] ?? operation };
}

function statusOf({ kind, outcome }: AuditRecord): { readonly status_id: number; readonly status: string } {
  if (outcome === 'ok') return { status_id: 1, status: 'Success' };
  if (outcome === 'error' || outcome === 'denied') return { status_id: 2, status: 'Failure' };
  if (kind === 'intent') return { status_id: 99, status: 'Intent' };
  return { status_id: 0, status: 'Unknown' };
}

/** A checkpoint says its own time, in the part that is signed; here it is only shown. */
function timeOf(token: string, otherwise: number): number {
  const body = token.split('.')[1] ?? '';
  const parsed = checkpointPayload.safeParse(jsonOf(Buffer.from(body, 'base64url').toString()));
  return parsed.success ? Date.parse(parsed.data.time) : otherwise;
}

function jsonOf(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
