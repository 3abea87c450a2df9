import { readFileSync } from 'node:fs';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  inboxPrefix,
  isPattern,
  isSubject,
  matches,
  mayPublish,
  maySubscribe,
  overlaps,
  parseSubject,
  permissionsFor,
  providerSubject,
  subjectDocs,
  subjects,
  usesBus,
  type SandboxId,
  type SessionId,
  type Workload,
} from './index.ts';

const token = fc.constantFrom('a', 'b', 'gb', 'x-1', '$JS', '_INBOX');
const subject = fc.array(token, { minLength: 1, maxLength: 5 }).map((tokens) => tokens.join('.'));
const pattern = fc
  .tuple(fc.array(fc.oneof(token, fc.constant('*')), { minLength: 1, maxLength: 5 }), fc.boolean())
  .map(([tokens, tail]) => [...tokens, ...(tail ? ['>'] : [])].join('.'));

const id = fc.stringMatching(/^[a-z2-7]{26}$/);
const label = fc.stringMatching(/^[a-z0-9]([a-z0-9-]{0,6}[a-z0-9])?$/);
const workload: fc.Arbitrary<Workload> = fc.oneof(
  label.map((replica) => ({ kind: 'control-plane', replica }) as const),
  fc.constant({ kind: 'signer' } as const),
  fc.constant({ kind: 'secret-broker' } as const),
  id.map((session) => ({ kind: 'sidecar', session: session as SessionId }) as const),
  fc
    .tuple(id, id)
    .map(
      ([session, sandbox]) =>
        ({ kind: 'sandbox', session: session as SessionId, sandbox: sandbox as SandboxId }) as const,
    ),
  fc.tuple(label, label).map(([domain, name]) => ({ kind: 'provider', domain, name }) as const),
  label.map((server) => ({ kind: 'bus', server }) as const),
);
const patternsOf = (entries: readonly string[]): readonly string[] =>
  entries.map((entry) => entry.split(' ')[0] ?? '');

describe('matches', () => {
  it('takes in a subject iff the expression of the pattern does', () => {
    fc.assert(
      fc.property(pattern, subject, (wide, given) => {
        const expression = wide
          .split('.')
          .map((part) => (part === '*' ? '[^.]+' : part === '>' ? '.+' : part.replace(/[$]/g, '\\$&')))
          .join('\\.');
        expect(matches(wide, given)).toBe(new RegExp(`^${expression}$`).test(given));
      }),
    );
  });

  it('a pattern takes in itself; taking in is transitive; what it takes in, it overlaps', () => {
    fc.assert(
      fc.property(pattern, pattern, subject, (a, b, given) => {
        expect(matches(a, a)).toBe(true);
        if (matches(a, b) && matches(b, given)) expect(matches(a, given)).toBe(true);
        if (matches(a, given) && matches(b, given)) expect(overlaps(a, b)).toBe(true);
        expect(overlaps(a, b)).toBe(overlaps(b, a));
      }),
    );
  });

  it('refuses what is no subject', () => {
    for (const bad of ['', '.', 'a..b', '.a', 'a.', 'a b', 'a\tb', 'a\u0000', 'a.>.b']) {
      expect(isPattern(bad)).toBe(false);
      expect(matches('>', bad)).toBe(false);
    }
    expect(isSubject('a.*')).toBe(false);
    expect(isSubject('a.b')).toBe(true);
  });
});

