import { execFile } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, request, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { z } from 'zod';
import { schemathesis } from '../../tools/checks/test-tools.mjs';
import { ControlPlaneWorld } from './control-plane-world.ts';

const described = z.object({
  paths: z.record(z.string(), z.record(z.string(), z.looseObject({ operationId: z.string() }))),
});

const world = new ControlPlaneWorld();
const folder = mkdtempSync(join(tmpdir(), 'glovebox-fuzz-'));
let proxy: Server;
let address = '';
const failures: string[] = [];
let answered = 0;
let count = 0;

beforeAll(async () => {
  await world.start();
  await world.waiveWhatIsMissing();
  const { id } = await world.run(['sh', '-c', 'echo change > file; sleep 600']);
  await world.untilState(id, 'running');
  // The tool speaks TCP, the API a socket: what it sends is passed on as it is.
  proxy = createServer((given, answer) => {
    const { method, url = '/', headers } = given;
    count += 1;
    // Every second request for some session is for the one that there is: what lies behind the first check is reached too.
    const path = count % 2 === 0 ? url.replace(/^(\/v1\/sessions\/)[^/?]+/, `$1${id}`) : url;
    const call = request({ socketPath: world.socket, method, path, headers }, (response) => {
      answered += 1;
      if ((response.statusCode ?? 0) >= 500) failures.push(`${response.statusCode} ${method} ${path}`);
      answer.writeHead(response.statusCode ?? 0, response.headers);
      response.pipe(answer);
    });
    call.on('error', () => answer.destroy());
    given.pipe(call);
  }).listen(0, '127.0.0.1');
  await once(proxy, 'listening');
  address = `http://127.0.0.1:${(proxy.address() as AddressInfo).port}`;
});
afterAll(async () => {
  proxy.closeAllConnections();
  proxy.close();
  await world.close();
  rmSync(folder, { recursive: true, force: true });
});

describe('the operator API by its own description', () => {
  it('[R3] gives no failure of its own to anything that the description allows or forbids', async ({
    skip,
  }) => {
    const program = await schemathesis().catch((error: unknown) =>
      skip(
        `schemathesis cannot be had from PyPI: ${error instanceof Error ? error.message.slice(0, 200) : ''}`,
      ),
    );
    const { body } = await world.call('GET', '/openapi.json');
    expect((body as { openapi: string }).openapi).toBe('3.1.0');
    const file = join(folder, 'openapi.json');
    writeFileSync(file, JSON.stringify(body));
    const ended = await new Promise<{ code: unknown; text: string }>((resolve) => {
      execFile(
        program,
        [
          ...['run', file, '--url', address, '--seed', '1', '--no-shrink', '--no-color', '--workers', '2'],
          ...['--phases', 'coverage,fuzzing', '--max-examples', '8', '--request-timeout', '20'],
          ...['--rate-limit', '90/s', '--generation-database', 'none'],
          // It ends the server; it streams for ever; a door of its own, which the last test shows.
          ...[
            '--exclude-path',
            '/v1/shutdown',
            '--exclude-path',
            '/v1/events',
            '--exclude-path',
            '/v1/browser',
          ],
          ...['--checks', 'not_a_server_error,content_type_conformance,response_schema_conformance'],
        ],
        { cwd: folder, timeout: 900_000, maxBuffer: 64 << 20 },
        (error, out, err) => resolve({ code: error?.code ?? 0, text: `${out}${err}` }),
      );
    });
    expect(failures).toEqual([]);
    expect(ended.code, ended.text.slice(-6000)).toBe(0);
    expect(answered).toBeGreaterThan(300);
    expect((await world.call('GET', '/v1/health')).status).toBe(200);
  }, 1_000_000);

  it('[R39] succeeds in no operation for who is not logged in, at the door for browsers', async () => {
    const { body } = await world.call('POST', '/v1/browser');
    const { origin } = new URL((body as { url: string }).url);
    const { body: description } = await world.call('GET', '/openapi.json');
    const found: string[] = [];
    for (const [path, methods] of Object.entries(described.parse(description).paths))
      for (const method of Object.keys(methods)) {
        const url = `${origin}${path.replaceAll(/\{\w+\}/g, 'x')}`;
        const { status } = await fetch(url, { method: method.toUpperCase(), headers: { origin } });
        found.push(`${status}`);
        expect([401, 409, 400], `${method} ${path}`).toContain(status);
      }
    expect(found.length).toBeGreaterThan(25);
    expect((await world.call('DELETE', '/v1/browser')).body).toEqual({ closed: true });
  });
});
