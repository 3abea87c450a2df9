import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { agentPackages, agentPrograms } from '../../tools/checks/test-tools.mjs';
import { filesWith, processesWith } from './remains-of-a-secret.ts';
import { StandInModel, type Step } from './stand-in-model.ts';
import { onTerminal } from './terminal.ts';
import { World } from './world.ts';

const host = 'model.example';
const canary = `sk-ant-api03-CANARY${'q7Rz'.repeat(12)}-canary`;
/** The gateway refuses a body that holds a placeholder, so what is shown of them to the model is that they are there. */
const unnamed = "sed 's/gb-placeholder-[a-z0-9]*/a-placeholder/g'";
const work = `cat /workspace/read-me.txt; echo made by an agent > made.txt; env | ${unnamed}; cat /proc/self/environ | tr "\\0" "\\n" | ${unnamed}`;

/** opencode asks a person before a command looks outside of the workspace. */
const openCodeWork = work.replace(/; cat \/proc.*/, '');

interface Agent {
  readonly title: string;
  readonly preset: keyof typeof agentPackages;
  readonly secret: string;
  readonly carrier: string;
  /** Variables beside the preset's own that lead it to the stand-in. */
  readonly env: (url: string) => string;
  readonly oneShot: (url: string) => readonly string[];
  /** The same task on a terminal, with its own interface. */
  readonly interactive?: (url: string) => readonly string[];
  /** How its model calls the agent's own shell, and a tool of Glovebox's. */
  readonly shell: Step;
  readonly mcp: string;
  readonly asked: RegExp;
  readonly key: (headers: Readonly<Record<string, unknown>>) => unknown;
}

const anthropicKey: Agent['key'] = (headers) => headers['x-api-key'];
const bearer: Agent['key'] = ({ authorization }) => String(authorization).replace(/^Bearer /, '');

const openCode = (provider: object): string =>
  `  OPENCODE_CONFIG_CONTENT: '${JSON.stringify({ provider })}'\n  OPENCODE_DISABLE_AUTOUPDATE: '1'`;

const agents: readonly Agent[] = [
  {
    title: 'Claude Code',
    preset: 'claude',
    secret: 'anthropic',
    carrier: 'header:x-api-key',
    env: (url) => `  ANTHROPIC_API_KEY: { placeholder: anthropic }
  ANTHROPIC_BASE_URL: ${url}
  CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC: '1'
  DISABLE_AUTOUPDATER: '1'`,
    oneShot: () => ['claude', '-p', 'Do the task.', '--allowedTools', 'Bash,mcp__glovebox__files_list'],
    interactive: () => ['claude', '--dangerously-skip-permissions', 'Do the task.'],
    shell: { tool: 'Bash', input: { command: work, description: 'work' } },
    mcp: 'mcp__glovebox__files_list',
    asked: /^\/v1\/messages/,
    key: anthropicKey,
  },
  {
    title: 'Codex',
    preset: 'codex',
    secret: 'openai',
    carrier: 'bearer',
    env: () => '  OPENAI_API_KEY: { placeholder: openai }',
    oneShot: (url) => [...codex(url), 'exec', '--skip-git-repo-check', 'Do the task.'],
    interactive: (url) => [...codex(url), 'Do the task.'],
    shell: { tool: 'exec_command', input: { cmd: work } },
    mcp: 'mcp__glovebox::files_list',
    asked: /^\/v1\/responses/,
    key: bearer,
  },
  {
    title: 'Gemini CLI',
    preset: 'gemini',
    secret: 'gemini',
    carrier: 'header:x-goog-api-key',
    env: (url) => `  GEMINI_API_KEY: { placeholder: gemini }\n  GOOGLE_GEMINI_BASE_URL: ${url}`,
    oneShot: () => [...gemini, '-p', 'Do the task.'],
    interactive: () => [...gemini, '-i', 'Do the task.'],
    shell: { tool: 'run_shell_command', input: { command: work } },
    mcp: 'mcp_glovebox_files_list',
    asked: /GenerateContent\?alt=sse$/,
    key: (headers) => headers['x-goog-api-key'],
  },
  {
    title: 'opencode, with Anthropic’s API',
    preset: 'opencode',
    secret: 'anthropic',
    carrier: 'header:x-api-key',
    env: (url) =>
      `  ANTHROPIC_API_KEY: { placeholder: anthropic }\n${openCode({ anthropic: { options: { baseURL: `${url}/v1` } } })}`,
    oneShot: () => ['opencode', 'run', '-m', 'anthropic/claude-sonnet-4-5', 'Do the task.'],
    shell: { tool: 'bash', input: { command: openCodeWork, description: 'work' } },
    mcp: 'glovebox_files_list',
    asked: /^\/v1\/messages/,
    key: anthropicKey,
  },
  {
    title: 'opencode, with an API that is compatible with OpenAI’s',
    preset: 'opencode',
    secret: 'openai',
    carrier: 'bearer',
    env: (url) =>
      `  OPENAI_API_KEY: { placeholder: openai }\n${openCode({
        standin: {
          npm: '@ai-sdk/openai-compatible',
          options: { baseURL: `${url}/v1`, apiKey: '{env:OPENAI_API_KEY}' },
          models: { one: { name: 'one', tool_call: true } },
        },
      })}`,
    oneShot: () => ['opencode', 'run', '-m', 'standin/one', 'Do the task.'],
    shell: { tool: 'bash', input: { command: openCodeWork, description: 'work' } },
    mcp: 'glovebox_files_list',
    asked: /^\/v1\/chat\/completions/,
    key: bearer,
  },
];

