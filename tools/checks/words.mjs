// Nothing in the repository may belong to one machine: a path or name of it works for its owner only.
import { homedir, hostname } from 'node:os';
import { root } from '../setup/paths.mjs';
import { repositoryFiles, textOf } from './files.mjs';

const generic = new Set(['/', '/root', '/nonexistent', '/home/agent']);
const plainHosts = /^(localhost|debian|ubuntu|fedora|linux|node|host|runner|test|glovebox)$/i;

/** @param {string} text */
const escape = (text) => text.replace(/[.*+?^${}()|[\]\\]/g, '\\$&');

/** What must not be found, and why. @returns {{ pattern: RegExp, why: string }[]} */
export function machineWords(home = homedir(), host = hostname(), checkout = root) {
  const words = [
    { pattern: /(?<![\w.-])\/work\/(?:main|shared)\b/, why: 'a folder of a build machine' },
    { pattern: /(?<![\w.-])\/root\/[.\w]/, why: "a path in root's home" },
    {
      pattern: /(?<![\w.-])\/(?:home|Users)\/(?!(?:agent|alice|bob|user|you)\b)[a-z][\w-]*\//,
      why: "a path in somebody's home",
    },
    { pattern: /\/tmp\/(?:gb|bash_jobs|claude)[\w.-]*\//, why: 'a temporary folder of a machine' },
    { pattern: /\b(?:ip-\d+-\d+-\d+-\d+|[a-z0-9]{12}\.local)\b/, why: 'the name of a machine' },
  ];
  if (!generic.has(home) && home.length > 5)
    words.push({ pattern: new RegExp(`${escape(home)}\\b`), why: 'your home folder' });
  if (checkout.split('/').length > 2)
    words.push({ pattern: new RegExp(`${escape(checkout)}\\b`), why: 'the folder of this checkout' });
  if (host.length > 5 && !plainHosts.test(host))
    words.push({ pattern: new RegExp(`\\b${escape(host)}\\b`), why: "this machine's name" });
  return words;
}

/** @param {string} text @param {ReturnType<typeof machineWords>} words */
export function findWords(text, words) {
  return text
    .split('\n')
    .flatMap((line, index) =>
      words
        .filter(({ pattern }) => pattern.test(line))
        .map(({ why }) => ({ line: index + 1, why, text: line.trim().slice(0, 120) })),
    );
}

/** @returns {string[]} one line for each finding */
export function checkWords() {
  const words = machineWords();
  return repositoryFiles().flatMap((path) =>
    findWords(textOf(path) ?? '', words).map(({ line, why, text }) => `${path}:${line}: ${why}: ${text}`),
  );
}
