import { execFileSync, spawnSync } from 'node:child_process';
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { commands } from '../command-table.ts';
import { completionScript } from './completion.ts';
import { manualPage } from './manual.ts';

const folder = mkdtempSync(join(tmpdir(), 'glovebox-words-'));
afterAll(() => rmSync(folder, { recursive: true }));
// What a shell asks for the names of sessions.
writeFileSync(join(folder, 'glovebox'), '#!/bin/sh\nprintf "NAME ID\\ncalm-fox 1\\nbold-owl 2\\n"\n');
chmodSync(join(folder, 'glovebox'), 0o755);
const env = { PATH: `${folder}:/usr/bin:/bin`, HOME: folder };
const has = (shell: string): boolean => spawnSync(shell, ['-c', 'exit 0'], { env }).status === 0;

/** What bash offers for the last of these words. */
function offered(shell: 'bash' | 'zsh', words: readonly string[]): string[] {
  const script = join(folder, `completion.${shell}`);
  writeFileSync(script, completionScript('bash', commands));
  const list = words.map((word) => `'${word}'`).join(' ');
  const ask = `source ${script}; COMP_WORDS=(${list}); COMP_CWORD=${words.length - 1}; _glovebox; printf '%s\\n' "\${COMPREPLY[@]}"`;
  return execFileSync(shell, ['-c', ask], { env, encoding: 'utf8' })
    .split('\n')
    .filter((line) => line !== '');
}

describe('completion', () => {
  it('in bash offers commands, options and the names of sessions', ({ skip }) => {
    if (!has('bash')) skip('this host has no bash');
    expect(offered('bash', ['glovebox', 'un'])).toEqual(['uninstall']);
    expect(offered('bash', ['glovebox', ''])).toHaveLength(commands.length);
    expect(offered('bash', ['glovebox', 'run', '--pol'])).toEqual(['--policy']);
    expect(offered('bash', ['glovebox', 'stop', 'c'])).toEqual(['calm-fox']);
    expect(offered('bash', ['glovebox', 'ps', 'c'])).toEqual([]);
  });

  it.each(['bash', 'zsh', 'fish'] as const)('is a script that %s accepts', (shell) => {
    const script = completionScript(shell, commands);
    for (const { usage } of commands) expect(script).toContain(usage.split(' ')[0]);
    if (!has(shell)) return;
    writeFileSync(join(folder, 'script'), script);
    const checked = spawnSync(shell, [shell === 'fish' ? '--no-execute' : '-n', join(folder, 'script')], {
      env,
    });
    expect(checked.stderr.toString()).toBe('');
    expect(checked.status).toBe(0);
  });
});

describe('the manual page', () => {
  const page = manualPage(commands, '1.2.3');

  it('has every command with every option, and every exit code', () => {
    for (const { usage, options } of commands) {
      expect(page).toContain(`.SS ${usage.replaceAll('-', '\\-')}`);
      for (const [flags] of options) expect(page).toContain(`.B ${flags.replaceAll('-', '\\-')}`);
    }
    for (const exit of [64, 69, 77, 124, 137]) expect(page).toContain(`.B ${exit}\n`);
  });

  it('is a page to a formatter, without a warning', ({ skip }) => {
    const formatter = ['mandoc', 'groff'].find(
      (name) => has(name) || spawnSync(name, ['--version'], { env }).status === 0,
    );
    if (formatter === undefined) return skip('this host has no formatter of manual pages');
    const args = formatter === 'groff' ? ['-man', '-ww', '-Tutf8'] : ['-Tutf8'];
    const made = spawnSync(formatter, args, { input: page, env });
    expect(made.stderr.toString()).toBe('');
    expect(made.stdout.toString()).toContain('GLOVEBOX');
  });
});
