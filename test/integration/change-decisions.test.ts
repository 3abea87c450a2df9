import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { ControlPlaneWorld } from './control-plane-world.ts';

const world = new ControlPlaneWorld();
beforeAll(async () => {
  await world.start();
  await world.waiveWhatIsMissing();
});
afterAll(async () => await world.close());

const names = Array.from({ length: 40 }, (_, index) => `made-${String(index)}`);
const ended = async (): Promise<string> => {
  const { id } = await world.run(['sh', '-c', `for name in ${names.join(' ')}; do echo $name > $name; done`]);
  await world.untilState(id, 'ended');
  return `/v1/sessions/${id}/changes`;
};

test('[R48] decisions and readings of the same changes at one moment follow each other; none fails', async () => {
  for (let round = 0; round < 5; round += 1) {
    const changes = await ended();
    const answers = await Promise.all([
      world.call('GET', changes),
      world.call('POST', `${changes}/apply`, { paths: [names[round]] }),
      world.call('GET', `${changes}/diff`),
      world.call('POST', `${changes}/discard`),
      world.call('GET', `${changes}/hunks?path=made-1`),
      world.call('GET', `${changes}/diff`),
      world.call('POST', `${changes}/apply`, {}),
      world.call('POST', `${changes}/discard-paths`, { paths: [names[20]] }),
      world.call('POST', `${changes}/discard`),
    ]);
    const statuses = answers.map(({ status }) => status);
    expect(
      statuses.filter((status) => status >= 500),
      world.log,
    ).toEqual([]);
    // Two cannot both have thrown all of it away.
    expect(
      statuses.filter((_, index) => index === 3 || index === 8).filter((one) => one === 200).length,
    ).toBeLessThan(2);
    expect((await world.call('GET', changes)).body).toMatchObject({ changes: [] });
  }
});

test('control: one after the other, each is done', async () => {
  const changes = await ended();
  expect((await world.call('POST', `${changes}/apply`, { paths: ['made-30'] })).body).toEqual({
    applied: ['made-30'],
    skipped: [],
  });
  expect((await world.call('POST', `${changes}/discard-paths`, { paths: ['made-31'] })).body).toEqual({
    discarded: ['made-31'],
    skipped: [],
  });
  expect((await world.call('POST', `${changes}/discard`)).status).toBe(200);
  const there = readdirSync(world.workspace);
  expect(there).toContain('made-30');
  expect(there).not.toContain('made-31');
  expect(existsSync(join(world.workspace, 'made-32'))).toBe(false);
});
