// node --import tsx bench/decisions.ts [--rounds N]: one decision on a tool call, by Cedar in the process and by an OPA server.
import { parseArgs } from 'node:util';
import { compileCedar } from '../pure/compile/index.ts';
import type { PolicyEngine } from '../pure/policy/index.ts';
import { OpaServer } from '../test/contract/opa-server.ts';
import { engineOf } from '../trusted/sidecar/testing.ts';
import { median, ms, pairedRatio, quantile, table } from './figures.ts';

const { values } = parseArgs({ options: { rounds: { type: 'string', default: '15' } } });
const rounds = Number(values.rounds);
const [sizes, each, lanes] = [[10, 200, 2000], 15, 8] as const;
const wanted = ['allow', 'ask', 'deny'] as const;

interface Contender {
  readonly name: string;
  readonly rules: number;
  readonly engine: PolicyEngine;
  readonly latencies: number[];
  /** Mean time of one in each round, one after the other. */
  readonly alone: number[];
  /** Decisions a second in each round, many at once. */
  readonly rates: number[];
  /** Of those at once, how many came after the deadline and were denied. */
  readonly late: number[];
}

/** Three quarters are allowed, one quarter asks; each has a folder of its own. */
const toolsOf = (rules: number) => {
  const folders = Array.from({ length: rules }, (_, index) => `/team-${String(index)}/**`);
  const split = Math.floor((rules * 3) / 4);
  return {
    allow: folders.slice(0, split).map((path) => `files:read:${path}`),
    ask: folders.slice(split).map((path) => `files:write:${path}`),
  };
};

/** What is allowed, asked for and denied, in turns, anywhere in the list. */
function question(rules: number, count: number): { scope: string; expected: (typeof wanted)[number] } {
  const expected = wanted[count % 3] ?? 'deny';
  const split = Math.floor((rules * 3) / 4);
  const at = (count * 7919) % (expected === 'allow' ? split : rules - split);
  const scope = {
    allow: `files:read:/team-${String(at)}/a/b`,
    ask: `files:write:/team-${String(split + at)}/a/b`,
    deny: `files:read:/nobody/${String(at)}`,
  }[expected];
  return { scope, expected };
}

let count = 0;
async function decide({ engine, rules }: Contender): Promise<number> {
  const { scope, expected } = question(rules, (count += 1));
  const began = performance.now();
  const { decision, rule } = await engine.decide({ sessionId: 'bench', user: 'local/1000', scope });
  const took = performance.now() - began;
  // Later than the deadline is denied: that counts as no decision.
  if (rule === 'engine.failed') return Infinity;
  if (decision !== expected) throw new Error(`${scope}: ${decision} by ${rule}, not ${expected}`);
  return took;
}

async function round(contender: Contender): Promise<void> {
  const began = performance.now();
  for (let index = 0; index < each; index += 1) contender.latencies.push(await decide(contender));
  contender.alone.push((performance.now() - began) / each);
  const start = performance.now();
  const took = await Promise.all(
    Array.from({ length: lanes }, async () => {
      const own: number[] = [];
      for (let index = 0; index < each / 5; index += 1) own.push(await decide(contender));
      return own;
    }),
  );
  const made = took.flat().filter(Number.isFinite).length;
  contender.late.push(took.flat().length - made);
  contender.rates.push((made / (performance.now() - start)) * 1000);
}

const server = new OpaServer();
try {
  await server.start();
  const engines = [
    ['Cedar', await engineOf(undefined)],
    ['OPA', await engineOf({ engine: 'opa', socket: server.socket, token: server.token })],
  ] as const;
  let generation = 0;
  const contenders = sizes.flatMap((rules) =>
    engines.map(([name, prepare]): Contender => {
      const tools = toolsOf(rules);
      const policy = {
        generation: (generation += 1),
        cedar: compileCedar(tools),
        tools,
        egress: [],
        placeholders: {},
      };
      return { name, rules, engine: prepare(policy), latencies: [], alone: [], rates: [], late: [] };
    }),
  );
  for (const contender of contenders) await decide(contender);
  for (let index = 0; index < rounds; index += 1)
    for (const contender of index % 2 === 0 ? contenders : contenders.toReversed()) await round(contender);
  const rows = contenders.map((one) => {
    const cedar = contenders.find(({ name, rules }) => name === 'Cedar' && rules === one.rules) ?? one;
    return [
      `${one.name}, ${String(one.rules)} rules`,
      median(one.rates).toFixed(0),
      `${String(one.late.reduce((sum, value) => sum + value, 0))} of ${String((rounds * lanes * each) / 5)}`,
      ms(median(one.latencies)),
      ms(quantile(one.latencies, 0.99)),
      one === cedar ? '' : `${pairedRatio(one.alone, cedar.alone).toFixed(2)}×`,
    ];
  });
  process.stdout.write(
    `${table(['one decision', `a second, ${String(lanes)} at once`, 'denied for being late', 'median, one at a time', 'p99', 'to Cedar'], rows)}\n`,
  );
} finally {
  await server.remove();
}
