import ipaddr from 'ipaddr.js';
import type { EgressRule } from '../contracts/index.ts';
import { normaliseHost, normalisePath, takenBy, type Reach } from '../egress/index.ts';
import { nearest } from '../policy/index.ts';
import { error, warning, type Remark } from './finding.ts';

const methods = ['GET', 'HEAD', 'OPTIONS', 'POST', 'PUT', 'PATCH', 'DELETE'];
const webdav = [
  'PROPFIND',
  'PROPPATCH',
  'MKCOL',
  'COPY',
  'MOVE',
  'LOCK',
  'UNLOCK',
  'REPORT',
  'SEARCH',
  'QUERY',
];
const safe = ['GET', 'HEAD', 'OPTIONS'];
/** Second-level names below which anybody may register a name of their own; a sample, not the Public Suffix List. */
const open = [
  ...['co.uk', 'org.uk', 'com.au', 'co.jp', 'com.br', 'co.nz', 'co.in', 'com.cn', 'github.io', 'gitlab.io'],
  ...['netlify.app', 'vercel.app', 'pages.dev', 'workers.dev', 'web.app', 'herokuapp.com', 'amazonaws.com'],
  ...[
    'cloudfront.net',
    'azurewebsites.net',
    'windows.net',
    'appspot.com',
    'run.app',
    'ngrok.io',
    'ngrok.app',
  ],
];

/** `rules`: as they are compiled, in the document's order. `placesOf`: which keys the document itself gives for a rule. */
export function lintEgress(
  rules: readonly (EgressRule & Reach)[],
  written: readonly EgressRule[],
): readonly Remark[] {
  return rules.flatMap((rule, index) => {
    const at = (...keys: PropertyKey[]): PropertyKey[] => ['egress', index, ...keys];
    return [
      ...lintHost(rule, at),
      ...lintRequests(rule, written[index] ?? rule, at),
      ...lintCredential(rule, at),
      ...lintAddresses(rule, at),
      ...lintOrder(rules.slice(0, index), rule, at),
    ];
  });
}

type At = (...keys: PropertyKey[]) => PropertyKey[];

function lintHost(rule: EgressRule, at: At): readonly Remark[] {
  const stars = /^\*\*?\./.exec(rule.host)?.[0] ?? '';
  const base = rule.host.slice(stars.length);
  const name = normaliseHost(base);
  if (!name.ok) {
    const todo = 'Use the name of the host; addresses are named by privateRanges.';
    return [error('host-never-fits', at('host'), `no request fits ${rule.host}: ${name.why}`, todo)];
  }
  if (stars === '' || (base.includes('.') && !open.includes(base))) return [];
  const what = `${rule.host} takes in hosts of anybody who registers a name below ${base}`;
  return [warning('wide-host', at('host'), what, 'Name the hosts that are needed.')];
}

function lintRequests(rule: EgressRule, written: EgressRule, at: At): readonly Remark[] {
  const odd = written.methods.flatMap((method, index) => {
    if (methods.includes(method) || webdav.includes(method)) return [];
    const known = nearest(method, methods);
    const todo = known === null ? `Usual ones are ${methods.join(', ')}.` : `Did you mean "${known}"?`;
    return [warning('unknown-method', at('methods', index), `"${method}" is no usual method`, todo)];
  });
  const never = written.paths.flatMap((path, index) => {
    const why = pathNeverFits(path);
    return why === null
      ? []
      : [
          error(
            'path-never-fits',
            at('paths', index),
            `no request fits ${path}: ${why}`,
            'Correct the pattern.',
          ),
        ];
  });
  return [...odd, ...never, ...lintProtocols(rule, written, at), ...lintReach(rule, at)];
}

function pathNeverFits(pattern: string): string | null {
  if (pattern.includes('?')) return 'what follows ? is not of the path; see egress.query';
  if (pattern.split('/').some((segment) => segment.includes('**') && segment !== '**'))
    return '** is a whole segment; within one, * is enough';
  const sample = normalisePath(pattern.replaceAll('*', 'x'));
  if (!sample.ok) return sample.why;
  return sample.value === pattern.replaceAll('*', 'x') ? null : `it is written ${sample.value}`;
}

