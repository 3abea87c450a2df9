// Runs in the sandbox. For each line "<kind> <count>" on stdin: that many calls, and one line of JSON with their times in ms.
import { request, Agent } from 'node:http';
import { connect } from 'node:net';
import { createInterface } from 'node:readline';

const agent = new Agent({ keepAlive: true, maxSockets: 1 });
const post = (path, body, headers = {}) =>
  new Promise((resolve, reject) => {
    const text = JSON.stringify(body);
    const outgoing = request(
      {
        host: '127.0.0.1',
        port: 9090,
        method: 'POST',
        path,
        agent,
        headers: {
          'content-type': 'application/json',
          'content-length': Buffer.byteLength(text),
          ...headers,
        },
      },
      (response) => {
        let answer = '';
        response.setEncoding('utf8').on('data', (chunk) => (answer += chunk));
        response.on('end', () =>
          response.statusCode < 300 ? resolve(answer) : reject(new Error(`${response.statusCode} ${answer}`)),
        );
      },
    );
    outgoing.on('error', reject);
    outgoing.end(text);
  });

let wire;
const echo = async () => {
  wire ??= await new Promise((resolve) => {
    const socket = connect(9090, '127.0.0.1', () => resolve(socket.setNoDelay()));
  });
  await new Promise((resolve) => {
    wire.once('data', resolve);
    wire.write(`${JSON.stringify({ path: '/shared/hello.txt' })}\n`);
  });
};

let number = 0;
const mcp = (method, params) =>
  post(
    '/mcp',
    { jsonrpc: '2.0', id: (number += 1), method, params },
    { accept: 'application/json, text/event-stream', 'mcp-protocol-version': '2025-06-18' },
  );
const kinds = {
  api: async () => {
    const answer = await post('/v1/tools/files_read', { path: '/shared/hello.txt' });
    if (!answer.includes('hello')) throw new Error(answer);
  },
  mcp: async () => {
    const answer = await mcp('tools/call', { name: 'files_list', arguments: { path: '/shared' } });
    if (!answer.includes('hello.txt')) throw new Error(answer);
  },
  bare: echo,
};

for await (const line of createInterface({ input: process.stdin })) {
  const [kind, count] = line.split(' ');
  if (kind === 'mcp' && number === 0)
    await mcp('initialize', {
      protocolVersion: '2025-06-18',
      capabilities: {},
      clientInfo: { name: 'bench', version: '1' },
    });
  const took = [];
  for (let round = 0; round < Number(count); round += 1) {
    const began = performance.now();
    await kinds[kind]();
    took.push(performance.now() - began);
  }
  process.stdout.write(`${JSON.stringify(took)}\n`);
}
