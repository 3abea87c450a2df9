import { toolDefinitions } from '../contracts/index.ts';

/** A pattern has at most 300 characters: no segment of one stands further in. */
const deepest = 150;

/**
 * The Cedar schema (human-readable form) of the requests that cedarRequest makes: from the tools' table, so that a verb or domain
 * that no tool has is found when policies are validated. For whoever writes Cedar of their own, and for the tests of ours.
 */
export function cedarSchema(): string {
  const operations = [...new Set(toolDefinitions.map((tool) => `${tool.domain}:${tool.scopeVerb}`))].sort();
  const segments = Array.from({ length: deepest }, (_, index) => [
    `s${index}?: String`,
    `e${index}?: String`,
  ]);
  return [
    '// Generated from the contracts by `npm run docs`.',
    'entity Session;',
    '// Domain and verb of every tool.',
    `entity Operation enum [${operations.map((name) => JSON.stringify(name)).join(', ')}];`,
    'action "call" appliesTo {',
    '  principal: [Session],',
    '  resource: [Operation],',
    '  context: {',
    '    user: String,',
    '    // True: the call holds a grant.',
    '    granted: Bool,',
    '    domain: String,',
    '    verb: String,',
    '    // How many segments the path has; s0 is the first, e0 the last.',
    '    depth: Long,',
    ...segments.map((pair) => `    ${pair.join(', ')},`),
    '  },',
    '};',
    '',
  ].join('\n');
}
