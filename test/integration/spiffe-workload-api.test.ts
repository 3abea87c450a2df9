import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, mkdirSync, mkdtempSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface, type Interface } from 'node:readline';
import { Client, credentials, Metadata, status, type ServiceError } from '@grpc/grpc-js';
import fc from 'fast-check';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { z } from 'zod';
import {
  defaultTrustDomain,
  defineRoutes,
  spiffeId,
  splitSpiffeId,
  type Workload,
} from '../../pure/contracts/index.ts';
import {
  ConnectionRegistry,
  IdentityAuthority,
  MemoryIdentityStore,
  SvidSource,
  systemClock,
} from '../../trusted/identity/index.ts';
import { TestClock } from '../../trusted/identity/testing.ts';
import { startTestSigner, type TestSigner } from '../../trusted/signer/testing.ts';
import { WorkloadSocket } from '../../trusted/spiffe-api/index.ts';
import { RequestRate, serveRoutes, type RouteServer } from '../../trusted/workload-http/index.ts';
import { spiffeClient } from '../../tools/checks/test-tools.mjs';

/** A Glovebox server that says who came. */
const whoami = defineRoutes({
  whoami: {
    method: 'GET',
    path: '/v1/whoami',
    callers: ['provider'],
    owner: 'self',
    response: z.object({ id: z.string(), serial: z.string() }),
  },
});
const workload: Workload = { kind: 'provider', domain: 'files', name: 'go' };
const id = spiffeId(defaultTrustDomain, workload);
const serverId = spiffeId(defaultTrustDomain, { kind: 'control-plane', replica: 'local' });
const folder = mkdtempSync(join(tmpdir(), 'glovebox-spiffe-'));

let signer: TestSigner;
let authority: IdentityAuthority;
let server: RouteServer;
let program = '';
const closers: (() => unknown)[] = [];
beforeAll(async () => {
  signer = await startTestSigner();
  authority = new IdentityAuthority({
    signer: signer.signer,
    store: new MemoryIdentityStore(),
    now: Date.now,
  });
  const connections = new ConnectionRegistry(systemClock);
  authority.onRevoked((serials) => connections.revoke(serials));
  server = await serveRoutes(
    {
      routes: whoami,
      handlers: {
        whoami: async ({ caller }) => ({ id: caller.identity.id, serial: caller.serial }),
      },
      identity: await sourceOf({ kind: 'control-plane', replica: 'local' }),
      trustDomain: defaultTrustDomain,
      clientCertificate: 'required',
      connections,
      rate: new RequestRate('workloadRate', 10_000, Date.now),
      now: Date.now,
      onRefused: () => undefined,
      onError: () => undefined,
    },
    0,
  );
  program = await spiffeClient();
});
afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close();
});
afterAll(async () => {
  await server.close();
  await signer.close();
  rmSync(folder, { recursive: true, force: true });
});

async function sourceOf(of: Workload, clock = systemClock): Promise<SvidSource> {
  const own = spiffeId(defaultTrustDomain, of);
  return await SvidSource.start({
    issue: async (csr) => await authority.issueOwn(own, csr),
    renew: async (csr, current) => await authority.renewOwn(own, current.serial, csr),
    expectedId: own,
    clock,
  });
}

let count = 0;
async function offered(
  clock = new TestClock(),
): Promise<{ socket: WorkloadSocket; source: SvidSource; clock: TestClock }> {
  const source = await sourceOf(workload, clock);
  const socket = await WorkloadSocket.open({
    folder: join(folder, `workload-${(count += 1)}`),
    identity: source,
  });
  closers.push(
    () => source.close(),
    async () => await socket.close(),
  );
  return { socket, source, clock };
}

interface GoAnswer {
  readonly id: string;
  readonly serial: string;
  readonly status?: number;
  readonly body?: string;
  readonly error?: string;
}

