import { once } from 'node:events';
import { attach } from '../operator/client/index.ts';
import type { Bare } from './bare.ts';
import { median, ms, pairedRatio, spread, table, times } from './figures.ts';
import { timed, type Machine } from './machine.ts';

export const said = 'glovebox-bench';
const command = ['echo', said];

/** From the request's sending to the first byte of output at an attached client. */
export async function firstOutput(machine: Machine): Promise<number> {
  await machine.warm();
  const began = performance.now();
  const session = await machine.client.call('createSession', { body: machine.request(command) });
  const attachment = await attach({
    socketPath: machine.client.socketPath,
    sessionId: session.id,
    foreground: true,
  });
  attachment.stdio('stderr').resume();
  const out = attachment.stdio('stdout');
  await once(out, 'data');
  const took = performance.now() - began;
  out.resume();
  for await (const event of attachment.events) if (event.type === 'exited') break;
  attachment.close();
  await machine.until(session.id, ({ state }) => state === 'ended');
  return took;
}

export async function bareFirstOutput(bare: Bare): Promise<number> {
  const began = performance.now();
  const child = bare.run(command, ['ignore', 'pipe', 'inherit']);
  const ended = once(child, 'close');
  if (child.stdout === null) throw new Error('no output');
  await once(child.stdout, 'data');
  const took = performance.now() - began;
  child.stdout.resume();
  await ended;
  return took;
}

export const cliWall = async (machine: Machine): Promise<number> => {
  await machine.warm();
  const { code, wall, err } = await machine.glovebox(['run', '--', 'true']);
  if (code !== 0) throw new Error(`glovebox run: ${err}`);
  return wall;
};

export const bareWall = async (bare: Bare): Promise<number> =>
  (await timed(() => bare.run(['true'], ['ignore', 'ignore', 'inherit']))).wall;

interface Contender {
  readonly name: string;
  readonly measure: () => Promise<number>;
}

/** Each round measures every contender once, in another order each time; the first is what the others are compared with. */
export async function inTurns(contenders: readonly Contender[], rounds: number): Promise<number[][]> {
  const found: number[][] = contenders.map(() => []);
  for (let round = 0; round < rounds; round += 1) {
    for (let step = 0; step < contenders.length; step += 1) {
      const index = (round + step) % contenders.length;
      found[index]?.push((await contenders[index]?.measure()) ?? Number.NaN);
    }
    process.stderr.write('.');
  }
  process.stderr.write('\n');
  return found;
}

export async function startPart(
  bare: Bare,
  machines: readonly { readonly name: string; readonly machine: Machine }[],
  rounds: number,
): Promise<string> {
  const kinds = [
    { what: 'run received → first output', aim: 1.25, plain: () => bareFirstOutput(bare), ours: firstOutput },
    { what: 'wall time of `true`', aim: 2, plain: () => bareWall(bare), ours: cliWall },
  ];
  const rows: string[][] = [];
  for (const { what, aim, plain, ours } of kinds) {
    const contenders = [
      { name: 'runsc run', measure: plain },
      ...machines.map(({ name, machine }) => ({ name, measure: () => ours(machine) })),
    ];
    const found = await inTurns(contenders, rounds);
    const base = found[0] ?? [];
    contenders.forEach(({ name }, index) => {
      const values = found[index] ?? [];
      const ratio = index === 0 ? ['', ''] : [times(pairedRatio(values, base)), `≤ ${times(aim)}`];
      rows.push([`${what}: ${name}`, ms(median(values)), spread(values), ...ratio]);
    });
  }
  return table(['', 'median', 'middle half', 'to runsc', 'aim'], rows);
}
