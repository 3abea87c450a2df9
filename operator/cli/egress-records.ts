import type { AuditRecord } from '../../pure/contracts/index.ts';
import type { OperatorClient } from '../client/index.ts';

/** One request through the egress proxy, its intent and its outcome in one. */
export interface EgressEntry {
  readonly time: string;
  readonly session: string;
  readonly user: string | null;
  readonly decision: AuditRecord['decision'];
  /** `open`: it was let through, and is not known to be over. */
  readonly outcome: NonNullable<AuditRecord['outcome']> | 'open';
  /** `CONNECT` where no request was seen. */
  readonly method: string;
  readonly url: string;
  readonly rule: string;
  readonly status: number | null;
  readonly address: string | null;
  readonly sent: number | null;
  readonly received: number | null;
  readonly ms: number | null;
  readonly detail: string | null;
}

type Part = Pick<AuditRecord, 'time' | 'session' | 'kind' | 'operation' | 'decision' | 'rule'> &
  Partial<AuditRecord>;

/** The trail of a session, page after page, from a place in it on. */
export async function* recordsOf(
  client: OperatorClient,
  session: string,
  from: { after: number },
): AsyncGenerator<Part> {
  const page = 1000;
  for (;;) {
    const found = (await client.call('audit', {
      query: { session, limit: page, after: from.after },
    })) as unknown as readonly { readonly seq: number; readonly record: Part }[];
    for (const { seq, record } of found) {
      from.after = seq;
      yield record;
    }
    if (found.length < page) return;
  }
}

/** What a record says of a request; null: it is of another kind. An outcome takes the place of its intent. */
export function entryOf(record: Part): EgressEntry | null {
  if (!record.operation.startsWith('egress:')) return null;
  const { egress } = record;
  return {
    time: record.time,
    session: record.session,
    user: record.user ?? null,
    decision: record.decision,
    outcome:
      record.kind === 'intent' ? 'open' : (record.outcome ?? (record.decision === 'allow' ? 'ok' : 'denied')),
    method: record.operation.slice('egress:'.length),
    url: egress?.url ?? '',
    rule: record.rule,
    status: egress?.status ?? null,
    address: egress?.address ?? null,
    sent: egress?.sent ?? null,
    received: egress?.received ?? null,
    ms: egress?.ms ?? null,
    detail: record.detail ?? null,
  };
}

/** The requests of a session so far, in the order in which they ended; those that are open last. */
export async function requestsOf(
  client: OperatorClient,
  session: string,
  from: { after: number },
): Promise<readonly EgressEntry[]> {
  const open = new Map<string, EgressEntry>();
  const ended: EgressEntry[] = [];
  for await (const record of recordsOf(client, session, from)) {
    const entry = entryOf(record);
    if (entry === null) continue;
    if (record.kind === 'intent' && record.id !== undefined) open.set(record.id, entry);
    else {
      if (record.intent !== undefined) open.delete(record.intent);
      ended.push(entry);
    }
  }
  return [...ended, ...open.values()];
}