/** The Go program, which makes one call for each line. */
class GoClient {
  readonly child: ChildProcess;
  readonly #lines: Interface;
  constructor(socket: string, expected: string = serverId) {
    const url = `https://127.0.0.1:${server.port}/v1/whoami`;
    this.child = spawn(program, ['call', `unix://${socket}`, url, expected], {
      stdio: ['pipe', 'pipe', 'inherit'],
    });
    if (this.child.stdout === null) throw new Error('no output');
    this.#lines = createInterface(this.child.stdout);
    closers.push(() => this.child.kill('SIGKILL'));
  }

  async call(): Promise<GoAnswer> {
    const line = once(this.#lines, 'line') as Promise<[string]>;
    this.child.stdin?.write('\n');
    return JSON.parse((await line)[0]) as GoAnswer;
  }
}

describe('the SPIFFE Workload API, to go-spiffe', () => {
  it('[R7] an SVID is fetched, used for mutual TLS with a server of ours, rotated, and used again', async () => {
    const { socket, source, clock } = await offered();
    const client = new GoClient(socket.path);
    const first = await client.call();
    expect(first).toMatchObject({ id, serial: source.current().serial, status: 200 });
    expect(JSON.parse(first.body ?? '')).toEqual({ id, serial: first.serial });
    for (let rotation = 0; rotation < 3; rotation += 1) {
      const before = source.current().serial;
      const rotated = new Promise((resolve) => source.onRotate(resolve));
      clock.advanceTo(clock.next ?? 0);
      await rotated;
      let answer = await client.call();
      // The stream is another connection than the call's: it may be a moment behind.
      while (answer.serial === before) answer = await client.call();
      expect(answer).toMatchObject({ serial: source.current().serial, status: 200 });
    }
  });

  it('[R2] the Go program takes no other server of ours for the one that it wants', async () => {
    const { socket } = await offered();
    const other = spiffeId(defaultTrustDomain, { kind: 'control-plane', replica: 'other' });
    expect((await new GoClient(socket.path, other).call()).error).toContain('unexpected ID');
    expect((await new GoClient(socket.path).call()).status).toBe(200);
  });

  it('[R4] a revoked workload has no stream, no certificate and no call any more', async () => {
    const { socket, source, clock } = await offered();
    const client = new GoClient(socket.path);
    expect((await client.call()).status).toBe(200);
    await authority.revoke(id);
    expect((await client.call()).error).toBeDefined();
    // It is not renewed either; with its end there is nothing to hand out.
    const over = new Promise((resolve) => source.onEnd(resolve));
    const { notAfter } = source.current();
    for (;;) {
      clock.advanceTo(Math.min(clock.next ?? Infinity, notAfter.getTime()));
      const ended = await Promise.race([
        over,
        new Promise((resolve) => setImmediate(() => resolve(undefined))),
      ]);
      if (ended !== undefined) break;
    }
    expect((await fetchSvid(socket.path, { 'workload.spiffe.io': 'true' })).code).toBe(
      status.PERMISSION_DENIED,
    );
  });
});

describe('the SPIFFE Workload API, to anybody', () => {
  it('[R7] answers only calls with the header of the standard', async () => {
    const { socket } = await offered();
    expect((await fetchSvid(socket.path, {})).code).toBe(status.INVALID_ARGUMENT);
    expect((await fetchSvid(socket.path, { 'workload.spiffe.io': 'false' })).code).toBe(
      status.INVALID_ARGUMENT,
    );
    expect((await fetchSvid(socket.path, { 'workload.spiffe.io': 'true' })).code).toBe(status.OK);
  });

  it('[R7] does not serve what it does not have: JWT-SVIDs are unimplemented', async () => {
    const { socket } = await offered();
    const answer = await fetchSvid(socket.path, { 'workload.spiffe.io': 'true' }, 'FetchJWTSVID');
    expect(answer.code).toBe(status.UNIMPLEMENTED);
  });

  it('[R7] its folder is the attestation: nobody else may enter it, and a loose one is refused', async () => {
    const { socket } = await offered();
    expect(statSync(join(socket.path, '..')).mode & 0o777).toBe(0o700);
    expect(statSync(socket.path).mode & 0o777).toBe(0o600);
    const loose = join(folder, 'loose');
    mkdirSync(loose);
    chmodSync(loose, 0o755);
    const source = await sourceOf(workload);
    closers.push(() => source.close());
    await expect(WorkloadSocket.open({ folder: loose, identity: source })).rejects.toThrow(/GB_/);
  });
});

/** The first answer, or the end of the call, by hand: what a client sends and gets is bytes. */
async function fetchSvid(
  path: string,
  headers: Readonly<Record<string, string>>,
  method = 'FetchX509SVID',
): Promise<{ readonly code: number }> {
  const client = new Client(`unix:${path}`, credentials.createInsecure());
  const metadata = new Metadata();
  for (const [name, value] of Object.entries(headers)) metadata.set(name, value);
  const bytes = (value: Buffer): Buffer => value;
  const call = client.makeServerStreamRequest(
    `/SpiffeWorkloadAPI/${method}`,
    bytes,
    bytes,
    Buffer.alloc(0),
    metadata,
  );
  const code = await new Promise<number>((resolve) => {
    call.once('data', () => resolve(status.OK));
    call.on('error', (error: ServiceError) => resolve(error.code));
  });
  call.cancel();
  client.close();
  return { code };
}

describe('SPIFFE IDs, beside go-spiffe', () => {
  const lower = 'abcdefghijklmnopqrstuvwxyz0123456789';
  const odd = [
    ...'/.:@%?#_- A\\~\u0000\n\u00e9\u0131',
    '//',
    '/./',
    '/../',
    '%2e',
    '%2F',
    'spiffe://',
    'SPIFFE://',
    ':443',
    'a@',
  ];
  const texts: readonly string[] = [
    ...fc.sample(fc.string({ maxLength: 60 }), { numRuns: 2000, seed: 1 }),
    ...fc.sample(
      fc
        .array(fc.oneof({ weight: 3, arbitrary: fc.constantFrom(...lower) }, fc.constantFrom(...odd)), {
          maxLength: 40,
        })
        .map((parts) => `spiffe://${parts.join('')}`),
      { numRuns: 8000, seed: 2 },
    ),
    ...fc.sample(
      fc
        .tuple(fc.constantFrom(id, serverId), fc.nat({ max: 80 }), fc.constantFrom(...lower, ...odd, ''))
        .map(([good, at, text]) => `${good.slice(0, at)}${text}${good.slice(at + 1)}`),
      { numRuns: 8000, seed: 3 },
    ),
    `spiffe://${'a'.repeat(255)}/x`,
    `spiffe://${'a'.repeat(256)}/x`,
    `spiffe://a/${'b'.repeat(2048 - 11)}`,
    `spiffe://a/${'b'.repeat(2048 - 10)}`,
    'spiffe://',
    'spiffe:///a',
    'spiffe://a/',
    'spiffe://a',
  ];

  it('[R1] this parser takes nothing that go-spiffe does not, and refuses only what the standard bounds besides', async () => {
    const child = spawn(program, ['ids'], { stdio: ['pipe', 'pipe', 'inherit'] });
    let answer = '';
    child.stdout.on('data', (chunk: Buffer) => (answer += chunk.toString()));
    child.stdin.end(JSON.stringify(texts.map((text) => text.toWellFormed())));
    await once(child, 'close');
    const theirs = JSON.parse(answer) as boolean[];
    const differing = texts.filter((text, index) => splitSpiffeId(text).ok !== theirs[index]);
    // go-spiffe does not look at lengths; the standard's bounds (2.1 and 2.3) are kept here.
    expect(differing.every((text) => !splitSpiffeId(text).ok)).toBe(true);
    expect(differing.filter((text) => text.length <= 2048 && !/^spiffe:\/\/[^/]{256}/.test(text))).toEqual(
      [],
    );
    expect(theirs.filter(Boolean).length).toBeGreaterThan(500);
    expect(theirs.filter((good) => !good).length).toBeGreaterThan(5000);
  });
});
