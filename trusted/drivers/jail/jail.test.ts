import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { spawnJailed } from './jail.ts';

const folder = mkdtempSync(join(tmpdir(), 'gb-jail-'));
for (const name of ['root', 'seen', 'unseen', 'data']) mkdirSync(join(folder, name));
writeFileSync(join(folder, 'seen', 'a'), 'seen');
writeFileSync(join(folder, 'unseen', 'a'), 'unseen');

async function inJail(
  script: string,
  uid: number | null = 1_900_000_001,
): Promise<{ code: number | null; out: string }> {
  const child = spawnJailed({
    program: ['/bin/sh', '-c', script],
    readOnly: [join(folder, 'seen')],
    writable: [join(folder, 'data')],
    uid,
    mountPoint: join(folder, 'root'),
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let out = '';
  child.stdout?.on('data', (chunk: Buffer) => (out += chunk.toString()));
  child.stderr?.on('data', (chunk: Buffer) => (out += chunk.toString()));
  const code = await new Promise<number | null>((resolve) => child.on('close', resolve));
  return { code, out };
}

describe('the jail of trusted processes', () => {
  it('shows what is listed, and nothing else', async () => {
    expect((await inJail(`cat ${folder}/seen/a`)).out).toBe('seen');
    expect((await inJail(`cat ${folder}/unseen/a`)).code).not.toBe(0);
    expect((await inJail('cd /.old && ls')).code).not.toBe(0);
    for (const path of ['/root', '/home', '/var', '/run', '/proc/1', '/etc/shadow', '/sys']) {
      expect((await inJail(`test -e ${path}`)).code, path).not.toBe(0);
    }
  });
  it('lets nothing be written but what is listed', async () => {
    expect((await inJail(`echo x > ${folder}/seen/b`, null)).code).not.toBe(0);
    expect((await inJail('echo x > /x', null)).code).not.toBe(0);
    expect((await inJail(`echo x > ${folder}/data/b`, null)).code).toBe(0);
  });
  it('leaves no capability, and no way back to one', async () => {
    expect((await inJail('mount -t tmpfs tmpfs /tmp', null)).code).not.toBe(0);
    expect((await inJail('setpriv --dump', null)).out).toMatch(/no_new_privs: 1/);
    expect((await inJail('setpriv --dump', null)).out).toMatch(/Capability bounding set: \[none\]/);
  });
  it('sees and signals no other process', async () => {
    expect((await inJail(`kill -0 ${String(process.pid)}`, null)).code).not.toBe(0);
  });
  it('ends with its parent', () => {
    // The jail's process is asked for by its kill-child rule; here only that the flags exist on this host.
    expect(spawnSync('unshare', ['--help']).stdout.toString()).toContain('--kill-child');
  });
});

describe('a jail made under a strict umask', () => {
  it('can still be entered by the uid that it becomes', async () => {
    const before = process.umask(0o077);
    try {
      expect(await inJail('cat /etc/hosts > /dev/null && ls /tmp')).toMatchObject({ code: 0 });
    } finally {
      process.umask(before);
    }
  });
});
