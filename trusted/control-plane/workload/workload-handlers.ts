import {
  GloveboxError,
  sessionOf,
  type SessionId,
  type WorkloadCaller,
  type workloadRoutes,
} from '../../../pure/contracts/index.ts';
import { credentialUses } from '../../../pure/compile/index.ts';
import type { IdentityAuthority } from '../../identity/index.ts';
import type { SessionRecord, SessionStore } from '../../store/index.ts';
import type { WorkloadHandlers } from '../../workload-http/index.ts';
import type { GrantService } from '../consents/grant-service.ts';
import type { ConsentService } from '../consents/consent-service.ts';

export interface WorkloadParts {
  readonly authority: Pick<IdentityAuthority, 'join' | 'joinSandbox' | 'renew' | 'renewSandbox'>;
  readonly sessions: Pick<SessionStore, 'get'>;
  readonly consents: ConsentService;
  readonly grants: Pick<GrantService, 'use'>;
  readonly policyApplied: (session: SessionId, generation: number) => Promise<void>;
}

/** What other parts may ask. Every object is found by the caller's certificate, never by what the request says (R2). */
export function workloadHandlers(parts: WorkloadParts): WorkloadHandlers<typeof workloadRoutes> {
  const { authority, sessions, consents, grants, policyApplied } = parts;
  const own = async (caller: WorkloadCaller): Promise<SessionRecord> => {
    const id = sessionOf(caller.identity);
    const record = id === undefined ? undefined : await sessions.get(id);
    // A sidecar that waits for its session has an identity and no record yet: nothing is its own until then.
    if (record === undefined || record.state === 'ended') {
      throw new GloveboxError('GB_NOT_FOUND', {
        what: 'open session of this caller',
        detail: caller.identity.id,
      });
    }
    return record;
  };
  return {
    join: async ({ body }) => svidOf(await authority.join(body.token, body.csr)),
    renew: async ({ caller, body }) => svidOf(await authority.renew(caller, body.csr)),
    // A sidecar answers for its sandbox before its session has a record.
    joinSandbox: async ({ caller, body }) =>
      svidOf(await authority.joinSandbox(sessionOfSidecar(caller), body.token, body.csr)),
    renewSandbox: async ({ caller, body }) =>
      svidOf(await authority.renewSandbox(sessionOfSidecar(caller), body.serial, body.csr)),
    getSandboxPolicy: async ({ caller }) => {
      const session = await own(caller);
      return { generation: session.policyWritten, document: { ...session.policy } };
    },
    getSandboxProviderEnvironment: async ({ caller }) => {
      const session = await own(caller);
      // References, never values: the broker hands those out, to a sidecar, for an intent.
      return { references: Object.fromEntries(session.secrets.map((name) => [name, `secret:${name}`])) };
    },
    reportPolicyStatus: async ({ caller, body }) => {
      const session = await own(caller);
      await policyApplied(session.id, body.generation);
      return { accepted: true };
    },
    requestConsent: async ({ caller, body }) => await consents.ask(await own(caller), body),
    consumeConsent: async ({ caller, body }) => await consents.consume(await own(caller), body.token),
    cancelConsent: async ({ caller, body }) => await consents.cancel(await own(caller), body.id),
    useGrant: async ({ caller, body }) => await grants.use(await own(caller), body),
    secretBindings: async ({ params }) => {
      const record = await sessions.get(params.session as SessionRecord['id']);
      if (record === undefined || record.state === 'ended') return { secrets: [], uses: [] };
      return { secrets: [...record.secrets], uses: [...credentialUses(record.policy)] };
    },
  };
}

function sessionOfSidecar({ identity }: WorkloadCaller): SessionId {
  if (identity.kind === 'sidecar') return identity.session;
  throw new GloveboxError('GB_CALLER_REFUSED', { operation: 'a sandbox’s certificate', allowed: 'sidecar' });
}

const svidOf = (issued: { chainPem: string; bundlePem: string; notAfter: Date }) => ({
  chainPem: issued.chainPem,
  bundlePem: issued.bundlePem,
  notAfter: issued.notAfter.toISOString(),
});
