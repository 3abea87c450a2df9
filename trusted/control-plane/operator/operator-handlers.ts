import { createReadStream } from 'node:fs';
import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import {
  GloveboxError,
  isId,
  limits,
  type OperatorCaller,
  type PolicyStatus,
  type UserId,
} from '../../../pure/contracts/index.ts';
import type { SessionRecord } from '../../store/index.ts';
import type { BrowserDoor } from '../browser/browser-door.ts';
import { wordsOfScope } from '../../../pure/policy/index.ts';
import type { ApiTokens } from '../people/api-tokens.ts';
import type { GrantService } from '../consents/grant-service.ts';
import type { ConsentService } from '../consents/consent-service.ts';
import type { HostFitness } from '../host-fitness.ts';
import type { AuditReader, AuditTrail, WorkspaceChanges } from '../ports.ts';
import type { SecretKeeper } from '../secret-keeper.ts';
import type { Presets } from '../sessions/presets.ts';
import type { SessionService } from '../sessions/session-service.ts';
import type { SidecarPool } from '../sidecars/sidecar-pool.ts';
import { authorityHandlers, type AuthorityParts } from './authority-handlers.ts';
import { pullLines } from './pull-lines.ts';
import type { Images } from '../../images/index.ts';
import type { Metrics } from '../metrics.ts';
import { changeHandlers } from './change-handlers.ts';
import type { EventHub } from './event-hub.ts';
import { followOutput } from './follow-output.ts';
import type { OperatorHandlers } from './handlers.ts';

export interface OperatorParts extends Pick<AuthorityParts, 'ca' | 'revoke'> {
  readonly version: string;
  readonly startedAt: string;
  readonly sessionsFolder: string;
  readonly sessions: SessionService;
  readonly pool: Pick<SidecarPool, 'ready'>;
  readonly consents: ConsentService;
  readonly grants: GrantService;
  readonly tokens: ApiTokens;
  readonly secrets: Pick<SecretKeeper, 'sealingKey' | 'list' | 'put' | 'remove'>;
  readonly host: HostFitness;
  readonly changes: WorkspaceChanges;
  readonly presets: Presets;
  readonly images: Pick<Images, 'pull'>;
  readonly events: EventHub;
  readonly metrics: Pick<Metrics, 'text'>;
  readonly audit: AuditTrail;
  readonly auditReader: AuditReader;
  /** JWKS; what an audit export is verified with. */
  readonly publicKeys: () => Promise<{ readonly keys: readonly object[] }>;
  readonly browser: Pick<BrowserDoor, 'open' | 'close'>;
  readonly shutDown: () => void;
}

