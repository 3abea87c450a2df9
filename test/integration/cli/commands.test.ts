import { createHash } from 'node:crypto';
import { chmodSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { compactDecrypt, exportJWK, generateKeyPair } from 'jose';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { shownText } from '../../../pure/consent/index.ts';
import { operatorRoutes } from '../../../pure/contracts/index.ts';
import {
  endedSession,
  fakeControlPlane,
  fakeQuestion,
  fakeSession,
  type FakeControlPlane,
} from '../../../operator/client/testing.ts';
import { createCheckpointKey } from '../../../trusted/audit/testing.ts';
import { smallTrail } from './small-trail.ts';
import { builtCli, cliOnTerminal, runCli, type BuiltCli } from './built-cli.ts';

let cli: BuiltCli;
let fake: FakeControlPlane;
beforeAll(async () => {
  cli = await builtCli();
});
afterAll(() => cli.remove());
beforeEach(async () => {
  fake = await fakeControlPlane();
});
afterEach(() => fake.close());
const glovebox = (...args: readonly string[]) => runCli(cli, args, fake.env);

describe('every command', () => {
  const names =
    'run attach ps logs stop diff apply discard up down approve deny audit secret doctor completion version';
  for (const name of names.split(' '))
    test(`${name} has help with an example, and --json`, async () => {
      const help = await glovebox(name, '--help');
      expect(help.code).toBe(0);
      expect(help.stdout.toString()).toContain('--json');
      expect(help.stdout.toString()).toMatch(new RegExp(`Example:\\n  .*glovebox ${name}`));
    });

  test('what is mistyped is one clear error, with the nearest that there is', async () => {
    const result = await glovebox('rum');
    expect(result.code).toBe(64);
    expect(result.stderr).toContain("unknown command 'rum'");
    expect(result.stderr).toContain('run?');
    expect(result.stderr.trimEnd().split('\n')).toHaveLength(3);
  });

  test('the start of run does not hold the schema library', () => {
    const start = readFileSync(cli.program, 'utf8');
    expect(start).not.toContain('ZodType');
  });
});

describe('ps', () => {
  test('is a table in which an agent cannot move the cursor', async () => {
    fake.on('listSessions', () => [fakeSession({ command: ['sh', '-c', '\u001b[2J'], attached: 1 })]);
    const { stdout, code } = await glovebox('ps');
    expect(code).toBe(0);
    expect(stdout.toString()).toMatch(
      /^NAME +ID +STATE .*\ncalm-fox +a{8} +running, attached .*\\x1b\[2J\n$/,
    );
    expect(stdout.toString()).not.toContain('\u001b');
  });
  test('with --json is the contract’s', async () => {
    fake.on('listSessions', () => [fakeSession(), endedSession({ name: 'old' })]);
    const { stdout } = await glovebox('ps', '--all', '--json');
    expect(operatorRoutes.listSessions.response.parse(JSON.parse(stdout.toString()))).toHaveLength(2);
    expect(fake.calls[0]?.request.query.get('all')).toBe('true');
  });
});

describe('logs', () => {
  const written = 'a\u001b[31mb\u001b[6n\u001b]52;c;eA==\u0007c\n';
  beforeEach(() => fake.on('getSandboxLogs', (_, res) => void res.end(written)));
  test('[R47] are filtered, and exact only for a pipe that asks for it', async () => {
    expect((await glovebox('logs', 'calm-fox')).stdout.toString()).toBe('a\u001b[31mbc\n');
    expect((await glovebox('logs', '--raw', 'calm-fox')).stdout.toString()).toBe(written);
    const terminal = cliOnTerminal(cli, ['logs', '--raw', 'calm-fox'], fake.env);
    expect(await terminal.finished).toBe(0);
    expect(terminal.screen()).toMatch(/^a\u001b\[31mbc\r\n/);
    expect(terminal.screen()).not.toContain('\u001b[6n');
  });
});

describe('staged changes', () => {
  const change = {
    path: 'a',
    kind: 'added',
    sensitive: null,
    conflict: null,
    size: 1,
    binary: false,
    mode: 420,
  };
  beforeEach(() => {
    fake.on('listSessions', () => [
      endedSession({ name: 'elsewhere', changes: 'kept', createdAt: '2026-11-09T00:00:00.000Z' }),
      endedSession({ name: 'here', changes: 'kept', workspace: process.cwd() }),
    ]);
    fake.on('getSession', ({ params }) => endedSession({ name: params['id']!, changes: 'kept' }));
    fake.on('diffChanges', () => ({ diff: '+\u001b[2Jx\n' }));
    fake.on('listChanges', () => ({ state: 'kept', changes: [change], truncated: false }));
    fake.on('applyChanges', () => ({ applied: ['a'], skipped: [] }));
    fake.on('discardChanges', ({ params }) => endedSession({ name: params['id']! }));
  });
  test('diff without a name is of this folder; a pipe gets it exactly, a terminal escaped', async () => {
    expect((await glovebox('diff')).stdout.toString()).toBe('+\u001b[2Jx\n');
    const terminal = cliOnTerminal(cli, ['diff', 'x'], { ...fake.env, NO_COLOR: '1' });
    await terminal.finished;
    expect(terminal.screen()).toBe('+\\x1b[2Jx\r\n');
  });
  test('[R48] apply through pipes applies no sensitive file that was not named', async () => {
    await glovebox('apply', 'x', '--path', 'src', '--path', 'docs');
    await glovebox('apply', 'x', '--sensitive', '.envrc', '--sensitive', 'b');
    const bodies = fake.calls.filter((call) => call.name === 'applyChanges').map((call) => call.request.body);
    expect(bodies).toEqual([{ paths: ['src', 'docs'], sensitive: [] }, { sensitive: ['.envrc', 'b'] }]);
  });
  test('discard through pipes needs --yes', async () => {
    const refused = await glovebox('discard', 'x');
    expect(refused.code).toBe(64);
    expect(fake.calls.map((call) => call.name)).not.toContain('discardChanges');
    expect((await glovebox('discard', 'x', '--yes')).code).toBe(0);
  });
});

describe('approve and deny', () => {
  const unsigned = fakeQuestion();
  const question = { ...unsigned, digest: createHash('sha256').update(shownText(unsigned)).digest('hex') };
  beforeEach(() => {
    fake.on('listConsents', () => [question]);
    fake.on('approveConsent', () => ({ ...question, state: 'approved' }));
    fake.on('denyConsent', () => ({ ...question, state: 'denied' }));
  });
  test('[R39] without a terminal an answer needs the digest of what was read', async () => {
    expect(JSON.parse((await glovebox('approve', '--json')).stdout.toString())).toEqual([question]);
    for (const args of [['approve'], ['approve', question.id, '--digest', 'other'], ['deny', question.id]])
      expect((await glovebox(...args)).code).toBe(64);
    expect(fake.calls.map((call) => call.name)).not.toContain('approveConsent');
    expect((await glovebox('approve', question.id, '--session', '--digest', question.digest)).code).toBe(0);
    expect(fake.calls.at(-1)?.request.body).toEqual({ digest: question.digest, mode: 'session' });
  });
  test('only what is listed can be answered', async () => {
    const result = await glovebox('approve', 'zzzz', '--digest', question.digest);
    expect(result.code).toBe(66);
  });
  test('at a terminal the question is shown and the code asked for', async () => {
    const terminal = cliOnTerminal(cli, ['approve'], fake.env);
    const once = (await terminal.shows(/(\d{4})\S* {2}allow it once/))[1]!;
    expect(terminal.screen()).toContain(question.scope);
    const typing = setInterval(() => terminal.type(`${once}\r`), 1200);
    expect(await terminal.finished).toBe(0);
    clearInterval(typing);
    expect(fake.calls.at(-1)?.request.body).toEqual({ digest: question.digest, mode: 'once' });
  });
});

describe('secret', () => {
  test('[R27] the value goes from stdin into a seal, and is never an argument', async () => {
    const { publicKey, privateKey } = await generateKeyPair('ECDH-ES+A256KW', {
      crv: 'P-256',
      extractable: true,
    });
    const jwk = await exportJWK(publicKey);
    fake.on('sealingKey', () => ({ jwk }));
    fake.on('putSecret', ({ params }) => ({ name: params['id'], updatedAt: '2026-11-01T00:00:00.000Z' }));
    const result = await runCli(cli, ['secret', 'set', 'anthropic'], fake.env, 'canary\n');
    expect(result.stdout.toString()).toBe('Stored anthropic.\n');
    const { sealed } = fake.calls.at(-1)?.request.body as { sealed: string };
    const { plaintext } = await compactDecrypt(sealed, privateKey);
    expect(JSON.parse(new TextDecoder().decode(plaintext))).toEqual({
      name: 'anthropic',
      kind: 'text',
      value: 'canary',
    });
    expect((await glovebox('secret', 'set', 'anthropic', 'value')).code).toBe(64);
  });
  test('[R27] typed at a terminal it is not echoed', async () => {
    const { publicKey } = await generateKeyPair('ECDH-ES+A256KW', { crv: 'P-256', extractable: true });
    const jwk = await exportJWK(publicKey);
    fake.on('sealingKey', () => ({ jwk }));
    fake.on('putSecret', () => ({ name: 'anthropic', updatedAt: '2026-11-01T00:00:00.000Z' }));
    const terminal = cliOnTerminal(cli, ['secret', 'set', 'anthropic'], fake.env);
    await terminal.shows(/not shown\): /);
    terminal.type('canary\r');
    expect(await terminal.finished).toBe(0);
    expect(terminal.screen()).not.toContain('canary');
  });
});

describe('doctor', () => {
  const guarantee = (state: string) => ({
    ...{
      id: 'apparmor',
      title: 'AppArmor',
      state,
      detail: 'not in this kernel',
      todo: 'Waive it.',
      waivable: true,
    },
  });
  test('an unfit host is exit 78; a waiver needs the full name', async () => {
    fake.on('host', () => ({ facts: { kernel: '6.1' }, guarantees: [guarantee('missing')], fit: false }));
    fake.on('waive', () => ({ facts: {}, guarantees: [guarantee('waived')], fit: true }));
    const unfit = await glovebox('doctor');
    expect(unfit.code).toBe(78);
    expect(unfit.stdout.toString()).toContain('MISSING  AppArmor: not in this kernel');
    expect((await glovebox('doctor', '--waive', 'app')).code).toBe(64);
    expect((await glovebox('doctor', '--waive', 'seccomp')).code).toBe(64);
    expect((await glovebox('doctor', '--waive', 'apparmor')).code).toBe(0);
    expect(fake.calls.at(-1)?.request.body).toEqual({ name: 'apparmor', waived: true });
  });
  describe('run on a terminal, where a layer is missing that may be done without', () => {
    const error = { code: 'GB_HOST_UNFIT', what: 'This host lacks AppArmor.', why: 'Why.', todo: 'Do.' };
    const waivers: unknown[] = [];
    const runOnTerminal = async (text: string): Promise<{ code: number | null; screen: string }> => {
      waivers.length = 0;
      fake.on('createSession', (_, res) => void res.writeHead(412).end(JSON.stringify({ error })));
      fake.on('host', () => ({ facts: {}, guarantees: [guarantee('missing')], fit: false }));
      fake.on('waive', (asked) => {
        waivers.push(asked.body);
        return { facts: {}, guarantees: [guarantee('waived')], fit: true };
      });
      const terminal = cliOnTerminal(cli, ['run', '--', 'true'], fake.env);
      await terminal.shows(/write apparmor to give that layer up/);
      // What is typed before the guard is over is thrown away, so it is typed again until the command ends.
      const typing = setInterval(() => terminal.type(`${text}\r`), 1300);
      const code = await terminal.finished;
      clearInterval(typing);
      return { code, screen: terminal.screen() };
    };
    test('[R24] it is not given up by another word', async () => {
      const { code, screen } = await runOnTerminal('yes');
      expect(code).toBe(78);
      expect(waivers).toEqual([]);
      expect(screen).toContain('glovebox: This host lacks AppArmor.');
    });
    test('[R24] control: it is by its full name', async () => {
      await runOnTerminal('apparmor');
      expect(waivers[0]).toEqual({ name: 'apparmor', waived: true });
    });
  });
});

describe('the control plane’s start', () => {
  const daemon = (text: string): void => writeFileSync(join(cli.dist, 'control-plane.js'), text);
  afterEach(() => rmSync(join(cli.dist, 'control-plane.js'), { force: true }));
  const answering = `
    import { createServer } from 'node:http';
    const at = (name) => process.argv[process.argv.indexOf(name) + 1];
    process.stderr.write(JSON.stringify(process.env) + '\\n');
    createServer((req, res) => {
      if (req.url === '/v1/shutdown') setImmediate(() => process.exit(0));
      res.end(JSON.stringify(req.url === '/v1/health' ? { version: 'x', pid: process.pid, startedAt: '' } : []));
    }).listen(at('--runtime') + '/operator.sock');`;

  test('up starts it once, in private folders, without the person’s keys; down ends it', async () => {
    await fake.close();
    daemon(answering);
    const root = `${fake.root}-own`;
    const env = { ...fake.env, HOME: root, XDG_STATE_HOME: join(root, 'state'), ANTHROPIC_API_KEY: 'canary' };
    const up = JSON.parse((await runCli(cli, ['up', '--json'], env)).stdout.toString());
    expect(up.started).toBe(true);
    expect(JSON.parse((await runCli(cli, ['up', '--json'], env)).stdout.toString())).toMatchObject({
      started: false,
      pid: up.pid,
    });
    const state = join(root, 'state/glovebox');
    for (const folder of [state, join(state, 'run')]) expect(statSync(folder).mode & 0o777).toBe(0o700);
    expect(readFileSync(join(state, 'control-plane.log'), 'utf8')).not.toContain('canary');
    expect(JSON.parse((await runCli(cli, ['down', '--json'], env)).stdout.toString())).toEqual({
      stopped: true,
    });
    expect(() => process.kill(up.pid, 0)).toThrow();
    expect((await runCli(cli, ['down'], env)).stdout.toString()).toBe('Glovebox was not running.\n');
    rmSync(root, { recursive: true, force: true });
  });

  test('where it dies as it starts, its own error is the command’s', async () => {
    await fake.close();
    const error = {
      code: 'GB_STATE_REFUSED',
      what: 'The state is of another version.',
      why: 'Why.',
      todo: 'Do.',
    };
    daemon(
      `process.stderr.write(${JSON.stringify(`{"level":30}\n${JSON.stringify({ error })}\n`)}); process.exit(3);`,
    );
    const env = { ...fake.env, XDG_STATE_HOME: `${fake.root}-dies` };
    const result = await runCli(cli, ['up', '--json'], env);
    expect(JSON.parse(result.stderr)).toEqual({ error });
    expect(result.code).not.toBe(0);
    rmSync(`${fake.root}-dies`, { recursive: true, force: true });
  });

  test('a socket folder that others may enter is refused', async () => {
    chmodSync(dirname(fake.socketPath), 0o755);
    const result = await glovebox('ps');
    expect(result.code).toBe(64);
    expect(result.stderr).toContain('others may enter it (mode 755)');
    expect(fake.calls).toEqual([]);
  });
});

describe('audit verify', () => {
  test('[R41] what is no whole export is named, and the exit code is 1', async () => {
    const file = join(fake.root, 'export.jsonl');
    const keys = join(fake.root, 'keys.json');
    writeFileSync(keys, '{"keys":[]}');
    writeFileSync(file, '{"type":"glovebox-audit","version":1,"session":null}\n{"type":"record"}\n');
    const broken = await glovebox('audit', 'verify', file, '--keys', keys);
    expect(broken.code).toBe(1);
    expect(broken.stdout.toString()).toBe('NOT whole: 1 problem.\n  line 2: not a line of an export\n');
    writeFileSync(file, '{"type":"glovebox-audit","version":1,"session":null}\n');
    expect((await glovebox('audit', 'verify', file, '--keys', keys)).code).toBe(0);
    expect(fake.calls).toEqual([]);
  });

  test('[R41] without --keys it says that nothing is proven, and ends with 3', async () => {
    const key = await createCheckpointKey();
    fake.on('publicKeys', () => key.jwks);
    const file = join(fake.root, 'export.jsonl');
    writeFileSync(file, '{"type":"glovebox-audit","version":1,"session":null}\n');
    const result = await glovebox('audit', 'verify', file);
    expect(result.code).toBe(3);
    expect(result.stdout.toString()).toContain('NOT PROVEN');
    expect(fake.calls.map(({ name }) => name)).toEqual(['publicKeys']);
  });

  test('[R41] lines that no checkpoint signs end with 3; an export cut off before a witness’s checkpoint with 1', async () => {
    const key = await createCheckpointKey();
    const keys = join(fake.root, 'keys.json');
    writeFileSync(keys, JSON.stringify(key.jwks));
    const { lines, token } = await smallTrail(key);
    const [file, witness] = [join(fake.root, 'export.jsonl'), join(fake.root, 'witness.jws')];
    writeFileSync(witness, `${token}\n`);
    const verify = async (text: readonly string[]): Promise<number | null> => {
      writeFileSync(file, text.join('\n'));
      return (await glovebox('audit', 'verify', file, '--keys', keys, '--checkpoint', witness)).code;
    };
    expect(await verify(lines)).toBe(0);
    expect(await verify(lines.slice(0, -1))).toBe(1);
    writeFileSync(file, lines.slice(0, -1).join('\n'));
    expect((await glovebox('audit', 'verify', file, '--keys', keys)).code).toBe(3);
    // As OCSF, by the command itself, and back.
    fake.on(
      'exportAudit',
      (_request, response) =>
        void response.setHeader('content-type', 'application/x-ndjson').end(`${lines.join('\n')}\n`),
    );
    const ocsf = (await glovebox('audit', 'export', '--format', 'ocsf')).stdout.toString();
    expect(ocsf).toContain('"class_uid":6003');
    expect(await verify(ocsf.split('\n'))).toBe(0);
    expect(await verify(ocsf.replace('"status":"Unknown"', '"status":"Success"').split('\n'))).toBe(1);
    expect((await glovebox('audit', 'checkpoint')).stdout.toString()).toBe(`${token}\n`);
  });
});

describe('completion', () => {
  for (const shell of ['bash', 'zsh', 'fish'])
    test(shell, async () => {
      const { stdout, code } = await glovebox('completion', shell);
      expect(code).toBe(0);
      expect(stdout.toString()).toMatch(/doctor/);
      expect(stdout.toString()).toMatch(/-waive|-l waive/);
    });
});
