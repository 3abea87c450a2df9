import { execFile } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { z } from 'zod';
import { filesTools, GloveboxError } from '../../pure/contracts/index.ts';
import { mcpEndpointOver } from '../../trusted/sidecar/testing.ts';
import { currentSuite, earlierSuite, readResults, suiteCommand } from './mcp/suite.ts';
import { SidecarWorld } from './sidecar-world.ts';

// The official suite drives a server that implements every feature, with tools, prompts and resources of the suite's own. Ours is
// the real endpoint of a real sidecar: what it does not declare, it need not answer. Each such scenario is named here with its
// reason; one that begins to pass, or fails for another check, fails this test.
const ownTools = 'needs a tool of the suite’s own, which no sidecar has: shown below with one';
const noPrompts = 'prompts are not declared';
const noResources = 'resources are not declared';
const noCompletion = 'completion is not declared';
const noLogging = 'logging is not declared';
const noContent = 'tools answer with text and structured content; no tool gives images, audio or resources';
const noRequests = 'the endpoint asks its client nothing (no sampling, elicitation or roots)';
const noProgress = 'progress is optional for a server, and no tool reports any';

const undeclared: Readonly<Record<string, string>> = {
  'logging-set-level': noLogging,
  'tools-call-with-logging': noLogging,
  'completion-complete': noCompletion,
  'tools-call-image': noContent,
  'tools-call-audio': noContent,
  'tools-call-embedded-resource': noContent,
  'tools-call-mixed-content': noContent,
  'tools-call-with-progress': noProgress,
  'tools-call-sampling': noRequests,
  'tools-call-elicitation': noRequests,
  'elicitation-sep1034-defaults': noRequests,
  'elicitation-sep1330-enums': noRequests,
  'resources-list': noResources,
  'resources-read-text': noResources,
  'resources-read-binary': noResources,
  'resources-templates-read': noResources,
  'resources-subscribe': noResources,
  'resources-unsubscribe': noResources,
  'prompts-list': noPrompts,
  'prompts-get-simple': noPrompts,
  'prompts-get-with-args': noPrompts,
  'prompts-get-embedded-resource': noPrompts,
  'prompts-get-with-image': noPrompts,
  'tools-call-simple-text': ownTools,
  'tools-call-error': ownTools,
  'json-schema-2020-12': ownTools,
  'server-stateless: sep-2575-server-rejects-undeclared-capability': noRequests,
  'server-stateless: sep-2575-missing-capability-http-400': noRequests,
  'server-stateless: sep-2575-http-server-no-independent-requests-on-stream': noRequests,
  'server-stateless: sep-2575-server-no-log-without-loglevel': noLogging,
  'caching: sep-2549-prompts-list-caching-hints': noPrompts,
  'caching: sep-2549-resources-list-caching-hints': noResources,
  'caching: sep-2549-resources-templates-list-caching-hints': noResources,
  'http-custom-header-server-validation': 'no tool of ours asks for a header of its own (x-mcp-header)',
  'input-required-result-basic-elicitation': noRequests,
  'input-required-result-basic-sampling': noRequests,
  'input-required-result-basic-list-roots': noRequests,
  'input-required-result-request-state': noRequests,
  'input-required-result-multiple-input-requests': noRequests,
  'input-required-result-multi-round': noRequests,
  'input-required-result-non-tool-request': noRequests,
  'input-required-result-result-type': noRequests,
  'input-required-result-tampered-state': noRequests,
  'input-required-result-capability-check': noRequests,
};

const undeclaredKey = (name: string): string => (name in undeclared ? name : (name.split(':', 1)[0] ?? name));

let world: SidecarWorld;
const folder = mkdtempSync(join(tmpdir(), 'glovebox-mcp-'));
beforeAll(async () => {
  world = await SidecarWorld.start();
  await world.provider(() => ({ ok: true, result: { text: 'hello' } }));
});
afterAll(async () => {
  await world.close();
  rmSync(folder, { recursive: true });
});

/** The suite is the agent: it comes through init and the link to the endpoint, as every client does. */
async function run(suite: string, revision: string): Promise<ReturnType<typeof readResults>> {
  const sidecar = await world.sidecar();
  await sidecar.openTurn();
  const output = join(folder, revision);
  sidecar.activate(
    suiteCommand(suite, 'http://127.0.0.1:9090/mcp', output, [
      ...['--suite', 'all', '--spec-version', revision],
    ]),
    { tools: { allow: ['files:read:/shared/**'], ask: ['files:write:/shared/**'] }, stdin: false },
  );
  await sidecar.report('exited');
  const text = readFileSync(sidecar.logPath, 'utf8');
  expect(text).toContain('=== SUMMARY ===');
  return readResults(output);
}

function judge({ ran, failed }: ReturnType<typeof readResults>, needed: readonly string[]): void {
  expect(failed.filter((name) => !(undeclaredKey(name) in undeclared))).toEqual([]);
  const failing = new Set(failed.map(undeclaredKey));
  const stale = Object.keys(undeclared).filter(
    (name) => ran.includes(name.split(':', 1)[0] ?? '') && !failing.has(name),
  );
  expect(stale, 'named as undeclared, but they pass').toEqual([]);
  expect(ran).toEqual(expect.arrayContaining([...needed]));
  for (const name of needed) expect(failing).not.toContain(name);
}