/** What a person may do, each in a few words; the rooms behind do the work. */
export function operatorHandlers(parts: OperatorParts): OperatorHandlers {
  const { sessions, consents, grants, tokens, secrets, host, changes, presets, events, audit, auditReader } =
    parts;
  const sessionIdOf = async (text: string | undefined): Promise<SessionRecord['id'] | null> =>
    text === undefined ? null : (await sessions.find(text)).id;
  const recorded = async (
    operation: string,
    user: UserId,
    detail: string,
    session: SessionRecord | null,
  ): Promise<number> =>
    await audit.record({
      session: session?.id ?? 'system',
      operation,
      decision: 'allow',
      rule: 'operator',
      detail,
      user,
    });
  return {
    health: async () => ({
      version: parts.version,
      pid: process.pid,
      startedAt: parts.startedAt,
      warmSidecars: parts.pool.ready,
    }),
    metrics: async () => {
      const { contentType, text } = await parts.metrics.text();
      return { contentType, stream: Readable.from([Buffer.from(text)], { objectMode: false }) };
    },
    host: async () => await host.refresh(),
    waive: async ({ caller, body }) => await host.waive(body.name, body.waived, caller.user),
    createSession: async ({ caller, body }) => await sessions.create(body, caller.user),
    pullImage: async ({ caller, body }) => {
      await recorded('image.pull', caller.user, body.reference, null);
      return { contentType: 'application/x-ndjson', stream: pullLines(parts.images, body.reference) };
    },
    listSessions: async ({ query }) => await sessions.list(query.all === 'true'),
    sessionUsage: async () => await sessions.usage(),
    getSession: async ({ session, query }) => {
      if (query.ended === 'true') await sessions.ended(session);
      return sessions.view(await sessions.find(session.id));
    },
    stopSession: async ({ caller, session }) => {
      await recorded('session.stop', caller.user, 'asked for by a person', session);
      return await sessions.stop(session, 'stopped by a person');
    },
    getSandboxLogs: async ({ session, query }) => {
      const path = join(parts.sessionsFolder, session.id, 'output.log');
      return {
        contentType: 'application/octet-stream',
        stream: query.follow === 'true' ? followOutput(path, sessions.over(session)) : await outputOf(path),
      };
    },
    execSession: async ({ caller, session, body }) => ({
      process: await sessions.exec(session, body, caller.user),
    }),
    listSandboxPolicies: async ({ query }) => (await sessions.records(query.all === 'true')).map(statusOf),
    getSandboxPolicy: async ({ session }) => ({
      generation: session.policyWritten,
      document: { ...session.policy },
    }),
    updateSandboxPolicy: async ({ caller, session, body }) =>
      statusOf(await sessions.changePolicy(session, body, caller.user)),
    getSandboxPolicyStatus: async ({ session }) => statusOf(session),
    ...changeHandlers({ sessions, changes, recorded }),
    ...authorityHandlers({ ca: parts.ca, revoke: parts.revoke, recorded }),
    events: async ({ query, reader }) => {
      const session = await sessionIdOf(query.session);
      const [views, open] = [await sessions.list(false), await consents.list(false)];
      const first = [
        ...views.map((view) => ({ type: 'session' as const, session: view })),
        ...open.map((question) => ({ type: 'consent' as const, question })),
      ];
      return reader.serverSent
        ? { contentType: 'text/event-stream', stream: events.serverSent(session, first, reader.lastId) }
        : { contentType: 'application/x-ndjson', stream: events.stream(session, first) };
    },
    listConsents: async ({ query }) => [...(await consents.list(query.all === 'true'))],
    approveConsent: async ({ caller, params, body }) =>
      await consents.approve(params.id, body.digest, body.mode, personOf(caller)),
    denyConsent: async ({ caller, params, body }) =>
      await consents.deny(params.id, body.digest, personOf(caller)),
    listGrants: async ({ query }) =>
      await grants.list(await sessionIdOf(query.session), query.all === 'true'),
    explainGrant: async ({ params }) => {
      const { grant, question } = await grants.explain(params.id);
      const records = await auditReader.query({ session: grant.sessionId, limit: limits.listLength.value });
      return {
        grant,
        question,
        covers: wordsOfScope(grant.scope),
        uses: records.filter((record) => record['grant'] === grant.id).map((record) => ({ ...record })),
      };
    },
    revokeGrant: async ({ caller, params }) => await grants.revoke(params.id, caller.user),
    createToken: async ({ caller, body }) => await tokens.create(body, caller.user),
    listTokens: async () => await tokens.list(),
    revokeToken: async ({ caller, params }) => await tokens.revoke(params.id, caller.user),
    sealingKey: async () => await secrets.sealingKey(),
    listSecrets: async () => await secrets.list(),
    putSecret: async ({ caller, params, body }) => {
      await recorded('secret.put', caller.user, params.id, null);
      return await secrets.put(params.id, body.sealed);
    },
    removeSecret: async ({ caller, params }) => {
      await recorded('secret.remove', caller.user, params.id, null);
      return await secrets.remove(params.id);
    },
    audit: async ({ query }) => {
      const session = await auditChain(query.session, sessions);
      return [
        ...(await auditReader.query({
          ...(session === null ? {} : { session }),
          limit: query.limit ?? 200,
          ...(query.after === undefined ? {} : { after: query.after }),
        })),
      ];
    },
    retainAudit: async ({ caller, body }) => {
      const before = new Date(body.before);
      if (Date.now() - before.getTime() < limits.auditRetain.value) {
        throw new GloveboxError('GB_INPUT_INVALID', {
          what: `The time ${body.before}`,
          detail: `records are kept for ${limits.auditRetain.value / 86_400_000} days at least`,
        });
      }
      return { ...(await auditReader.retain(before, caller.user)) };
    },
    exportAudit: async ({ query }) => {
      const session = await auditChain(query.session, sessions);
      return {
        contentType: 'application/x-ndjson',
        stream: Readable.from(auditReader.export(session ?? undefined), { objectMode: false }),
      };
    },
    publicKeys: async () => ({ keys: (await parts.publicKeys()).keys.map((key) => ({ ...key })) }),
    presets: async () => [...presets.list()],
    openBrowser: async () => await parts.browser.open(),
    closeBrowser: async () => ({ closed: await parts.browser.close() }),
    shutdown: async () => {
      // After the answer: the connection that asks is one of those that end.
      setImmediate(parts.shutDown);
      return { stopping: true };
    },
  };
}

/** R39, once more where it counts: no token answers, whatever let it come this far. */
function personOf({ by, user }: OperatorCaller): UserId {
  if (by === 'login') return user;
  throw new GloveboxError('GB_CALLER_REFUSED', { operation: 'an answer', allowed: 'a person’s login' });
}

const statusOf = (session: SessionRecord): PolicyStatus => ({
  sessionId: session.id,
  name: session.name,
  state: session.state,
  generation: session.policyWritten,
  applied: session.policyGeneration,
});

async function auditChain(text: string | undefined, sessions: SessionService): Promise<string | null> {
  if (text === undefined) return null;
  if (text === 'system' || isId(text)) return text;
  return (await sessions.find(text)).id;
}

async function outputOf(path: string): Promise<Readable> {
  const size = await stat(path).then(
    (file) => file.size,
    () => 0,
  );
  // As long as it is now: a running session's log goes on growing.
  return size === 0
    ? Readable.from([], { objectMode: false })
    : createReadStream(path, { start: 0, end: size - 1 });
}
