import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { builtCli, runCli, type BuiltCli } from './built-cli.ts';

const document = readFileSync(join(import.meta.dirname, '../../../docs/policy.md'), 'utf8');
const block = (info: string): string =>
  new RegExp(`\`\`\`${info}\\n([\\s\\S]*?)\`\`\``).exec(document)?.[1] ?? '';

let cli: BuiltCli;
const folder = mkdtempSync(join(tmpdir(), 'gb-policy-'));
beforeAll(async () => {
  cli = await builtCli();
  for (const name of ['policy.yaml', 'cases.yaml'])
    writeFileSync(join(folder, name), block(`yaml file=${name}`));
});
afterAll(() => {
  cli.remove();
  rmSync(folder, { recursive: true });
});
const glovebox = (...args: readonly string[]) => runCli(cli, args, {}, '', folder);

describe('a policy is looked at before it holds', () => {
  test('as docs/policy.md shows it', async () => {
    const commands = [...block('console').matchAll(/^\$ glovebox (.*)\n((?:(?!\$ ).*\n)*)/gm)];
    expect(commands).toHaveLength(4);
    for (const [, command = '', output] of commands) {
      const { stdout, stderr } = await glovebox(...command.split(' '));
      expect(stdout.toString() + stderr, command).toBe(output);
    }
  });

  test('the exit code says what came of it', async () => {
    expect((await glovebox('policy', 'lint', 'policy.yaml')).code).toBe(0);
    expect((await glovebox('policy', 'lint', 'policy.yaml', '--strict')).code).toBe(65);
    expect((await glovebox('policy', 'test', 'cases.yaml')).code).toBe(1);
    writeFileSync(join(folder, 'wrong.yaml'), 'version: 1\ntols: {}\n');
    expect((await glovebox('policy', 'lint', 'wrong.yaml')).code).toBe(65);
    writeFileSync(
      join(folder, 'right.yaml'),
      'cases: [{ permission: "files:read:/shared/a", expect: allow }]\n',
    );
    expect((await glovebox('policy', 'test', 'right.yaml', '--policy', 'policy.yaml')).code).toBe(0);
    expect((await glovebox('policy', 'test', 'right.yaml')).code).toBe(64);
    expect((await glovebox('policy', 'explain', '--policy', 'policy.yaml')).code).toBe(64);
    expect((await glovebox('policy', 'explain', 'files_read')).code).toBe(64);
    expect((await glovebox('policy', 'explain', '--policy', 'wrong.yaml', 'files_read', 'path=/')).code).toBe(
      65,
    );
  });

  test('with --json for machines', async () => {
    const lint = await glovebox('policy', 'lint', 'policy.yaml', '--json');
    expect(JSON.parse(lint.stdout.toString())).toMatchObject({
      findings: [{ severity: 'warning', rule: 'unreachable', line: 10, column: 5 }],
    });
    const json = ['--policy', 'policy.yaml', '--json'];
    const request = ['GET', 'https://api.example.com/v1/x', '--header', 'Cookie: a=b'];
    const explained = await glovebox('policy', 'explain', ...json, ...request);
    expect(JSON.parse(explained.stdout.toString())).toMatchObject({ decision: 'deny', rule: 'egress.0' });
    const call = await glovebox('policy', 'explain', ...json, 'files_read', '{"path":"/shared/a"}');
    expect(JSON.parse(call.stdout.toString())).toMatchObject({ decision: 'allow', place: { line: 3 } });
    const tested = await glovebox('policy', 'test', 'cases.yaml', '--json');
    expect(JSON.parse(tested.stdout.toString())).toMatchObject({ passed: 3 });
  });

  test('[R47] a policy of somebody else’s does not steer the terminal', async () => {
    writeFileSync(join(folder, 'odd.yaml'), 'version: 1\n"a\\e[2Jb\\u202e": 1\n');
    const { stdout } = await glovebox('policy', 'lint', 'odd.yaml');
    expect(stdout.toString()).not.toMatch(/[\x00-\x09\x0b-\x1f\u202e]/);
    expect(stdout.toString()).toContain('\\x1b[2Jb\\u{202e}');
  });
});
