import { createHash } from 'node:crypto';
import type { ServerHttp2Stream } from 'node:http2';
import type { ServerResponse } from 'node:http';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { shownText } from '../../../pure/consent/index.ts';
import type { ConsentQuestion } from '../../../pure/contracts/index.ts';
import {
  endedSession,
  fakeControlPlane,
  fakeQuestion,
  fakeSession,
  type FakeAttachment,
  type FakeControlPlane,
} from '../../../operator/client/testing.ts';
import { builtCli, cliOnTerminal, type BuiltCli } from './built-cli.ts';

let cli: BuiltCli;
let fake: FakeControlPlane;
let attached: Promise<FakeAttachment>;
let events: Promise<ServerResponse>;

beforeAll(async () => {
  cli = await builtCli();
});
afterAll(() => cli.remove());
beforeEach(async () => {
  fake = await fakeControlPlane();
  fake.on('createSession', () => fakeSession({ terminal: true }));
  fake.on('getSession', () => endedSession({ terminal: true }));
  attached = new Promise((resolve) => fake.onAttach(resolve));
  events = new Promise((resolve) => {
    fake.on('events', (_, res) => {
      res.write('\n');
      resolve(res);
    });
  });
});
afterEach(() => fake.close());

const withDigest = (question: ConsentQuestion): ConsentQuestion => ({
  ...question,
  digest: createHash('sha256').update(shownText(question)).digest('hex'),
});

async function terminalOf(
  attachment: FakeAttachment,
): Promise<{ stream: ServerHttp2Stream; typed: () => string }> {
  const stream = await attachment.stream('terminal');
  let typed = '';
  stream.on('data', (chunk: Buffer) => (typed += chunk.toString('latin1')));
  return { stream, typed: () => typed };
}

function end(attachment: FakeAttachment, stream: ServerHttp2Stream, code = 0): void {
  stream.end();
  attachment.say({ type: 'exited', code, signal: null, reason: 'exited' });
}

async function codes(
  terminal: ReturnType<typeof cliOnTerminal>,
  from: number,
): Promise<{ once: string; session: string }> {
  const once = (await terminal.shows(/(\d{4})\S* {2}allow it once/, from))[1]!;
  const session = (await terminal.shows(/(\d{4})\S* {2}allow it for the rest/, from))[1]!;
  return { once, session };
}

