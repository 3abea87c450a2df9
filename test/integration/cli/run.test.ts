import { createHash } from 'node:crypto';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import {
  endedSession,
  fakeControlPlane,
  fakeSession,
  type FakeControlPlane,
} from '../../../operator/client/testing.ts';
import { builtCli, runCli, startCli, type BuiltCli } from './built-cli.ts';

let cli: BuiltCli;
let fake: FakeControlPlane;
beforeAll(async () => {
  cli = await builtCli();
});
afterAll(() => cli.remove());
beforeEach(async () => {
  fake = await fakeControlPlane();
  fake.on('createSession', () => fakeSession());
  fake.on('getSession', () => endedSession());
});
afterEach(() => fake.close());

const exited = (code: number | null, signal: number | null = null, reason = 'exited') => ({
  type: 'exited',
  code,
  signal,
  reason,
});

describe('run through pipes', () => {
  test('[R47] carries every byte both ways, and the exit code', async () => {
    const bytes = Buffer.alloc(
      3_000_000,
      Uint8Array.from({ length: 256 }, (_, index) => index),
    );
    let received = Buffer.alloc(0);
    fake.onAttach((attachment) => {
      void (async () => {
        const [stdin, stdout, stderr] = await Promise.all(
          ['stdin', 'stdout', 'stderr'].map(attachment.stream),
        );
        const chunks: Buffer[] = [];
        for await (const chunk of stdin!) chunks.push(chunk);
        received = Buffer.concat(chunks);
        stderr!.end('to stderr \u001b[6n');
        stdout!.end(bytes, () => attachment.say(exited(7)));
      })();
    });
    const result = await runCli(cli, ['run', '--', 'cat'], fake.env, bytes);
    expect(result.stderr).toBe('to stderr \u001b[6n');
    expect(createHash('sha256').update(result.stdout).digest('hex')).toBe(
      createHash('sha256').update(bytes).digest('hex'),
    );
    expect(received.equals(bytes)).toBe(true);
    expect(result.code).toBe(7);
    expect(fake.calls[0]).toMatchObject({
      name: 'createSession',
      request: { body: { command: ['cat'], terminal: null, stdin: true, detach: false } },
    });
  });

  test('a signal is forwarded, and its end is 128 and its number', async () => {
    fake.onAttach((attachment) => {
      void (async () => {
        const [stdout, stderr] = await Promise.all(['stdout', 'stderr'].map(attachment.stream));
        stdout!.write('ready\n');
        const command = await attachment.command('signal');
        stdout!.end();
        stderr!.end();
        attachment.say(exited(null, command.type === 'signal' ? command.signal : 0));
      })();
    });
    const running = startCli(cli, ['run', '--', 'sleep', '9'], fake.env);
    await new Promise((resolve) => running.child.stdout!.once('data', resolve));
    running.child.kill('SIGTERM');
    expect((await running.finished).code).toBe(143);
  });

  test('a reader that goes away is told to the command as SIGPIPE', async () => {
    fake.onAttach((attachment) => {
      void (async () => {
        const [stdout, stderr] = await Promise.all(['stdout', 'stderr'].map(attachment.stream));
        const writing = setInterval(() => stdout!.write('y\n'.repeat(1000)), 1);
        const command = await attachment.command('signal');
        clearInterval(writing);
        stdout!.end();
        stderr!.end();
        attachment.say(exited(null, command.type === 'signal' ? command.signal : 0));
      })();
    });
    const running = startCli(cli, ['run', '--', 'yes'], fake.env);
    running.child.stdout!.once('data', () => running.child.stdout!.destroy());
    expect((await running.finished).code).toBe(141);
  });

  test('an end by a limit has a line and a code of its own', async () => {
    fake.on('getSession', () => endedSession({ reason: 'time-limit', exitCode: null }));
    fake.onAttach((attachment) => {
      void (async () => {
        (await attachment.stream('stdout')).end();
        (await attachment.stream('stderr')).end();
        attachment.say(exited(null, 9, 'time-limit'));
      })();
    });
    const result = await runCli(cli, ['run', '--', 'sleep', '9'], fake.env);
    expect(result.code).toBe(124);
    expect(result.stderr).toBe(
      'glovebox: the session ended: its time limit was reached (2026-11-01T08:00:00.000Z)\n',
    );
  });

  test('weakened guarantees and staged changes are one line each on stderr', async () => {
    fake.on('createSession', () => fakeSession({ weakened: ['no AppArmor'] }));
    fake.on('getSession', () => endedSession({ changes: 'kept' }));
    fake.on('listChanges', () => ({
      state: 'kept',
      truncated: false,
      changes: [
        {
          path: 'a\u001b[2J',
          kind: 'added',
          sensitive: null,
          conflict: null,
          size: 1,
          binary: false,
          mode: 420,
        },
      ],
    }));
    fake.onAttach((attachment) => {
      void (async () => {
        (await attachment.stream('stdout')).end();
        (await attachment.stream('stderr')).end();
        attachment.say(exited(0));
      })();
    });
    const result = await runCli(cli, ['run', '--', 'true'], fake.env);
    expect(result.stderr).toBe(
      'glovebox: weakened on this host: no AppArmor\n' +
        'glovebox: 1 staged change (1 added); see them with: glovebox diff calm-fox; then: glovebox apply|discard calm-fox\n',
    );
    expect(result.code).toBe(0);
  });

  test('a control plane that dies under a run is an exit code of its own', async () => {
    fake.onAttach((attachment) => {
      void (async () => {
        await attachment.stream('stdout');
        await fake.close();
      })();
    });
    const result = await runCli(cli, ['run', '--', 'sleep', '9'], fake.env);
    expect(result.code).toBe(116);
    expect(result.stderr).toBe('glovebox: the session ended: the control plane died\n');
  });

  test('[R27] a key in --env is refused before anything is asked, a placeholder is not', async () => {
    const refused = await runCli(
      cli,
      ['run', '--env', 'API_KEY=sk-ant-0123456789abcdef', '--', 'env'],
      fake.env,
    );
    expect(refused.code).toBe(64);
    expect(refused.stderr).not.toContain('0123456789');
    expect(refused.stderr.split('\n')).toHaveLength(4);
    expect(fake.calls).toEqual([]);
    const detached = await runCli(
      cli,
      [
        'run',
        '--detach',
        '--env',
        'API_KEY=secret:anthropic',
        '--env-plain',
        'B=sk-ant-0123456789abcdef',
        '--',
        'env',
      ],
      fake.env,
    );
    expect(detached.stdout.toString()).toBe('calm-fox\n');
    expect(fake.calls[0]?.request.body).toMatchObject({
      env: { API_KEY: 'secret:anthropic', B: 'sk-ant-0123456789abcdef' },
      detach: true,
    });
  });

  test('the command’s own options are the command’s', async () => {
    await runCli(cli, ['run', '--detach', 'ls', '--json', '-t'], fake.env);
    expect(fake.calls[0]?.request.body).toMatchObject({ command: ['ls', '--json', '-t'], terminal: null });
  });

  test('an error of the control plane is three lines, or its body with --json, never a stack', async () => {
    const error = { code: 'GB_HOST_UNFIT', what: 'This host lacks AppArmor.', why: 'Why.', todo: 'Do.' };
    fake.on('createSession', (_, res) => void res.writeHead(412).end(JSON.stringify({ error })));
    const text = await runCli(cli, ['run', '--', 'true'], fake.env);
    expect(text.stderr).toBe('glovebox: This host lacks AppArmor.\n  Why.\n  Do.\n');
    expect(text.code).toBe(78);
    const json = await runCli(cli, ['run', '--json', '--', 'true'], fake.env);
    expect(JSON.parse(json.stderr)).toEqual({ error });
    expect(json.code).toBe(78);
  });

  test('a session that could not be started says why, and not that its sidecar did not answer', async () => {
    fake.refuseAttach();
    fake.on('getSession', () =>
      endedSession({ reason: 'start-failed', exitCode: null, detail: 'runsc: no space left on device' }),
    );
    const failed = await runCli(cli, ['run', '--', 'true'], fake.env);
    expect(failed.stderr).toMatch(/could not be started: runsc: no space left on device/);
    expect(failed.stderr).not.toMatch(/sidecar/);
    expect(failed.code).not.toBe(0);
    // Control: of one that goes on, the connection is what is wrong.
    fake.on('getSession', () => fakeSession());
    expect((await runCli(cli, ['run', '--', 'true'], fake.env)).stderr).toMatch(/sidecar did not answer/);
  });
});
