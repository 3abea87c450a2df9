import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { policyDocument, type PolicyDocument } from '../contracts/index.ts';
import { decide, type EgressRequest } from '../egress/index.ts';
import { decidePermission, scopeMatches } from '../policy/index.ts';
import { childPolicy } from './index.ts';

const rank = { deny: 0, ask: 1, allow: 2 };
const policy = (text: object): PolicyDocument => policyDocument.parse({ version: 1, ...text });

const segment = fc.constantFrom('a', 'b', '*', 'a*', '**');
const path = fc.array(segment, { maxLength: 3 }).map((parts) => `/${parts.join('/')}`);
const pattern = fc
  .tuple(fc.constantFrom('read', 'write', '*'), path)
  .map(([verb, rest]) => `files:${verb}:${rest}`);
const rule = fc.record({
  host: fc.constantFrom('a.x', 'b.x', '*.x', '**.x', 'a.b.x', '**.b.x', '*.b.x'),
  port: fc.constantFrom(443, 8443),
  methods: fc.constantFrom(['GET'], ['GET', 'POST'], ['POST']),
  paths: fc.array(path, { minLength: 1, maxLength: 2 }),
  decision: fc.constantFrom('allow', 'ask'),
  perMinute: fc.constantFrom(undefined, undefined, undefined, 5),
});
const document = fc
  .record({
    tools: fc.record({
      allow: fc.array(pattern, { maxLength: 3 }),
      ask: fc.array(pattern, { maxLength: 3 }),
    }),
    egress: fc.array(rule, { maxLength: 4 }),
  })
  .map(policy);
const request = fc
  .record({
    host: fc.constantFrom('a.x', 'b.x', 'c.x', 'a.b.x', 'c.b.x', 'x'),
    port: fc.constantFrom(443, 8443),
    method: fc.constantFrom('GET', 'POST'),
    target: fc.array(fc.constantFrom('a', 'b', 'ab'), { maxLength: 3 }).map((parts) => `/${parts.join('/')}`),
  })
  .map(({ host, port, method, target }): EgressRequest => {
    const headers = [['host', port === 443 ? host : `${host}:${String(port)}`]] as const;
    return { scheme: 'https', connectHost: host, connectPort: port, sni: host, method, target, headers };
  });
const scope = fc
  .tuple(fc.constantFrom('read', 'write'), fc.array(fc.constantFrom('a', 'b', 'ab'), { maxLength: 3 }))
  .map(([verb, parts]) => `files:${verb}:/${parts.join('/')}`);

const ofTools = ({ tools }: Pick<PolicyDocument, 'tools'>, one: string): number =>
  rank[decidePermission(tools, (wide) => scopeMatches(wide, one)).decision];
const ofEgress = ({ egress }: Pick<PolicyDocument, 'egress'>, one: EgressRequest): number =>
  rank[
    decide(
      egress.map((each, index) => ({ ...each, id: `egress.${String(index)}` })),
      {},
      one,
    ).decision
  ];

describe('a child’s policy', () => {
  it('[R40] never has what its parent or its own has not', () => {
    let given = 0;
    fc.assert(
      fc.property(
        document,
        document,
        fc.array(scope, { maxLength: 12 }),
        fc.array(request, { maxLength: 12 }),
        (parent, own, scopes, requests) => {
          const child = childPolicy(parent, own);
          for (const one of scopes) {
            expect(ofTools(child, one)).toBeLessThanOrEqual(
              Math.min(ofTools(parent, one), ofTools(own, one)),
            );
            given += ofTools(child, one);
          }
          for (const one of requests) {
            expect(ofEgress(child, one)).toBeLessThanOrEqual(
              Math.min(ofEgress(parent, one), ofEgress(own, one)),
            );
            given += ofEgress(child, one);
          }
        },
      ),
      { numRuns: 3000 },
    );
    // It gives something, too.
    expect(given).toBeGreaterThan(500);
  });

  it('is its parent’s where it asks for the same', () => {
    const parent = policy({
      tools: { allow: ['files:read:/**'], ask: ['files:write:/a/**'] },
      egress: [
        {
          host: 'a.x',
          methods: ['GET', 'POST'],
          paths: ['/v1/**'],
          credential: { secret: 's', carrier: 'bearer' },
        },
      ],
    });
    expect(childPolicy(parent, parent)).toEqual({ tools: parent.tools, egress: parent.egress, leftOut: [] });
  });

  it('[R40] what a rule that is left out would have asked for does not fall to a later one that allows', () => {
    const parent = policy({ egress: [{ host: 'a.x' }] });
    const narrow = { host: 'a.x', methods: ['GET'], paths: ['/a'], decision: 'ask', perMinute: 5 };
    const own = policy({ egress: [narrow, { host: 'a.x' }] });
    expect(childPolicy(parent, own)).toMatchObject({ egress: [], leftOut: ['a.x', 'a.x'] });
    const plain = policy({ egress: [{ ...narrow, perMinute: undefined }, { host: 'a.x' }] });
    expect(childPolicy(parent, plain).egress).toEqual(plain.egress);
  });

  it('asks for what the parent is asked for, and says what it leaves out', () => {
    const parent = policy({
      tools: { ask: ['files:write:/a/**'] },
      egress: [{ host: '*.x', decision: 'ask' }],
    });
    const own = policy({
      tools: { allow: ['files:write:/a/b', 'files:write:/c'] },
      egress: [{ host: 'a.x' }, { host: 'y' }, { host: 'b.x', ownCredentials: true }],
    });
    expect(childPolicy(parent, own)).toMatchObject({
      tools: { allow: [], ask: ['files:write:/a/b'] },
      egress: [{ host: 'a.x', decision: 'ask' }],
      leftOut: ['files:write:/c', 'y', 'b.x'],
    });
  });
});
