import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  asSessionId,
  defaultTrustDomain,
  encodeId,
  identityOf,
  secretRoutes,
  spiffeId,
  workloadRoutes,
  type AnonymousCaller,
  type Route,
  type Workload,
  type WorkloadCaller,
} from '../../pure/contracts/index.ts';
import { callerKind, guard, type PeerCaller } from './guard.ts';

const alice = asSessionId(encodeId(new Uint8Array(16).fill(1)));
const bob = asSessionId(encodeId(new Uint8Array(16).fill(2)));
const sandbox = encodeId(new Uint8Array(16).fill(3));

// What trusted/identity makes of a certificate; here, where the guard itself is looked at, by hand.
const as = (workload: Workload): WorkloadCaller =>
  ({
    kind: 'workload',
    identity: identityOf(spiffeId(defaultTrustDomain, workload)),
    serial: '01',
    notAfter: new Date(0),
  }) as unknown as WorkloadCaller;
const nobody = { kind: 'anonymous' } as unknown as AnonymousCaller;
const sidecar = as({ kind: 'sidecar', session: alice });

const callers: readonly PeerCaller[] = [
  nobody,
  sidecar,
  as({ kind: 'sandbox', session: alice, sandbox: sandbox as never }),
  as({ kind: 'provider', domain: 'files', name: 'main' }),
  as({ kind: 'control-plane', replica: 'local' }),
  as({ kind: 'secret-broker' }),
  as({ kind: 'signer' }),
  as({ kind: 'bus', server: 'local' }),
];
const all = [
  ...(Object.entries(workloadRoutes) as [string, Route][]),
  ...(Object.entries(secretRoutes) as [string, Route][]),
];
const nothing = { params: {}, query: {}, body: {}, headers: {} };
const refused = (name: string, route: Route, caller: PeerCaller, parts: object): string | null => {
  try {
    guard(name, route, caller, { ...nothing, ...parts });
    return null;
  } catch (error) {
    return (error as { code: string }).code;
  }
};

describe('the guard of every route', () => {
  test.each(all)(
    '[R3] %s is answered to the kinds that the registry names, and to no other',
    (name, route) => {
      for (const caller of callers) {
        const allowed = route.callers.some((kind) => kind === callerKind(caller));
        expect(refused(name, route, caller, {}), callerKind(caller)).toBe(
          allowed ? null : 'GB_CALLER_REFUSED',
        );
      }
    },
  );

  const own = all.filter(([, route]) => route.owner === 'caller-session');
  test.each(own)('[R2] %s: a session named anywhere must be the caller’s own', (name, route) => {
    for (const place of ['params', 'query', 'body', 'headers'] as const) {
      for (const key of ['session', 'sessionId', 'session_id', 'SESSION']) {
        expect(refused(name, route, sidecar, { [place]: { [key]: alice } }), `${place}.${key}`).toBeNull();
        expect(refused(name, route, sidecar, { [place]: { [key]: bob } }), `${place}.${key}`).toBe(
          'GB_CALLER_MISMATCH',
        );
        if (place === 'headers') continue;
        expect(refused(name, route, sidecar, { [place]: { deeper: [{ [key]: bob }] } })).toBe(
          'GB_CALLER_MISMATCH',
        );
      }
    }
  });

  test.each(own)('[R2] %s: nor may a header name another', (name, route) => {
    for (const header of [
      'session',
      'Session-Id',
      'X-Session-ID',
      'x-glovebox-session',
      'Glovebox-Session-Id',
    ]) {
      expect(refused(name, route, sidecar, { headers: { [header]: alice } }), header).toBeNull();
      expect(refused(name, route, sidecar, { headers: { [header]: bob } }), header).toBe(
        'GB_CALLER_MISMATCH',
      );
      expect(refused(name, route, sidecar, { headers: { [header]: [alice, bob] } })).toBe(
        'GB_CALLER_MISMATCH',
      );
    }
    // The session of another protocol is not ours.
    expect(refused(name, route, sidecar, { headers: { 'mcp-session-id': bob } })).toBeNull();
  });

  test.each(own)('[R2] %s: what is no session id is nobody’s own', (name, route) => {
    for (const odd of [
      '',
      '*',
      `${alice}.`,
      ` ${alice}`,
      alice.toUpperCase(),
      7,
      null,
      [alice],
      { id: alice },
    ]) {
      expect(refused(name, route, sidecar, { params: { session: odd } })).toBe('GB_CALLER_MISMATCH');
    }
  });

  test('[R2] whatever else a body holds, a foreign session in it is found', () => {
    const route = workloadRoutes.requestConsent;
    const plain = fc.jsonValue({ maxDepth: 4 });
    fc.assert(
      fc.property(plain, fc.array(fc.constantFrom('a', 'b', 'params'), { maxLength: 5 }), (value, path) => {
        const body = path.reduceRight<unknown>((inner, key) => ({ noise: value, [key]: inner }), {
          session: bob,
        });
        expect(refused('requestConsent', route, sidecar, { body })).toBe('GB_CALLER_MISMATCH');
      }),
    );
  });

  test('the agent’s own words in a question name nothing', () => {
    const body = { scope: 'files:read:/', arguments: { session: bob } };
    expect(refused('requestConsent', workloadRoutes.requestConsent, sidecar, { body })).toBeNull();
  });

  test('a body too deep to look through is refused', () => {
    let body: unknown = { session: alice };
    for (let depth = 0; depth < 40; depth += 1) body = { inner: body };
    expect(refused('requestConsent', workloadRoutes.requestConsent, sidecar, { body })).toBe(
      'GB_CALLER_MISMATCH',
    );
  });
});
