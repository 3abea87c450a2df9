import { GloveboxError } from './errors.ts';
import type { SessionId } from './ids.ts';
import { isLabel, type Workload } from './spiffe.ts';
import { isPattern, matches } from './subject-match.ts';

/**
 * Every subject of the bus, once. Permissions, documents and tests are made from this table; what is not in it nobody
 * may publish or subscribe to. NATS tells a receiver neither who published nor checks a reply subject, so each subject
 * carries its publisher's session or domain, and the permission pins it (R8, R9).
 */
type Kind = Workload['kind'];

/** `{session}`, `{replica}`, `{domain}`, `{name}`, `{server}` stand for the identity's own; `*` and `>` are NATS wildcards. */
interface Grant {
  readonly by: Kind;
  readonly as: string;
  /** Subscribing is permitted in this queue group only. */
  readonly queue?: string;
}

export interface SubjectEntry {
  readonly pattern: string;
  readonly payload: string;
  readonly publish: readonly Grant[];
  readonly subscribe: readonly Grant[];
}

export const auditStream = 'AUDIT';
export const auditConsumer = 'audit-writer';
/** In place of a session: what the control plane records of itself. Never a session id (those have 26 characters). */
export const systemChain = 'system';

const streamApi = (pattern: string, payload: string, by: readonly Kind[]): SubjectEntry => ({
  pattern,
  payload,
  publish: by.map((kind) => ({ by: kind, as: pattern })),
  subscribe: [],
});

export const subjects = {
  provider: {
    pattern: 'gb.provider.{domain}.{operation}.{session}',
    payload: 'Request: one operation, for the session in the subject. Answered on `reply`.',
    publish: [{ by: 'sidecar', as: 'gb.provider.*.*.{session}' }],
    subscribe: [{ by: 'provider', as: 'gb.provider.{domain}.*.*', queue: '{domain}' }],
  },
  audit: {
    pattern: 'gb.audit.{session}.{component}',
    payload: 'One audit record, stored by JetStream before it is acknowledged. No core subscriber.',
    publish: [
      { by: 'sidecar', as: 'gb.audit.{session}.sidecar' },
      { by: 'control-plane', as: 'gb.audit.*.control-plane' },
    ],
    subscribe: [],
  },
  input: {
    pattern: 'gb.session.{session}.input',
    payload: 'A user’s input: a JWS by the signer for this session and sequence; a sidecar drops all others.',
    publish: [{ by: 'control-plane', as: 'gb.session.*.input' }],
    subscribe: [{ by: 'sidecar', as: 'gb.session.{session}.input' }],
  },
  control: {
    pattern: 'gb.session.{session}.control',
    payload:
      'Turns, consent and revocation: a JWS by the signer for this session and sequence (ControlMessage); a sidecar drops all others.',
    publish: [{ by: 'control-plane', as: 'gb.session.*.control' }],
    subscribe: [{ by: 'sidecar', as: 'gb.session.{session}.control' }],
  },
  events: {
    pattern: 'gb.session.{session}.events',
    payload: 'What the sidecar reports of its session.',
    publish: [{ by: 'sidecar', as: 'gb.session.{session}.events' }],
    subscribe: [{ by: 'control-plane', as: 'gb.session.*.events' }],
  },
  presence: {
    pattern: 'gb.session.{session}.presence',
    payload: 'The sidecar is there.',
    publish: [{ by: 'sidecar', as: 'gb.session.{session}.presence' }],
    subscribe: [{ by: 'control-plane', as: 'gb.session.*.presence' }],
  },
  /**
   * Where a provider answers, and nowhere else: a request's reply subject is chosen by its sender and NATS does not check
   * it, so the answering side is pinned instead. A reply subject that leads into another's input or audit trail is refused
   * by the server, and a token of 128 random bits keeps a provider from answering what it was not asked.
   */
  reply: {
    pattern: '_INBOX.sidecar.{session}.reply.{domain}.{token}',
    payload: 'The answer to one request. The token is unguessable and good for one answer.',
    publish: [{ by: 'provider', as: '_INBOX.sidecar.*.reply.{domain}.*' }],
    subscribe: [],
  },
  sidecarInbox: {
    pattern: '_INBOX.sidecar.{session}.>',
    payload: 'The private inbox of one sidecar: answers of providers and of JetStream.',
    publish: [],
    subscribe: [{ by: 'sidecar', as: '_INBOX.sidecar.{session}.>' }],
  },
  providerInbox: {
    pattern: '_INBOX.provider.{domain}.{name}.>',
    payload: 'Replies to one provider (none today).',
    publish: [],
    subscribe: [{ by: 'provider', as: '_INBOX.provider.{domain}.{name}.>' }],
  },
  controlPlaneInbox: {
    pattern: '_INBOX.control-plane.{replica}.>',
    payload: 'Replies to one replica of the control plane.',
    publish: [],
    subscribe: [{ by: 'control-plane', as: '_INBOX.control-plane.{replica}.>' }],
  },
  secretBrokerInbox: {
    pattern: '_INBOX.secret-broker.>',
    payload: 'Replies of JetStream to the secret broker.',
    publish: [],
    subscribe: [{ by: 'secret-broker', as: '_INBOX.secret-broker.>' }],
  },
  streamCreate: streamApi(`$JS.API.STREAM.CREATE.${auditStream}`, 'Creates the stream.', ['control-plane']),
  streamUpdate: streamApi(`$JS.API.STREAM.UPDATE.${auditStream}`, 'Changes its bounds.', ['control-plane']),
  streamInfo: streamApi(`$JS.API.STREAM.INFO.${auditStream}`, 'Its state.', ['control-plane']),
  streamTrim: streamApi(
    `$JS.API.STREAM.PURGE.${auditStream}`,
    'Removes records that the writer has stored.',
    ['control-plane'],
  ),
  consumerCreate: streamApi(
    `$JS.API.CONSUMER.CREATE.${auditStream}.*`,
    'An ordered consumer, which starts where the store ends.',
    ['control-plane'],
  ),
  consumerDelete: streamApi(`$JS.API.CONSUMER.DELETE.${auditStream}.*`, 'Ends it.', ['control-plane']),
  consumerInfo: streamApi(`$JS.API.CONSUMER.INFO.${auditStream}.*`, 'Its state.', ['control-plane']),
  consumerNext: streamApi(
    `$JS.API.CONSUMER.MSG.NEXT.${auditStream}.*`,
    'The next records, in stream order.',
    ['control-plane'],
  ),
  /** The broker checks the intent that a sidecar names, by its sequence (DESIGN, invariant 7). */
  recordBySequence: streamApi(`$JS.API.STREAM.MSG.GET.${auditStream}`, 'One stored record by its sequence.', [
    'control-plane',
    'secret-broker',
  ]),
} as const satisfies Record<string, SubjectEntry>;

