import { execFileSync, spawn, spawnSync } from 'node:child_process';
import { readFileSync, statSync, writeFileSync } from 'node:fs';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { createServer, type Server } from 'node:https';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { SessionAuthority } from '../../trusted/sidecar/session-authority.ts';
import { World } from './world.ts';

/**
 * Real tools in a sandbox against upstreams of ours: real TLS, and answers such as registries give. None of them is told of the proxy
 * or of the session's authority by its own arguments.
 */
const host = 'tools.example';
const has = (tool: string): boolean => spawnSync('sh', ['-c', `command -v ${tool}`]).status === 0;

/** What each says when it works; a tool that the host lacks is skipped by its name. */
const probes: Readonly<Record<string, { readonly script: string; readonly says: string }>> = {
  curl: { script: 'curl -sS $BASE/plain/hello', says: 'hello from the upstream' },
  wget: { script: 'wget -qO- $BASE/plain/hello', says: 'hello from the upstream' },
  python3: {
    script: `python3 -c "import os, urllib.request; print(urllib.request.urlopen(os.environ['BASE'] + '/plain/hello').read().decode())"`,
    says: 'hello from the upstream',
  },
  git: {
    script: `export GIT_CONFIG_COUNT=2 GIT_CONFIG_KEY_0=user.name GIT_CONFIG_VALUE_0=a GIT_CONFIG_KEY_1=user.email GIT_CONFIG_VALUE_1=a@example
      git clone -q $BASE/git/repo.git clone && cd clone && cat README && git fetch -q && git switch -q -c agent/one &&
      echo more > more && git add more && git commit -qm more && git push -q origin agent/one && echo pushed`,
    says: 'git works\npushed',
  },
  npm: {
    script: `npm install --silent --no-audit --no-fund --registry $BASE/npm/ gb-probe && node -p "require('gb-probe')"`,
    says: 'npm works',
  },
  pip3: {
    script: `python3 -m pip install -q --disable-pip-version-check --no-input --index-url $BASE/pip/simple --target lib gb-probe && PYTHONPATH=lib python3 -c "import gb_probe; print(gb_probe.said)"`,
    says: 'pip works',
  },
  go: {
    script: `export GOPROXY=$BASE/go GOSUMDB=off GOFLAGS=-mod=mod GOTOOLCHAIN=local
      go mod init -q me 2>/dev/null || go mod init me 2>/dev/null
      go get gb.example/probe@v1.0.0 2>&1 | grep -v 'go: ' ; grep -q gb.example/probe go.mod && echo 'go works'`,
    says: 'go works',
  },
};

let world: World;
let server: Server;
let said: Record<string, string> = {};

beforeAll(async () => {
  world = new World([host]);
  const authority = await SessionAuthority.create('tools', Date.now(), 86_400_000);
  const { keyPem: key, chainPem: cert } = await authority.issue(host, Date.now());
  const files = join(world.folder, 'registry');
  server = createServer({ key, cert }, (request, response) => void answer(files, request, response));
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  const base = `https://${host}:${port}`;
  execFileSync('python3', [join(import.meta.dirname, 'tool-artefacts.py'), files, base]);
  const caFile = join(world.folder, 'ca.pem');
  writeFileSync(caFile, authority.certificatePem);
  const policy = join(world.folder, 'policy.yaml');
  writeFileSync(
    policy,
    `version: 1
egress:
  - host: ${host}
    port: ${port}
    paths: [/git/repo.git/**]
    methods: [GET, POST]
    git: { push: [refs/heads/agent/**] }
    privateRanges: [127.0.0.0/8]
    caFile: ${caFile}
  - host: ${host}
    port: ${port}
    privateRanges: [127.0.0.0/8]
    caFile: ${caFile}
`,
  );
  const steps = Object.entries(probes).map(
    ([tool, { script }]) =>
      `mkdir -p /tmp/t/${tool}; cd /tmp/t/${tool}; echo; echo "=== ${tool}"; ( ${script} ) 2>&1`,
  );
  writeFileSync(join(world.project, 'probe.sh'), `export BASE=${base}\n${steps.join('\n')}\n`);
  await world.waive();
  const { out } = await world.glovebox([
    'run',
    '--name',
    'tools',
    '--policy',
    policy,
    '--',
    'sh',
    'probe.sh',
  ]);
  said = Object.fromEntries(
    out
      .split(/^=== /m)
      .slice(1)
      .map((part): [string, string] => {
        const [name = '', ...rest] = part.split('\n');
        return [name, rest.join('\n').trim()];
      }),
  );
}, 240_000);
afterAll(async () => {
  server.closeAllConnections();
  server.close();
  await world.close();
});

