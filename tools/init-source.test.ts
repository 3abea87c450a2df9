import { execFileSync } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { expect, it } from 'vitest';
import { limits, type LimitName } from '../pure/contracts/limits.ts';

const folder = new URL('../untrusted/init/', import.meta.url);
const sources = readdirSync(folder)
  .filter((name) => name.endsWith('.go') && !name.endsWith('_test.go'))
  .map((name) => readFileSync(new URL(name, folder), 'utf8'));

/** The constants of init by the limits that they are. */
const constants: Partial<Record<LimitName, string>> = {
  initCommand: 'maxCommandLine',
  initLinger: 'lingering',
  initLingerOutput: 'drainLimit',
  initMessage: 'maxMessage',
  initName: 'maxNameLength',
  initResets: 'resetBurst',
  initResetTime: 'resetMemory',
  initStreamUnread: 'streamWindow',
  initTunnels: 'maxTunnels',
};

/** `64`, `1 << 20` or `9 * time.Second`, in milliseconds. */
function constant(name: string): number | undefined {
  const found = sources
    .map((text) =>
      new RegExp(`^\\s+${name}\\s+= (\\d+)(?: << (\\d+)| (\\* time\\.Second))?\\b`, 'm').exec(text),
    )
    .find((match) => match !== null);
  if (found === undefined) return undefined;
  const [, base, shift, seconds] = found;
  return Number(base) * (seconds === undefined ? 1 : 1000) * 2 ** Number(shift ?? 0);
}

it('init stays small enough to be read: below 1,000 lines of Go, tests aside', () => {
  expect(sources.length).toBeGreaterThan(0);
  const lines = sources.reduce((sum, text) => sum + text.split('\n').length - 1, 0);
  expect(lines).toBeLessThan(1000);
});

it('init imports nothing but the standard library, for every machine that it is built for', () => {
  for (const GOARCH of ['amd64', 'arm64']) {
    const output = execFileSync(
      'go',
      ['list', '-deps', '-f', '{{if not .Standard}}{{.ImportPath}}{{end}}', '.'],
      {
        cwd: folder,
        encoding: 'utf8',
        env: { ...process.env, GOARCH, GOOS: 'linux', CGO_ENABLED: '0', GOWORK: 'off', GOFLAGS: '' },
      },
    );
    expect(output.split('\n').filter(Boolean)).toEqual(['glovebox/init']);
  }
});

it('[R45] the bounds of init are those of the table of limits', () => {
  const owned = Object.entries(limits).filter(([, limit]) => limit.owner === 'init');
  expect(owned.map(([name]) => name).sort()).toEqual(Object.keys(constants).sort());
  for (const [name, { value }] of owned) {
    expect(constant(constants[name as LimitName] ?? ''), name).toBe(value);
  }
});