export type SubjectName = keyof typeof subjects;
const entries: readonly SubjectEntry[] = Object.values(subjects);

export interface SubjectPermissions {
  readonly publish: { readonly allow: readonly string[]; readonly deny: readonly string[] };
  /** An entry is a pattern, or a pattern, one space and a queue group (the only one in which it may be subscribed to). */
  readonly subscribe: { readonly allow: readonly string[]; readonly deny: readonly string[] };
}

const everything: readonly string[] = ['>'];

/** Exactly what an identity may do on the bus. To NATS an empty allow list means all: hence the deny (R10). */
export function permissionsFor(identity: Workload): SubjectPermissions {
  const publish = entries.flatMap((entry) => granted(entry.publish, identity));
  const subscribe = entries.flatMap((entry) => granted(entry.subscribe, identity));
  return {
    publish: { allow: publish, deny: publish.length === 0 ? everything : [] },
    subscribe: { allow: subscribe, deny: subscribe.length === 0 ? everything : [] },
  };
}

/** True for an identity that has business on the bus; the others are not let in at all. */
export const usesBus = (identity: Workload): boolean =>
  entries.some((entry) => [...entry.publish, ...entry.subscribe].some((grant) => grant.by === identity.kind));

/** The registry's own answer to "may it publish there?". */
export function mayPublish(identity: Workload, subject: string): boolean {
  const { allow, deny } = permissionsFor(identity).publish;
  return (
    allow.some((pattern) => matches(pattern, subject)) && !deny.some((pattern) => matches(pattern, subject))
  );
}

/**
 * The registry's own answer to "may it subscribe to that?". The server compares a subscription's tokens with the
 * permission's as text, so a permission that ends with `*` takes in a subscription that ends with `>`: deeper subjects
 * than the permission's. Hence nobody may publish below a subject that somebody subscribes to with a `*` at the end,
 * which the registry's test holds (R8).
 */
export function maySubscribe(identity: Workload, pattern: string, queue?: string): boolean {
  const { allow, deny } = permissionsFor(identity).subscribe;
  if (deny.some((denied) => matches(denied, pattern))) return false;
  return allow.some((entry) => {
    const [allowed = '', group] = entry.split(' ');
    const asText = allowed.endsWith('.*') ? pattern.replace(/\.>$/, '.*') : pattern;
    return matches(allowed, asText) && (group === undefined || group === queue);
  });
}