describe('the registry', () => {
  it('[R8] [R9] no two identities of different owners share a subject that one publishes on to the other’s cost', () => {
    fc.assert(
      fc.property(workload, workload, (a, b) => {
        fc.pre(JSON.stringify(a) !== JSON.stringify(b));
        if (a.kind === 'sidecar' && b.kind === 'sidecar') {
          for (const mine of permissionsFor(a).publish.allow) {
            for (const theirs of permissionsFor(b).publish.allow) expect(overlaps(mine, theirs)).toBe(false);
            for (const theirs of patternsOf(permissionsFor(b).subscribe.allow)) {
              expect(overlaps(mine, theirs)).toBe(false);
            }
          }
        }
        if (a.kind === 'provider' && b.kind === 'provider' && a.domain !== b.domain) {
          for (const mine of patternsOf(permissionsFor(a).subscribe.allow)) {
            for (const theirs of patternsOf(permissionsFor(b).subscribe.allow)) {
              expect(overlaps(mine, theirs)).toBe(false);
            }
          }
          for (const mine of permissionsFor(a).publish.allow) {
            for (const theirs of permissionsFor(b).publish.allow) expect(overlaps(mine, theirs)).toBe(false);
          }
        }
      }),
    );
  });

  it('[R10] inboxes of different identities are disjoint, and nobody may subscribe to all', () => {
    fc.assert(
      fc.property(workload, workload, (a, b) => {
        fc.pre(usesBus(a) && usesBus(b) && JSON.stringify(a) !== JSON.stringify(b));
        expect(overlaps(`${inboxPrefix(a)}.>`, `${inboxPrefix(b)}.>`)).toBe(false);
        for (const wide of ['>', '_INBOX.>', '_INBOX.*.>', 'gb.>', '$JS.>', '$SYS.>']) {
          expect(maySubscribe(a, wide)).toBe(false);
        }
      }),
    );
  });

  it('an identity without business on the bus may nothing: its empty list is not NATS’s "all"', () => {
    fc.assert(
      fc.property(workload, subject, (who, given) => {
        const { publish, subscribe } = permissionsFor(who);
        for (const side of [publish, subscribe]) {
          if (side.allow.length === 0) expect(side.deny).toEqual(['>']);
        }
        if (usesBus(who)) return;
        expect(mayPublish(who, given)).toBe(false);
        expect(maySubscribe(who, given)).toBe(false);
      }),
    );
  });

  it('[R11] a provider publishes answers of its own domain and nothing else', () => {
    const provider: Workload = { kind: 'provider', domain: 'graph', name: 'one' };
    const session = 'a'.repeat(26);
    expect(permissionsFor(provider).publish.allow).toEqual(['_INBOX.sidecar.*.reply.graph.*']);
    for (const there of ['input', 'events', 'control', 'presence']) {
      expect(mayPublish(provider, `gb.session.${session}.${there}`)).toBe(false);
      expect(maySubscribe(provider, `gb.session.${session}.${there}`)).toBe(false);
    }
  });

  it('[R8] nobody publishes below a subject that somebody subscribes to with a `*` at its end', () => {
    const provider: Workload = { kind: 'provider', domain: 'graph', name: 'one' };
    // What the server permits, as its model test shows; and why nothing ever comes of it.
    expect(maySubscribe(provider, 'gb.provider.graph.read.>', 'graph')).toBe(true);
    expect(maySubscribe(provider, 'gb.provider.graph.>', 'graph')).toBe(false);
    fc.assert(
      fc.property(workload, workload, (subscriber, publisher) => {
        for (const theirs of patternsOf(permissionsFor(subscriber).subscribe.allow)) {
          if (!theirs.endsWith('.*')) continue;
          for (const given of permissionsFor(publisher).publish.allow)
            expect(overlaps(`${theirs}.>`, given)).toBe(false);
        }
      }),
    );
  });

  it('each grant lies within its subject', () => {
    for (const entry of Object.values(subjects)) {
      const wide = entry.pattern.replace(/\{\w+\}/g, '*');
      for (const grant of [...entry.publish, ...entry.subscribe]) {
        expect(matches(wide, grant.as.replace(/\{\w+\}/g, '*')), grant.as).toBe(true);
      }
    }
  });

  it('builders make subjects of the registry, and refuse a name that would be more than one token', () => {
    const session = 'a'.repeat(26) as SessionId;
    const made = providerSubject('files', 'read', session);
    expect(parseSubject('provider', made)).toEqual({ domain: 'files', operation: 'read', session });
    expect(parseSubject('audit', made)).toBeUndefined();
    for (const bad of ['a.b', '*', '>', 'a b', '', 'A']) {
      expect(() => providerSubject(bad, 'read', session)).toThrow('GB_INPUT_INVALID');
      expect(() => permissionsFor({ kind: 'provider', domain: bad, name: 'x' })).toThrow('GB_INPUT_INVALID');
    }
  });

  it('docs/subjects.md is the registry’s own rendering', () => {
    expect(readFileSync(new URL('../../docs/subjects.md', import.meta.url), 'utf8')).toBe(subjectDocs());
  });
});