describe('finds the proxy and trusts the session’s authority without being told', () => {
  for (const [tool, { says }] of Object.entries(probes))
    it(tool, ({ skip }) => {
      if (!has(tool)) skip(`this host has no ${tool}`);
      expect(said[tool]).toBe(says);
    });

  it('[R41] and each of their requests is in `egress log` with rule, address, bytes and time', async () => {
    const { out } = await world.glovebox(['egress', 'log', 'tools', '--json']);
    const entries = JSON.parse(out) as {
      method: string;
      url: string;
      rule: string;
      address: string;
      ms: number;
    }[];
    const hello = entries.find(({ url }) => url.endsWith('/plain/hello'));
    expect(hello).toMatchObject({
      method: 'GET',
      rule: 'egress.1',
      address: '127.0.0.1',
      status: 200,
      received: 23,
    });
    expect(entries.some(({ url, rule }) => url.endsWith('/git-receive-pack') && rule === 'egress.0')).toBe(
      true,
    );
  });
});

async function answer(files: string, request: IncomingMessage, response: ServerResponse): Promise<void> {
  const [path = '/', query = ''] = (request.url ?? '/').split('?');
  if (path.startsWith('/git/')) return gitBackend(files, path, query, request, response);
  for (const name of [path, join(path, 'index')]) {
    const file = join(files, decodeURIComponent(name));
    if (statSync(file, { throwIfNoEntry: false })?.isFile() !== true) continue;
    const type =
      path.startsWith('/npm') && name !== path
        ? 'application/json'
        : path.startsWith('/pip/simple')
          ? 'text/html'
          : 'application/octet-stream';
    response.writeHead(200, { 'content-type': type }).end(readFileSync(file));
    return;
  }
  response.writeHead(404).end();
}

/** git’s own server, by CGI (RFC 3875). */
function gitBackend(
  files: string,
  path: string,
  query: string,
  request: IncomingMessage,
  response: ServerResponse,
): void {
  const child = spawn('git', ['-c', 'safe.directory=*', 'http-backend'], {
    env: {
      PATH: process.env['PATH'],
      GIT_PROJECT_ROOT: join(files, 'git'),
      GIT_HTTP_EXPORT_ALL: '1',
      PATH_INFO: path.slice('/git'.length),
      QUERY_STRING: query,
      REQUEST_METHOD: request.method,
      CONTENT_TYPE: request.headers['content-type'],
      HTTP_CONTENT_ENCODING: request.headers['content-encoding'],
      GIT_PROTOCOL: String(request.headers['git-protocol'] ?? ''),
      REMOTE_USER: 'agent',
    },
  });
  request.pipe(child.stdin);
  child.stdin.on('error', () => undefined);
  const chunks: Buffer[] = [];
  child.stdout.on('data', (chunk: Buffer) => chunks.push(chunk));
  child.on('close', () => {
    const all = Buffer.concat(chunks);
    const end = all.indexOf('\r\n\r\n');
    const head = all
      .subarray(0, end)
      .toString()
      .split('\r\n')
      .map((line): [string, string] => {
        const at = line.indexOf(':');
        return [line.slice(0, at).toLowerCase(), line.slice(at + 1).trim()];
      });
    const status = Number(head.find(([name]) => name === 'status')?.[1].slice(0, 3) ?? '200');
    response.writeHead(status, Object.fromEntries(head.filter(([name]) => name !== 'status')));
    response.end(all.subarray(end + 4));
  });
}
