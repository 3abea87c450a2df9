import { execFileSync } from 'node:child_process';
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { StandInModel, type Step } from './stand-in-model.ts';
import { installed, World } from './world.ts';

const canary = `sk-ant-api03-CANARY${'q7Rz'.repeat(12)}-canary`;
const host = 'model.example';
let world: World;
let model: StandInModel;
let programs: string;

/** What the model asks for: the agent's own shell, then a tool of Glovebox's over MCP, then it is done. */
const script = (results: readonly string[]): Step => {
  if (results.length === 0)
    return {
      tool: 'Bash',
      input: {
        command:
          'env; cat /proc/self/environ | tr "\\0" "\\n"; echo made by an agent > made.txt; cat /workspace/read-me.txt',
        description: 'work',
      },
    };
  if (results.length === 1) return { tool: 'mcp__glovebox__files_list', input: { path: '/' } };
  return { text: 'All done: the task is complete.' };
};

beforeAll(async () => {
  programs = installed('@anthropic-ai/claude-code', '2.1.197');
  world = new World([host]);
  model = await StandInModel.start(host, script);
  writeFileSync(join(world.folder, 'ca.pem'), model.caPem);
  writeFileSync(join(world.project, 'read-me.txt'), 'a fact that only this file holds\n');
  // The preset's own policy, with the stand-in's place in place of the real one's.
  const policy = `version: 1
toolFolders: [${join(programs, '../..')}]
tools:
  allow: ['files:read:/**']
egress:
  - host: ${host}
    port: ${String(model.port)}
    methods: [GET, HEAD, POST]
    paths: [/**]
    privateRanges: [127.0.0.0/8]
    caFile: ${join(world.folder, 'ca.pem')}
    credential: { secret: anthropic, carrier: 'header:x-api-key' }
env:
  ANTHROPIC_API_KEY: { placeholder: anthropic }
  ANTHROPIC_BASE_URL: https://${host}:${String(model.port)}
  CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC: '1'
  DISABLE_AUTOUPDATER: '1'
`;
  writeFileSync(join(world.folder, 'policy.yaml'), policy);
  await world.waive();
});
afterAll(async () => {
  model.close();
  await world.close();
});

describe('the real Claude Code', () => {
  it('[R27] completes a task with its shell and an MCP tool; the key is at the endpoint and nowhere else', async () => {
    expect((await world.glovebox(['secret', 'set', 'anthropic'], { input: canary })).code).toBe(0);
    const args = [
      'run',
      '--preset',
      'claude',
      '--policy',
      join(world.folder, 'policy.yaml'),
      '--',
      'claude',
      '-p',
      'Do the task.',
      '--allowedTools',
      'Bash,mcp__glovebox__files_list',
    ];
    const { code, out, err } = await world.glovebox(args, {
      env: { PATH: `${programs}:${world.env['PATH'] ?? ''}` },
    });
    expect(out + err).toContain('the task is complete');
    expect(code).toBe(0);
    const asked = model.seen.filter(
      ({ method, path }) => method === 'POST' && path.startsWith('/v1/messages'),
    );
    expect(asked.length).toBeGreaterThanOrEqual(3);
    expect(asked.every(({ headers }) => headers['x-api-key'] === canary)).toBe(true);
    const told = asked.map(({ body }) => body).join('\n');
    expect(told).toContain('a fact that only this file holds');
    expect(told).toContain('ANTHROPIC_API_KEY=gb-placeholder-');
    expect(told).toMatch(/"shared"|\\"shared\\"|shared/);
    // What the agent saw, said and left, what was written down, and what lies on the disk.
    expect(told).not.toContain(canary);
    expect(out + err).not.toContain(canary);
    expect((await world.glovebox(['audit', '--json'])).out).not.toContain(canary);
    expect((await world.glovebox(['logs', '--raw', '--json'])).out).not.toContain(canary);
    expect(filesWith(world.folder, canary)).toEqual([]);
    expect(processesWith(canary)).toEqual([]);
    // The control of the search: what is searched for is found where it is.
    writeFileSync(join(world.folder, 'control'), canary);
    expect(filesWith(world.folder, canary)).toEqual([join(world.folder, 'control')]);
    expect((await world.glovebox(['diff'])).out).toContain('made by an agent');
    expect((await world.glovebox(['apply'])).code).toBe(0);
    expect(readFileSync(join(world.project, 'made.txt'), 'utf8')).toBe('made by an agent\n');
    expect((await world.glovebox(['audit', 'verify'])).code).toBe(3);
  });
});

const filesWith = (folder: string, text: string): string[] => {
  try {
    return execFileSync('grep', ['-rlaF', '--devices=skip', '--', text, folder], { encoding: 'utf8' })
      .split('\n')
      .filter((line) => line !== '');
  } catch {
    return [];
  }
};

/** The processes of this machine whose arguments or environment hold a text; read here, so that no argument of ours holds it. */
const processesWith = (text: string): string[] =>
  readdirSync('/proc')
    .filter((name) => /^[0-9]+$/.test(name) && Number(name) !== process.pid)
    .filter((pid) =>
      ['environ', 'cmdline'].some((file) => readQuietly(`/proc/${pid}/${file}`).includes(text)),
    );

const readQuietly = (path: string): string => {
  try {
    return readFileSync(path, 'latin1');
  } catch {
    return '';
  }
};
