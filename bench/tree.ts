import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { CreateSessionRequest } from '../pure/contracts/index.ts';
import { median, ms, spread, table } from './figures.ts';
import type { Machine } from './machine.ts';
import { inTurns } from './start.ts';

const shape = { folders: 50, below: 40, files: 50 } as const;
const direct = { file: 'direct.yaml', text: 'version: 1\nworkspace:\n  mode: direct\n' };

function plant(folder: string): void {
  for (let one = 0; one < shape.folders; one += 1)
    for (let two = 0; two < shape.below; two += 1) {
      const path = join(folder, `source-${String(one)}/package-${String(two)}`);
      mkdirSync(path, { recursive: true });
      for (let file = 0; file < shape.files; file += 1)
        writeFileSync(join(path, `file-${String(file)}.ts`), 'x');
    }
  writeFileSync(join(folder, '.env'), 'KEY=1\n');
}

/** How a start grows with the tree: from the request to the state `running`, where the command begins. */
export async function treePart(machine: Machine, rounds: number): Promise<string> {
  const tree = join(machine.folder, 'tree');
  plant(tree);
  const started = async (more: Partial<CreateSessionRequest>): Promise<number> => {
    await machine.warm();
    const began = performance.now();
    const { id } = await machine.client.call('createSession', {
      body: machine.request(['sleep', '600'], { detach: true, ...more }),
    });
    await machine.until(id, ({ state }) => state === 'running');
    const took = performance.now() - began;
    await machine.client.call('stopSession', { params: { id } });
    await machine.until(id, ({ state }) => state === 'ended');
    return took;
  };
  const contenders = [
    { name: 'staged, one file', measure: () => started({}) },
    { name: 'staged, 100,000 files', measure: () => started({ workspace: tree }) },
    { name: 'direct, one file', measure: () => started({ policy: direct }) },
    { name: 'direct, 100,000 files', measure: () => started({ workspace: tree, policy: direct }) },
  ];
  const found = await inTurns(contenders, rounds);
  return table(
    ['', 'median', 'middle half'],
    contenders.map(({ name }, index) => {
      const values = found[index] ?? [];
      return [name, ms(median(values)), spread(values)];
    }),
  );
}
