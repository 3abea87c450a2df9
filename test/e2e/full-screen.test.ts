import { existsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import headless from '@xterm/headless';
import { afterAll, beforeAll, describe, expect, it, type TestContext } from 'vitest';
import { onTerminal, type Terminal } from './terminal.ts';
import { until } from './until.ts';
import { World } from './world.ts';

let world: World;
beforeAll(async () => {
  world = new World();
  await world.waive();
  writeFileSync(
    join(world.project, 'long.txt'),
    Array.from({ length: 200 }, (_, line) => `this is line ${line + 1}\n`).join(''),
  );
});
afterAll(() => world.close());

const needs = (program: string, context: TestContext): void => {
  if (!existsSync(`/usr/bin/${program}`)) context.skip(`this host has no ${program}`);
};

/** What a person sees: the bytes as a terminal of 24 by 80 draws them. */
async function drawn(bytes: string): Promise<string[]> {
  const terminal = new headless.Terminal({ rows: 24, cols: 80, allowProposedApi: true });
  await new Promise<void>((resolve) => terminal.write(bytes, resolve));
  const { active } = terminal.buffer;
  return Array.from(
    { length: 24 },
    (_, row) =>
      active
        .getLine(active.baseY + row)
        ?.translateToString(true)
        .trimEnd() ?? '',
  );
}
const looks = (
  terminal: Terminal,
  what: string,
  fits: (lines: readonly string[]) => boolean,
): Promise<unknown> => until(what, async () => fits(await drawn(terminal.screen())), 180_000);

describe('[R47] full-screen programs', () => {
  it('vim draws its screen, takes keys, writes a file that stays staged, and gives the terminal back', async (context) => {
    needs('vim', context);
    const vim = onTerminal(world, ['run', '--', 'vim', '-u', 'NONE', '-N', 'new.txt'], '; echo BACK');
    await looks(vim, 'an empty file', (lines) => lines[1] === '~' && lines[22] === '~');
    vim.type('ihello from vim\u001b');
    await looks(vim, 'the text', (lines) => lines[0] === 'hello from vim');
    vim.type(':wq\r');
    await vim.shows(/1 staged change/);
    vim.type('keep\r');
    await vim.typeUntil('keep\r', /BACK/);
    expect(await vim.finished).toBe(0);
    expect((await world.glovebox(['diff'])).out).toContain('+hello from vim');
  });

  it('less and top draw, scroll and end by their own keys', async (context) => {
    needs('less', context);
    const less = onTerminal(world, ['run', '--', 'less', 'long.txt']);
    await looks(less, 'the first page', (lines) => lines[0] === 'this is line 1');
    less.type(' ');
    await looks(less, 'the second page', (lines) => lines[0] === 'this is line 24');
    less.type('q');
    expect(await less.finished).toBe(0);
    needs('top', context);
    const top = onTerminal(world, ['run', '--', 'top']);
    await looks(top, 'its head', (lines) => lines.some((line) => line.includes('PID')));
    top.type('q');
    expect(await top.finished).toBe(0);
  });
});

describe('[R47] who attaches', () => {
  it('sees the screen as it is now, from several terminals at once; leaving one leaves the others', async (context) => {
    needs('less', context);
    await world.glovebox(['run', '--detach', '-t', '--name', 'pager', '--', 'less', 'long.txt']);
    const page = (terminal: Terminal, first: number): Promise<unknown> =>
      looks(terminal, `page from ${first}`, (lines) => lines.includes(`this is line ${first}`));
    const one = onTerminal(world, ['attach', 'pager']);
    await page(one, 2);
    one.type(' ');
    await page(one, 30);
    const two = onTerminal(world, ['attach', 'pager']);
    await page(two, 30);
    one.type('\u001dd');
    expect(await one.finished).toBe(0);
    expect((await world.session('pager')).state).toBe('running');
    two.type(' ');
    await page(two, 60);
    const three = onTerminal(world, ['attach', 'pager']);
    await page(three, 60);
    three.type('q');
    expect([await two.finished, await three.finished]).toEqual([0, 0]);
    expect(await world.session('pager')).toMatchObject({ state: 'ended', exitCode: 0 });
  });
});