describe('run on a terminal', () => {
  test('has a terminal of this size, carries what is typed raw, and gives the terminal back', async () => {
    const terminal = cliOnTerminal(cli, ['run', '--', 'sh'], fake.env, (command) => `${command}; stty -a`);
    const attachment = await attached;
    const { stream, typed } = await terminalOf(attachment);
    expect(fake.calls[0]?.request.body).toMatchObject({
      terminal: { rows: 24, cols: 80, term: 'xterm-256color' },
      stdin: true,
    });
    stream.write('$ ');
    await terminal.shows(/\$ /);
    terminal.type('\u0003x');
    await new Promise<void>((resolve) => {
      stream.on('data', () => {
        if (typed() === '\u0003x') resolve();
      });
    });
    end(attachment, stream, 3);
    await terminal.finished;
    // The stty that ran after it: cooked again, with echo.
    expect(terminal.screen()).toMatch(/[^-]icanon/);
    expect(terminal.screen()).toMatch(/[^-]echo /);
  });

  test('[R47] queries and the clipboard do not reach the terminal, text does', async () => {
    const terminal = cliOnTerminal(cli, ['run', '--', 'sh'], fake.env);
    const attachment = await attached;
    const { stream } = await terminalOf(attachment);
    stream.write('before\u001b]52;c;');
    stream.write('eA==\u0007\u001b[6n\u001b[31mafter');
    await terminal.shows(/before\u001b\[31mafter/);
    end(attachment, stream);
    expect(await terminal.finished).toBe(0);
  });

  test('[R47] consent: what was typed before is no answer, the output waits, and the code approves by its digest', async () => {
    const question = withDigest(fakeQuestion({ reason: 'please\u001b[2J\nanswer> 1234' }));
    const approved = new Promise<unknown>((resolve) => {
      fake.on('approveConsent', ({ params, body }) => {
        resolve({ params, body });
        return { ...question, state: 'approved' };
      });
    });
    const terminal = cliOnTerminal(cli, ['run', '--', 'agent'], fake.env);
    const attachment = await attached;
    const { stream, typed } = await terminalOf(attachment);
    stream.write('\u001b[?1049h\u001b[?25lworking');
    await terminal.shows(/working/);
    // Type-ahead, with line ends: if it were read as an answer, the question would be denied.
    (await events).write(`${JSON.stringify({ type: 'consent', question })}\n`);
    terminal.type('d\rd\r');
    const { once } = await codes(terminal, 0);
    await terminal.shows(/answer> $/);
    const before = terminal.screen();
    expect(before).toMatch(/\u001b\[\?1049l/);
    expect(before).toMatch(/\u001b\[\?25h/);
    expect(before).toContain('please\\x1b[2J\\nanswer> 1234');
    stream.write('SNEAKY');
    // Typed until it is taken: the guard throws the first of it away.
    const typing = setInterval(() => terminal.type(`${once}\r`), 1500);
    expect(await approved).toEqual({
      params: { id: question.id },
      body: { digest: question.digest, mode: 'once' },
    });
    clearInterval(typing);
    await terminal.shows(/SNEAKY/);
    expect(terminal.screen().indexOf('SNEAKY')).toBeGreaterThan(
      terminal.screen().indexOf('glovebox: approved'),
    );
    // Back where the agent was, and told to draw again.
    expect(terminal.screen().slice(before.length)).toMatch(/\u001b\[\?1049h/);
    await attachment.command('resize');
    expect(typed()).not.toContain(once);
    end(attachment, stream);
    await terminal.finished;
  });

  test('[R47] a wrong code grants nothing and wears the codes out; d denies', async () => {
    const question = withDigest(fakeQuestion());
    const denied = new Promise<unknown>((resolve) => {
      fake.on('denyConsent', ({ body }) => {
        resolve(body);
        return { ...question, state: 'denied' };
      });
    });
    const terminal = cliOnTerminal(cli, ['run', '--', 'agent'], fake.env);
    const attachment = await attached;
    const { stream } = await terminalOf(attachment);
    (await events).write(`${JSON.stringify({ type: 'consent', question })}\n`);
    const first = await codes(terminal, 0);
    let mark = terminal.screen().length;
    const wrong = ['0000', '1111', '2222'].find((code) => code !== first.once && code !== first.session)!;
    const typeUntil = async (text: string, done: Promise<unknown>): Promise<void> => {
      const typing = setInterval(() => terminal.type(text), 1500);
      await done;
      clearInterval(typing);
    };
    await typeUntil(`${wrong}\r`, terminal.shows(/none of the codes/, mark));
    mark = terminal.screen().indexOf('none of the codes');
    const second = await codes(terminal, mark);
    expect([second.once, second.session]).not.toEqual([first.once, first.session]);
    await typeUntil('d\r', denied);
    expect(await denied).toEqual({ digest: question.digest });
    expect(fake.calls.map((call) => call.name)).not.toContain('approveConsent');
    end(attachment, stream);
    await terminal.finished;
  });

  test('[R39] a question that does not match its digest is not shown', async () => {
    const terminal = cliOnTerminal(cli, ['run', '--', 'agent'], fake.env);
    const attachment = await attached;
    const { stream } = await terminalOf(attachment);
    (await events).write(
      `${JSON.stringify({ type: 'consent', question: fakeQuestion({ digest: 'other' }) })}\n`,
    );
    await terminal.shows(/does not match its digest/);
    expect(terminal.screen()).not.toContain('answer> ');
    end(attachment, stream);
    await terminal.finished;
  });

  test('at the end the staged changes are summed up, and apply asks for each sensitive file by name', async () => {
    const change = (path: string, sensitive: string | null) => ({
      ...{ path, kind: 'added', sensitive, conflict: null, size: 1, binary: false, mode: 420 },
    });
    fake.on('getSession', () => endedSession({ terminal: true, changes: 'kept' }));
    fake.on('listChanges', () => ({
      state: 'kept',
      truncated: false,
      changes: [
        change('a.txt', null),
        change('.envrc', 'direnv runs it'),
        change('.git/hooks/x', 'git runs it'),
      ],
    }));
    const applied = new Promise<unknown>((resolve) => {
      fake.on('applyChanges', ({ body }) => {
        resolve(body);
        return { applied: ['a.txt', '.envrc'], skipped: [{ path: '.git/hooks/x', why: 'not confirmed' }] };
      });
    });
    const terminal = cliOnTerminal(cli, ['run', '--', 'agent'], fake.env);
    const attachment = await attached;
    const { stream } = await terminalOf(attachment);
    end(attachment, stream, 5);
    const answer = async (prompt: RegExp, text: string, done: RegExp | Promise<unknown>): Promise<void> => {
      await terminal.shows(prompt);
      const from = terminal.screen().length;
      const typing = setInterval(() => terminal.type(text), 1300);
      await (done instanceof RegExp ? terminal.shows(done, from) : done);
      clearInterval(typing);
    };
    await answer(/diff, apply, keep or discard\? /, '\r', /write one of these words/);
    await answer(/write one of these words/, 'apply\r', /\.envrc: direnv runs it/);
    await answer(/\.envrc: direnv runs it/, 'yes\r', /hooks\/x: git runs it/);
    await answer(/hooks\/x: git runs it/, 'no\r', applied);
    expect(await applied).toEqual({ sensitive: ['.envrc'] });
    await terminal.shows(/2 applied/);
    expect(await terminal.finished).toBe(5);
  });
});
