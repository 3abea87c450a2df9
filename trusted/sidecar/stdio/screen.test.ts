import headless from '@xterm/headless';
import { describe, expect, it } from 'vitest';
import { limits } from '../../../pure/contracts/index.ts';
import { Screen } from './screen.ts';

const e = '\u001b';
const size = { rows: 10, cols: 40 };
const make = (): Screen =>
  new Screen(size, (error) => {
    throw error;
  });

/** What a terminal shows after these bytes. */
async function shown(bytes: string | Buffer, of = size): Promise<string[]> {
  const terminal = new headless.Terminal({ ...of, allowProposedApi: true });
  await new Promise<void>((resolve) => terminal.write(bytes, resolve));
  const { active } = terminal.buffer;
  return Array.from(
    { length: of.rows },
    (_, row) => active.getLine(active.baseY + row)?.translateToString(true) ?? '',
  );
}

describe('[R47] the screen that is kept', () => {
  it.each([
    ['a prompt with colours', `$ ls\r\n${e}[1;34mfolder${e}[0m file\r\n$ `],
    [
      'a full-screen program',
      `before\r\n${e}[?1049h${e}[2J${e}[3;5Hedited${e}[10;1H${e}[7mstatus${e}[0m${e}[4;1H`,
    ],
    ['wide letters and marks', `日本語 e\u0301 🙂\r\nnext`],
    ['more than a screen', Array.from({ length: 50 }, (_, n) => `line ${n}\r\n`).join('')],
    ['what a program left on its way back', `${e}[?1049hfull${e}[?1049lshell again`],
  ])('%s is drawn for a newcomer as for who was there', async (_, text) => {
    const screen = make();
    for (let at = 0; at < text.length; at += 7) screen.push(Buffer.from(text.slice(at, at + 7)));
    expect(await shown(await screen.picture(true))).toEqual(await shown(text));
    expect(await shown(await screen.picture(false))).toEqual(await shown(text));
  });

  it('comes with its modes, and its history as far as it is kept', async () => {
    const screen = make();
    screen.push(Buffer.from(`${e}[?1049h${e}[?1002;1006h${e}[?2004h${e}[?25l`));
    const picture = (await screen.picture(true)).toString();
    for (const mode of ['1049', '1002', '1006', '2004']) expect(picture).toContain(`${e}[?${mode}h`);
    expect(picture).toContain(`${e}[?25l`);
    const long = make();
    for (let n = 0; n < 3000; n += 1) long.push(Buffer.from(`line ${n}\r\n`));
    const history = (await long.picture(true)).toString();
    expect(history).toContain('line 2999');
    expect(history).toContain(`line ${3000 - limits.screenHistory.value}`);
    expect(history).not.toContain('line 100\r');
    expect((await long.picture(false)).toString()).not.toContain('line 2900');
  });

  it('follows the size of the window, in its place among the output', async () => {
    const screen = make();
    screen.push(Buffer.from('x'.repeat(30)));
    screen.resize({ rows: 10, cols: 80 });
    screen.push(Buffer.from(`\r\n${e}[10;60Hat the right`));
    const lines = await shown(await screen.picture(false), { rows: 10, cols: 80 });
    expect(lines[0]).toBe('x'.repeat(30));
    expect(lines[9]).toContain('at the right');
  });

  it('holds nothing that a terminal would answer or obey: clipboard, queries, strings', async () => {
    const screen = make();
    screen.push(
      Buffer.from(`a${e}]52;c;eA==${e}\\${e}[c${e}P$q"p${e}\\${e}]8;;https://x${e}\\b${e}]0;title\u0007`),
    );
    const picture = (await screen.picture(true)).toString();
    expect(await shown(picture)).toMatchObject({ 0: 'ab' });
    expect(picture).not.toMatch(/\]|\[c|\$q/);
  });

  it('[R45] one cell does not hold what does not fit a cell, however it comes', async () => {
    const screen = make();
    const mark = Buffer.from('\u0301'.repeat(1000));
    screen.push(Buffer.from('a'));
    for (let n = 0; n < 2000; n += 1) {
      screen.push(mark);
      await screen.behind();
    }
    screen.push(Buffer.from('b'));
    const picture = await screen.picture(true);
    expect(picture.length).toBeLessThan(200);
    expect((await shown(picture))[0]).toMatch(/^a\u0301+b$/);
  });

  it('[R45] repeats without bound are cut to what a terminal takes', async () => {
    const screen = make();
    screen.push(Buffer.from(`a${e}[2147483647b${e}[999999999L${e}[999999999@b`));
    expect((await shown(await screen.picture(true)))[0]).toMatch(/^a/);
  });

  it('[R45] output that it is behind with is waited for', async () => {
    const screen = make();
    const chunk = Buffer.from('0123456789'.repeat(10_000));
    let waited = 0;
    for (let n = 0; n < 60; n += 1) {
      screen.push(chunk);
      const behind = screen.behind();
      if (behind === undefined) continue;
      waited += 1;
      await behind;
    }
    expect(waited).toBeGreaterThan(0);
    expect((await screen.picture(false)).length).toBeLessThan(1000);
  });
});