describe('the official MCP conformance suite, from within a sandbox', () => {
  it.each(['2025-06-18', '2025-11-25'])('passes for what is declared, on revision %s', async (revision) => {
    const results = await run(earlierSuite, revision);
    judge(results, ['server-initialize', 'ping', 'tools-list']);
    if (revision !== '2025-06-18') judge(results, ['dns-rebinding-protection', 'server-sse-polling']);
  });

  it('passes for what is declared, on the current revision 2026-07-28', async ({ skip }) => {
    const suite = await currentSuite().catch((error: unknown) => {
      const why = error instanceof Error ? (error.message.split('\n')[0] ?? '') : '';
      return skip(`the suite of the current revision cannot be had from the npm registry: ${why}`);
    });
    const results = await run(suite, '2026-07-28');
    judge(results, [
      ...['tools-list', 'http-header-validation', 'dns-rebinding-protection', 'server-sse-multiple-streams'],
      ...['input-required-result-unsupported-methods', 'sep-2164-resource-not-found'],
    ]);
    expect(results.passed.filter((name) => name.startsWith('server-stateless'))).not.toEqual([]);
  });
});

describe('the same endpoint over tools that the suite asks for', () => {
  const [list] = filesTools;
  if (list === undefined) throw new Error('no tool to make others from');
  const address = z
    .object({ street: z.string().optional(), city: z.string().optional() })
    .meta({ id: 'address' });
  const inputs = {
    test_simple_text: z.strictObject({}),
    test_error_handling: z.strictObject({}),
    json_schema_2020_12_tool: z.strictObject({ name: z.string().optional(), address: address.optional() }),
  };
  const endpoint = mcpEndpointOver(
    Object.entries(inputs).map(([name, input]) => ({ name, tool: { ...list, input }, decision: 'allow' })),
    (name) =>
      name === 'test_error_handling'
        ? Promise.reject(new GloveboxError('GB_NOT_FOUND', { what: 'such thing', detail: 'on purpose' }))
        : Promise.resolve({ text: 'This is a simple text response for testing.' }),
  );

  it.each(['tools-call-simple-text', 'tools-call-error', 'json-schema-2020-12'])(
    'passes %s',
    async (scenario) => {
      const server = createServer(
        (request, response) => void endpoint(request, response, { by: 'nothing' }),
      ).listen(0, '127.0.0.1');
      await once(server, 'listening');
      const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/mcp`;
      const output = join(folder, scenario);
      const [program = '', ...args] = suiteCommand(earlierSuite, url, output, ['--scenario', scenario]);
      await new Promise((resolve) => execFile(program, args, resolve));
      server.close();
      const { passed, failed } = readResults(output);
      expect(failed).toEqual([]);
      expect(passed).not.toEqual([]);
    },
  );
});

describe('the SDK’s own client', () => {
  it.each([
    ['2025-11-25', `{ versionNegotiation: { mode: 'legacy' } }`],
    ['2026-07-28', `{ versionNegotiation: { mode: { pin: '2026-07-28' } } }`],
  ])(
    'lists and calls tools on revision %s, and is promised nothing that never comes',
    async (revision, options) => {
      const sidecar = await world.sidecar();
      await sidecar.openTurn();
      const client = new URL(
        '../../node_modules/@modelcontextprotocol/client/dist/index.mjs',
        import.meta.url,
      );
      const script = `(async () => {
      const { Client, StreamableHTTPClientTransport } = await import(${JSON.stringify(client.href)});
      const client = new Client({ name: 'test', version: '1' }, ${options});
      await client.connect(new StreamableHTTPClientTransport(new URL('http://127.0.0.1:9090/mcp')));
      const { tools } = await client.listTools();
      const good = await client.callTool({ name: 'files_read', arguments: { path: '/shared/a' } });
      const bad = await client.callTool({ name: 'files_read', arguments: { path: '/other' } });
      const invalid = await client.callTool({ name: 'files_read', arguments: { path: 7 } }).catch((e) => ({ isError: true, e: String(e) }));
      const capabilities = client.getServerCapabilities();
      const version = client.getNegotiatedProtocolVersion();
      await client.close();
      console.log(JSON.stringify({ names: tools.map((tool) => tool.name), good, bad: bad.isError, invalid: invalid.isError, capabilities, version }));
    })()`;
      sidecar.activate([process.execPath, '-e', script], {
        tools: { allow: ['files:read:/shared/**'], ask: [] },
        stdin: false,
      });
      await sidecar.report('exited');
      expect(JSON.parse(readFileSync(sidecar.logPath, 'utf8'))).toMatchObject({
        names: ['files_list', 'files_read', 'files_search', 'request_permission'],
        good: { structuredContent: { text: 'hello' }, content: [{ type: 'text', text: '{"text":"hello"}' }] },
        bad: true,
        invalid: true,
        capabilities: { tools: { listChanged: false } },
        version: revision,
      });
    },
  );
});
