import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  asSandboxId,
  asSessionId,
  asTrustDomain,
  encodeId,
  identityOf,
  isLabel,
  parseIdentity,
  parseTrustDomain,
  sessionOf,
  spiffeId,
  spiffeIdMaxBytes,
  splitSpiffeId,
  type Workload,
} from './index.ts';

const domain = asTrustDomain('glovebox.local');
const session = encodeId(new Uint8Array(16).fill(1));
const sandbox = encodeId(new Uint8Array(16).fill(2));

const id = fc.uint8Array({ minLength: 16, maxLength: 16 }).map(encodeId);
const label = fc.stringMatching(/^[a-z0-9](?:[a-z0-9-]{0,20}[a-z0-9])?$/);
const trustDomain = fc.stringMatching(/^[a-z0-9._-]{1,40}$/).map(asTrustDomain);
const workload: fc.Arbitrary<Workload> = fc.oneof(
  fc.constant<Workload>({ kind: 'signer' }),
  fc.constant<Workload>({ kind: 'secret-broker' }),
  label.map((replica): Workload => ({ kind: 'control-plane', replica })),
  label.map((server): Workload => ({ kind: 'bus', server })),
  fc.tuple(label, label).map(([d, name]): Workload => ({ kind: 'provider', domain: d, name })),
  id.map((s): Workload => ({ kind: 'sidecar', session: asSessionId(s) })),
  fc
    .tuple(id, id)
    .map(([s, b]): Workload => ({ kind: 'sandbox', session: asSessionId(s), sandbox: asSandboxId(b) })),
);

describe('SPIFFE IDs', () => {
  it('[R1] every workload has one spelling, which reads back as the same workload', () => {
    fc.assert(
      fc.property(trustDomain, workload, (td, w) => {
        const text = spiffeId(td, w);
        expect(parseIdentity(text)).toEqual({ ok: true, value: { ...w, trustDomain: td, id: text } });
        expect(identityOf(text).kind).toBe(w.kind);
      }),
    );
  });

  it('[R1] any text is either refused or is exactly the spelling of what it was read as', () => {
    const shaped = fc
      .tuple(
        fc.constantFrom('spiffe://', 'SPIFFE://', 'spiffe:/', 'https://', ''),
        fc.constantFrom('glovebox.local', 'Glovebox.local', 'a@b', 'td:1', '', 'glovebox.local%2f'),
        fc.array(
          fc.oneof(
            fc.constantFrom(
              'session',
              'sidecar',
              'sandbox',
              'signer',
              'provider',
              'bus',
              '..',
              '.',
              '',
              '%2e',
            ),
            id,
            label,
            fc.string({ unit: 'binary', maxLength: 6 }),
          ),
          { maxLength: 5 },
        ),
      )
      .map(([scheme, authority, path]) => scheme + [authority, ...path].join('/'));
    fc.assert(
      fc.property(fc.oneof(shaped, fc.string({ unit: 'binary' })), (text) => {
        const parsed = parseIdentity(text);
        if (!parsed.ok) return;
        const { trustDomain: td, id: same, ...w } = parsed.value;
        expect(same).toBe(text);
        expect(spiffeId(td, w)).toBe(text);
      }),
      { numRuns: 2000 },
    );
  });

  it('[R1] one changed character never leaves the same identity', () => {
    const good = spiffeId(domain, { kind: 'sidecar', session: asSessionId(session) });
    fc.assert(
      fc.property(
        fc.nat(good.length - 1),
        fc.string({ unit: 'binary', minLength: 1, maxLength: 1 }),
        (at, c) => {
          const changed = good.slice(0, at) + c + good.slice(at + 1);
          fc.pre(changed !== good);
          const parsed = parseIdentity(changed);
          expect(parsed.ok && parsed.value.id === good).toBe(false);
        },
      ),
    );
  });

  const refused = [
    ['another scheme', 'https://glovebox.local/signer'],
    ['an upper-case scheme', 'SPIFFE://glovebox.local/signer'],
    ['an upper-case trust domain', 'spiffe://Glovebox.local/signer'],
    ['no trust domain', 'spiffe:///signer'],
    ['user info', 'spiffe://me@glovebox.local/signer'],
    ['a port', 'spiffe://glovebox.local:443/signer'],
    ['a query', 'spiffe://glovebox.local/signer?x=1'],
    ['a fragment', 'spiffe://glovebox.local/signer#x'],
    ['percent-encoding', 'spiffe://glovebox.local/%73igner'],
    ['an encoded slash', `spiffe://glovebox.local/session%2f${session}/sidecar`],
    ['a trailing slash', 'spiffe://glovebox.local/signer/'],
    ['an empty segment', 'spiffe://glovebox.local//signer'],
    ['a relative segment', 'spiffe://glovebox.local/bus/../signer'],
    ['white space around it', ' spiffe://glovebox.local/signer'],
    ['a line end after it', 'spiffe://glovebox.local/signer\n'],
    ['a NUL after it', 'spiffe://glovebox.local/signer\0'],
    ['a look-alike letter', 'spiffe://glovebox.local/sign\u0435r'],
    ['no path', 'spiffe://glovebox.local'],
    ['an unknown workload', 'spiffe://glovebox.local/admin'],
    ['too much path', 'spiffe://glovebox.local/signer/2'],
    ['a session without a role', `spiffe://glovebox.local/session/${session}`],
    ['a session id of another shape', 'spiffe://glovebox.local/session/ABC/sidecar'],
    ['a wildcard as name', 'spiffe://glovebox.local/provider/files/*'],
    ['a dotted name', 'spiffe://glovebox.local/provider/files/a.b'],
    ['more than 2048 bytes', `spiffe://glovebox.local/${'a'.repeat(spiffeIdMaxBytes)}`],
    ['a trust domain of more than 255 bytes', `spiffe://${'a'.repeat(256)}/signer`],
  ] as const;
  it.each(refused)('[R1] %s is refused', (_, text) => {
    expect(parseIdentity(text).ok).toBe(false);
    expect(parseIdentity('spiffe://glovebox.local/signer').ok).toBe(true);
  });

  it('reads IDs of the standard that are not ours, without an identity', () => {
    const foreign = 'spiffe://example.org/ns/Default/sa/x_1';
    expect(splitSpiffeId(foreign)).toMatchObject({
      ok: true,
      value: { path: ['ns', 'Default', 'sa', 'x_1'] },
    });
    expect(parseIdentity(foreign).ok).toBe(false);
  });

  it('makes no ID of names that are not labels', () => {
    expect(() => spiffeId(domain, { kind: 'bus', server: 'a/b' })).toThrow(RangeError);
    expect(() => spiffeId(domain, { kind: 'provider', domain: 'files', name: '' })).toThrow(RangeError);
    expect(isLabel('nats-1')).toBe(true);
    expect(parseTrustDomain('a b').ok).toBe(false);
  });

  it('knows the session of what belongs to one', () => {
    const box = spiffeId(domain, {
      kind: 'sandbox',
      session: asSessionId(session),
      sandbox: asSandboxId(sandbox),
    });
    expect(sessionOf(identityOf(box))).toBe(session);
    expect(sessionOf(identityOf(spiffeId(domain, { kind: 'signer' })))).toBeUndefined();
  });
});
