import { expect, it } from 'vitest';
import { ClockWatch } from './clock-watch.ts';

it('tells how far a clock was set back, and takes no notice of one that runs, or is set forward', () => {
  let [wall, steady] = [1_000_000, 0];
  const watch = new ClockWatch({ now: () => wall }, () => steady);
  const pass = (ms: number): void => void ((wall += ms), (steady += ms));
  pass(60_000);
  expect(watch.setBackMs()).toBe(0);
  wall += 3_600_000;
  pass(1000);
  expect(watch.setBackMs()).toBe(0);
  wall -= 7_200_000;
  pass(1000);
  expect(watch.setBackMs()).toBeGreaterThanOrEqual(7_200_000);
  wall += 7_200_000;
  expect(watch.setBackMs()).toBeGreaterThanOrEqual(7_200_000);
});