function codex(url: string): string[] {
  return ['codex', '-m', 'gpt-5', '-c', `openai_base_url="${url}/v1"`];
}
const gemini = ['gemini', '-m', 'gemini-2.5-flash', '--yolo'];

let world: World;
let model: StandInModel;
let agent: Agent | undefined;

/** What the model asks for: the agent's own shell, then a tool of Glovebox's over MCP, then it is done. */
const script = (results: readonly string[]): Step => {
  if (agent === undefined || results.length > 1) return { text: 'All done: the task is complete.' };
  return results.length === 0 ? agent.shell : { tool: agent.mcp, input: { path: '/' } };
};

beforeAll(async () => {
  world = new World([host]);
  model = await StandInModel.start(host, script);
  writeFileSync(join(world.folder, 'ca.pem'), model.caPem);
  writeFileSync(join(world.project, 'read-me.txt'), 'a fact that only this file holds\n');
  await world.waive();
});
afterAll(async () => {
  model.close();
  await world.close();
});

/** The preset's own policy, with the stand-in's place in place of the real one's. */
async function standIn(one: Agent, programs: string): Promise<string[]> {
  agent = one;
  model.seen.length = 0;
  const url = `https://${host}:${String(model.port)}`;
  const file = join(world.folder, 'policy.yaml');
  const policy = `version: 1
toolFolders: ['${join(programs, '../..')}']
tools:
  allow: ['files:read:/**']
egress:
  - host: ${host}
    port: ${String(model.port)}
    methods: [GET, HEAD, POST]
    paths: [/**]
    privateRanges: [127.0.0.0/8]
    caFile: '${join(world.folder, 'ca.pem')}'
    credential: { secret: ${one.secret}, carrier: '${one.carrier}' }
env:
${one.env(url)}
`;
  writeFileSync(file, policy);
  expect((await world.glovebox(['secret', 'set', one.secret], { input: canary })).code).toBe(0);
  world.env['PATH'] = `${programs}:${process.env['PATH'] ?? ''}`;
  return ['run', '--preset', one.preset, '--policy', file, '--'];
}

const asked = (one: Agent): StandInModel['seen'] =>
  model.seen.filter(({ method, path }) => method === 'POST' && one.asked.test(path));

/** With two tools called, a third time: whatever of the canary the agent could have seen is in what it said. */
function expectKeyAtEndpointOnly(one: Agent, shown: string): void {
  const calls = asked(one);
  expect(calls.length).toBeGreaterThanOrEqual(3);
  expect(calls.every(({ headers }) => one.key(headers) === canary)).toBe(true);
  const told = calls.map(({ body }) => body).join('\n');
  expect(told).toContain('a fact that only this file holds');
  expect(told).toContain('_API_KEY=a-placeholder');
  expect(told).toContain('shared');
  expect(told).not.toContain(canary);
  expect(shown).not.toContain(canary);
  expect(processesWith(canary)).toEqual([]);
}

describe.each(agents)('$title', (one) => {
  let programs: string;
  beforeEach(async ({ skip }) => {
    programs = await agentPrograms(agentPackages[one.preset]).catch((error: unknown) =>
      skip(`${one.title} cannot be had from npm: ${error instanceof Error ? error.message : String(error)}`),
    );
  });

  it('[R27] completes a task with its shell and an MCP tool; the key is at the endpoint and nowhere else', async () => {
    const run = await standIn(one, programs);
    const { code, out, err } = await world.glovebox([
      ...run,
      ...one.oneShot(`https://${host}:${String(model.port)}`),
    ]);
    expect(out + err).toContain('the task is complete');
    expect(code).toBe(0);
    expectKeyAtEndpointOnly(one, out + err);
    expect((await world.glovebox(['logs', '--raw', '--json'])).out).not.toContain(canary);
    expect((await world.glovebox(['diff'])).out).toContain('made by an agent');
    expect((await world.glovebox(['apply'])).code).toBe(0);
    expect(readFileSync(join(world.project, 'made.txt'), 'utf8')).toBe('made by an agent\n');
    rmSync(join(world.project, 'made.txt'));
  });

  const { interactive } = one;
  if (interactive === undefined) return;
  it('[R27] does the same on a terminal, with its own interface', async () => {
    const [first = '', ...rest] = await standIn(one, programs);
    const name = `${one.preset}-terminal`;
    const terminal = onTerminal(world, [
      first,
      '--name',
      name,
      ...rest,
      ...interactive(`https://${host}:${String(model.port)}`),
    ]);
    await terminal.shows(/task\s*(\x1b\[[0-9;]*[A-Za-z]\s*)*is\s*(\x1b\[[0-9;]*[A-Za-z]\s*)*complete/);
    expect((await world.glovebox(['stop', name])).code).toBe(0);
    await terminal.shows(/diff, apply, keep or discard\? $/);
    await terminal.typeUntil('keep\r', /kept/);
    await terminal.finished;
    expectKeyAtEndpointOnly(one, terminal.screen());
  });
});

describe('what all of them left', () => {
  it('[R27] no file, record or log holds the key: state, staged changes, workspaces, homes', async () => {
    expect((await world.glovebox(['audit', '--json', '--limit', '10000'])).out).not.toContain(canary);
    // The control of the search: what is searched for is found where it is.
    const control = join(world.folder, 'control');
    writeFileSync(control, canary);
    expect(filesWith(world.folder, canary)).toEqual([control]);
    expect((await world.glovebox(['audit', 'verify'])).code).toBe(3);
  });
});
