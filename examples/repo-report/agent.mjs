// An agent without a model: it reports on the folder that it was started in, and meets every door of its box once.
//   ./glovebox run -- node examples/repo-report/agent.mjs
import { readdir, readFile, stat, writeFile } from 'node:fs/promises';
import { request } from 'node:http';
import { extname, join, relative } from 'node:path';
import { connect, GloveboxRefusal } from '../../dist/agent-sdk.js';

const root = process.cwd();
const skip = new Set(['.git', 'node_modules', 'dist', '.build', 'coverage', 'target', '.venv']);
const glovebox = connect();

const files = await walk(root);
const report = await describe(files);

// 1. Staged changes: this file is written to a copy; the person decides at the end whether it comes out.
await writeFile(join(root, 'GLOVEBOX-REPORT.md'), report);
console.log(
  `read ${files.length} files and wrote GLOVEBOX-REPORT.md (staged: your folder is untouched until you apply it)`,
);

// 2. The network: there is none. The one proxy knows its allow-list, and this host is not on it.
console.log(`asked for https://example.com through the only door: ${await tryHost('example.com')}`);

// 3. A tool that changes something outside the sandbox needs a person's consent.
try {
  await glovebox.callWithConsent(
    'files_write',
    { path: '/shared/GLOVEBOX-REPORT.md', content: report },
    'I would like to keep a copy of the report in your shared folder.',
  );
  console.log('with your consent, kept a copy in the shared folder (files_write /shared/GLOVEBOX-REPORT.md)');
} catch (error) {
  if (!(error instanceof GloveboxRefusal)) throw error;
  console.log(`no copy in the shared folder: ${error.message} (${error.code})`);
}

// 4. All of it is in the audit trail.
const { sessionId } = await glovebox.session();
console.log(`what happened is written down: glovebox audit --session ${sessionId}`);

async function walk(folder) {
  const found = [];
  for (const entry of await readdir(folder, { withFileTypes: true })) {
    if (skip.has(entry.name)) continue;
    const path = join(folder, entry.name);
    if (entry.isDirectory()) found.push(...(await walk(path)));
    else if (entry.isFile()) found.push(path);
    if (found.length > 20_000) break;
  }
  return found;
}

async function describe(paths) {
  const kinds = new Map();
  const largest = [];
  let notes = 0;
  for (const path of paths) {
    const { size } = await stat(path);
    const kind = extname(path) || '(none)';
    const row = kinds.get(kind) ?? { files: 0, bytes: 0, lines: 0 };
    row.files += 1;
    row.bytes += size;
    largest.push([size, relative(root, path)]);
    if (size < 500_000) {
      const text = await readFile(path, 'utf8');
      row.lines += text.split('\n').length - 1;
      notes += text.match(/\b(?:TO[D]O|FIX[M]E)\b/g)?.length ?? 0;
    }
    kinds.set(kind, row);
  }
  const rows = [...kinds].sort(([, a], [, b]) => b.bytes - a.bytes).slice(0, 15);
  largest.sort(([a], [b]) => b - a);
  return [
    '# What is in this folder',
    '',
    `${paths.length} files, ${notes} notes left for later.`,
    '',
    '| kind | files | lines | bytes |',
    '|---|---:|---:|---:|',
    ...rows.map(([kind, row]) => `| ${kind} | ${row.files} | ${row.lines} | ${row.bytes} |`),
    '',
    'The largest files:',
    '',
    ...largest.slice(0, 5).map(([size, path]) => `- \`${path}\`: ${size} bytes`),
    '',
  ].join('\n');
}

function tryHost(host) {
  return new Promise((resolve) => {
    const attempt = request({ host: '127.0.0.1', port: 3128, method: 'CONNECT', path: `${host}:443` });
    attempt.on('connect', (response, socket) => {
      socket.destroy();
      resolve(response.statusCode === 200 ? 'let through' : `refused (HTTP ${response.statusCode})`);
    });
    attempt.on('response', (response) => {
      response.resume();
      resolve(`refused (HTTP ${response.statusCode})`);
    });
    attempt.on('error', (error) => resolve(`refused (${error.code ?? error.message})`));
    attempt.end();
  });
}
