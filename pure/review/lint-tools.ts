import { toolDefinitions, type PolicyDocument } from '../contracts/index.ts';
import { nearest, parseScopePattern, scopeCovers } from '../policy/index.ts';
import { error, warning, type Remark } from './finding.ts';

type Tools = PolicyDocument['tools'];
const lists = ['allow', 'ask'] as const;

/** Scopes that mean nothing, that no call ever reaches, or that take in more than a person may have meant. */
export function lintTools(tools: Tools): readonly Remark[] {
  return lists.flatMap((list) =>
    tools[list].flatMap((scope, index) => {
      const path = ['tools', list, index];
      const unknown = unknownTo(scope, path);
      return unknown.length > 0 ? unknown : [...neverReached(tools, list, index), ...wide(scope, list, path)];
    }),
  );
}

function unknownTo(scope: string, path: readonly PropertyKey[]): readonly Remark[] {
  const pattern = parseScopePattern(scope);
  if (pattern === undefined) {
    const todo =
      'A scope is domain:verb:/path; ** is a whole segment, at most once, and no segment is empty.';
    return [error('scope-unreadable', path, `${scope} is not a scope that can be read`, todo)];
  }
  if (pattern.domain === 'egress') {
    const todo = 'Requests to the outside are decided by the rules below `egress`.';
    return [warning('scope-without-tool', path, `${scope} decides nothing: no tool has it`, todo)];
  }
  const domains = [...new Set(toolDefinitions.map(({ domain }) => domain))];
  if (!domains.includes(pattern.domain)) {
    const known = nearest(pattern.domain, domains);
    const todo = known === null ? `There are tools for ${domains.join(', ')}.` : `Did you mean "${known}"?`;
    return [warning('scope-without-tool', path, `no tool has the domain "${pattern.domain}"`, todo)];
  }
  const verbs = [
    ...new Set(toolDefinitions.flatMap((t) => (t.domain === pattern.domain ? [t.scopeVerb] : []))),
  ];
  if (pattern.verb === null || verbs.some((verb) => verb === pattern.verb)) return [];
  const known = nearest(pattern.verb, verbs);
  const todo = known === null ? `${pattern.domain} has ${verbs.join(', ')}.` : `Did you mean "${known}"?`;
  return [warning('scope-without-tool', path, `no tool of ${pattern.domain} has "${pattern.verb}"`, todo)];
}

/** What is allowed without a question is never asked for; what an earlier scope takes in adds nothing. */
function neverReached(tools: Tools, list: 'allow' | 'ask', index: number): readonly Remark[] {
  const scope = tools[list][index] ?? '';
  const before = [
    ...tools.allow.slice(0, list === 'allow' ? index : undefined).map((other) => ['allow', other] as const),
    ...tools.ask.slice(0, list === 'ask' ? index : 0).map((other) => ['ask', other] as const),
  ];
  const taker = before.find(([, other]) => scopeCovers(other, scope));
  if (taker === undefined) return [];
  const [where, other] = taker;
  const what =
    where === list
      ? `${scope} adds nothing: ${other} takes it in`
      : `nobody is ever asked for ${scope}: tools.allow has ${other}`;
  return [
    warning('unreachable', ['tools', list, index], what, 'Remove it, or narrow the one that takes it in.'),
  ];
}

function wide(scope: string, list: 'allow' | 'ask', path: readonly PropertyKey[]): readonly Remark[] {
  const pattern = parseScopePattern(scope);
  if (pattern === undefined || list === 'ask') return [];
  const everywhere = pattern.prefix.length === 0 && pattern.suffix !== null && pattern.suffix.length === 0;
  const writes = toolDefinitions.some(
    (tool) =>
      tool.effect &&
      tool.domain === pattern.domain &&
      (pattern.verb === null || pattern.verb === tool.scopeVerb),
  );
  if (!writes || (!everywhere && pattern.verb !== null)) return [];
  const what = everywhere
    ? `${scope} lets the agent change everything there without asking anybody`
    : `${scope} takes in writing too`;
  return [warning('wide-scope', path, what, 'Name the verb and the folder, or put it under tools.ask.')];
}