function lintProtocols(rule: EgressRule, written: EgressRule, at: At): readonly Remark[] {
  const found: Remark[] = [];
  if (rule.git !== undefined && !rule.methods.includes('POST'))
    found.push(
      warning(
        'git-needs-post',
        at('git'),
        'git fetches and pushes by POST, which this rule does not take',
        'methods: [GET, POST]',
      ),
    );
  if (rule.git?.push.length === 0 && (rule.git.force || rule.git.delete))
    found.push(
      warning(
        'git-push-nothing',
        at('git'),
        'no ref may be pushed to, so force and delete mean nothing',
        'Name refs under push.',
      ),
    );
  if (rule.grpc !== undefined && (written.paths.join() !== '/**' || written.methods.join() !== safe.join()))
    found.push(
      warning(
        'grpc-takes-over',
        at('grpc'),
        'methods and paths of this rule are not read: grpc takes their place',
        'Remove them.',
      ),
    );
  if ((rule.graphql ?? rule.jsonrpc) !== undefined && !rule.methods.includes('POST'))
    found.push(
      warning(
        'body-needs-post',
        at('methods'),
        'the rule looks into bodies, and takes no POST',
        'methods: [POST]',
      ),
    );
  return found;
}

/** One wildcard is a convenience; all of them together are a way out. */
function lintReach(rule: EgressRule, at: At): readonly Remark[] {
  const free = rule.decision === 'allow' && rule.credential === undefined;
  const sends = rule.methods.some((method) => !safe.includes(method));
  const anywhere = rule.paths.includes('/**') && rule.query === undefined;
  const inspected = [rule.git, rule.graphql, rule.jsonrpc, rule.grpc].some((one) => one !== undefined);
  if (!(free && sends && anywhere && rule.host.startsWith('*')) || inspected) return [];
  const what = `the agent may send anything to every host below ${rule.host.replace(/^\*\*?\./, '')}`;
  return [warning('wide-sending', at(), what, 'Name hosts and paths, or decision: ask.')];
}

function lintCredential(rule: EgressRule, at: At): readonly Remark[] {
  const { credential } = rule;
  if (credential === undefined) return [];
  if (rule.plaintext) {
    const what = `the credential ${credential.secret} is never sent without TLS: every request is denied`;
    return [error('credential-plaintext', at('credential'), what, 'Remove plaintext, or the credential.')];
  }
  const found: Remark[] = [];
  if (rule.host.startsWith('*'))
    found.push(
      warning(
        'credential-wide',
        at('credential'),
        `${credential.secret} goes to every host that fits ${rule.host}`,
        'Name the host that the credential is for.',
      ),
    );
  if (rule.ownCredentials)
    found.push(
      warning(
        'credential-own',
        at('ownCredentials'),
        'the rule adds a credential and lets through the agent’s own',
        'Remove ownCredentials: an attacker’s key at an allowed host is a way out.',
      ),
    );
  return found;
}

function lintAddresses(rule: EgressRule, at: At): readonly Remark[] {
  return rule.privateRanges.flatMap((range, index) => {
    const path = at('privateRanges', index);
    if (!ipaddr.isValidCIDR(range))
      return [
        error(
          'range-unreadable',
          path,
          `${range} is no address range`,
          'Write it as 10.1.2.0/24 or fd00::/64.',
        ),
      ];
    const [address, bits] = ipaddr.parseCIDR(range);
    const whole = address.kind() === 'ipv4' ? 8 : 32;
    return bits < whole
      ? [
          warning(
            'wide-range',
            path,
            `${range} takes in metadata services and other networks`,
            'Name the one network.',
          ),
        ]
      : [];
  });
}

/** The first rule that fits decides: what earlier ones take from this one. */
function lintOrder(earlier: readonly Reach[], rule: Reach, at: At): readonly Remark[] {
  const kinds = rule.methods.flatMap((method) =>
    rule.paths.map((path) => ({ method, path, taker: takenBy(earlier, rule, method, path) })),
  );
  const taken = kinds.filter(({ taker }) => taker !== -1);
  const [first] = taken;
  if (first === undefined) return [];
  const by = [...new Set(taken.map(({ taker }) => `egress.${String(taker)}`))].join(', ');
  if (taken.length === kinds.length)
    return [
      warning(
        'unreachable',
        at(),
        `no request reaches this rule: ${by} decides them all before it`,
        'Move it up, or remove it.',
      ),
    ];
  const what = `${first.method} ${first.path} never reaches this rule: ${by} decides it before`;
  return [warning('shadowed', at(), what, 'Move the more exact rule up.')];
}
