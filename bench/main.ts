// npm run bench [-- start|calls|memory|throughput|sessions|tree …] [--rounds N] [--also NAME=CHECKOUT]
import { parseArgs } from 'node:util';
import { Bare } from './bare.ts';
import { callsPart } from './calls.ts';
import { Machine, thisCheckout } from './machine.ts';
import { memoryPart } from './memory.ts';
import { sessionsPart } from './sessions.ts';
import { startPart } from './start.ts';
import { throughputPart } from './throughput.ts';
import { treePart } from './tree.ts';

const parts = ['start', 'calls', 'memory', 'throughput', 'sessions', 'tree'] as const;
type Part = (typeof parts)[number];

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    rounds: { type: 'string', default: '21' },
    also: { type: 'string', multiple: true, default: [] },
  },
});
const chosen = positionals.length === 0 ? parts : parts.filter((part) => positionals.includes(part));
const rounds = Number(values.rounds);

const checkouts = [
  { name: 'glovebox', path: thisCheckout },
  ...values.also.map((text) => {
    const [name = '', path = ''] = text.split('=');
    return { name, path };
  }),
];
const machines: { name: string; machine: Machine }[] = [];

function own(): Machine {
  const [first] = machines;
  if (first === undefined) throw new Error('nothing was started');
  return first.machine;
}

const run: Readonly<Record<Part, (bare: Bare) => Promise<string>>> = {
  start: (bare) => startPart(bare, machines, rounds),
  calls: (bare) => callsPart(bare, machines, rounds),
  memory: () => memoryPart(own()),
  sessions: () => sessionsPart(own()),
  tree: () => treePart(own(), Math.min(rounds, 5)),
  throughput: (bare) => throughputPart(bare, own(), Math.min(rounds, 7)),
};

try {
  for (const { name, path } of checkouts) machines.push({ name, machine: await Machine.start(path) });
  const bare = await Bare.like(own());
  for (const part of chosen) process.stdout.write(`\n## ${part}\n\n${await run[part](bare)}\n`);
} finally {
  for (const { machine } of machines) await machine.close();
}