/** The prefix of an identity's private inbox; tokens, not dashes, keep two identities' inboxes apart. */
export function inboxPrefix(identity: Workload): string {
  const inbox = permissionsFor(identity)
    .subscribe.allow.map((entry) => entry.split(' ')[0] ?? '')
    .find((pattern) => pattern.startsWith('_INBOX.'));
  if (inbox === undefined)
    throw new GloveboxError('GB_INPUT_INVALID', {
      what: 'The identity',
      detail: `a ${identity.kind} has no inbox`,
    });
  return inbox.slice(0, -'.>'.length);
}

export type AuditComponent = 'sidecar' | 'control-plane';

export const providerSubject = (domain: string, operation: string, session: SessionId): string =>
  `gb.provider.${label(domain)}.${label(operation)}.${session}`;
export const providerSubscription = (
  domain: string,
): { readonly pattern: string; readonly queue: string } => ({
  pattern: `gb.provider.${label(domain)}.*.*`,
  queue: label(domain),
});
/** `token`: 128 random bits in lower-case hex. */
export const replySubject = (session: SessionId, domain: string, token: string): string =>
  `_INBOX.sidecar.${session}.reply.${label(domain)}.${token}`;
export const auditSubject = (session: SessionId | typeof systemChain, component: AuditComponent): string =>
  `gb.audit.${session}.${component}`;
export const inputSubject = (session: SessionId): string => `gb.session.${session}.input`;
export const controlSubject = (session: SessionId): string => `gb.session.${session}.control`;
export const eventsSubject = (session: SessionId): string => `gb.session.${session}.events`;
export const presenceSubject = (session: SessionId): string => `gb.session.${session}.presence`;
/** What the stream stores, and what a replica of the control plane listens to. */
export const auditPattern = 'gb.audit.*.*';
export const eventsPattern = 'gb.session.*.events';
export const presencePattern = 'gb.session.*.presence';

/** The tokens of a subject by the names of the registry's pattern; undefined where it is not of that form. */
export function parseSubject(
  name: SubjectName,
  subject: string,
): Readonly<Record<string, string>> | undefined {
  const wanted = subjects[name].pattern.split('.');
  const given = subject.split('.');
  if (wanted.length !== given.length || !isPattern(subject)) return undefined;
  const found: Record<string, string> = {};
  for (const [index, token] of wanted.entries()) {
    const there = given[index] ?? '';
    if (token.startsWith('{')) found[token.slice(1, -1)] = there;
    else if (token !== there) return undefined;
  }
  return found;
}

function granted(grants: readonly Grant[], identity: Workload): readonly string[] {
  return grants
    .filter((grant) => grant.by === identity.kind)
    .map((grant) => {
      const pattern = fill(grant.as, identity);
      return grant.queue === undefined ? pattern : `${pattern} ${fill(grant.queue, identity)}`;
    });
}

function fill(template: string, identity: Workload): string {
  const own: Readonly<Record<string, unknown>> = { ...identity };
  const text = template.replace(/\{(\w+)\}/g, (_, name: string) => token(own[name]));
  // A name that is no single token would widen the permission: no permission then.
  if (!isPattern(text)) throw notAToken();
  return text;
}

function token(value: unknown): string {
  if (typeof value === 'string' && /^[a-z0-9-]{1,64}$/.test(value)) return value;
  throw notAToken();
}

function label(text: string): string {
  if (isLabel(text)) return text;
  throw notAToken();
}

const notAToken = (): GloveboxError =>
  new GloveboxError('GB_INPUT_INVALID', {
    what: 'A name in a subject',
    detail: 'lower-case letters, digits and dashes only',
  });

const who = (grants: readonly Grant[]): string =>
  grants
    .map(
      (grant) =>
        `${grant.by}: \`${grant.as}\`${grant.queue === undefined ? '' : ` (queue \`${grant.queue}\`)`}`,
    )
    .join('<br>') || 'nobody';

/** docs/subjects.md. */
export function subjectDocs(): string {
  const rows = entries.map(
    (entry) =>
      `| \`${entry.pattern}\` | ${who(entry.publish)} | ${who(entry.subscribe)} | ${entry.payload} |`,
  );
  return [
    '# Subjects of the bus',
    '',
    'Generated from `pure/contracts/subjects.ts`, which also makes the permissions; a test compares. `{session}`, `{domain}`,',
    '`{name}` and `{replica}` are those of the connection’s own certificate. Whoever is not named may not.',
    '',
    '| subject | who publishes | who subscribes | payload |',
    '|---|---|---|---|',
    ...rows,
    '',
  ].join('\n');
}
