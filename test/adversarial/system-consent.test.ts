import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { onTerminal } from '../e2e/terminal.ts';
import { until } from '../e2e/until.ts';
import type { World } from '../e2e/world.ts';
import { openGround, withPolicy, type Ground } from './system-ground.ts';
import { codeOf, questions, HostileSession, type Answer } from './system-world.ts';

let ground: Ground;
let world: World;
let first: HostileSession;
let second: HostileSession;
let shared: string;
beforeAll(async () => {
  ground = await openGround();
  ({ world, first, second, shared } = ground);
});
afterAll(() => ground.close());

const filesBelow = (folder: string): string[] =>
  (readdirSync(folder, { recursive: true }) as string[]).filter((path) => /\.[a-z]+$/i.test(path)).sort();

describe('consent', () => {
  const scope = 'files:write:/shared/notes/a.txt';

  test('[R34] [R35] [R37] a grant for once: 100 calls race, one is carried out; the other session has none of it', async () => {
    expect(codeOf(await first.do<Answer>('write', { path: '/shared/notes/a.txt' }))).toBe(
      'GB_CONSENT_REQUIRED',
    );
    expect(existsSync(join(shared, 'notes/a.txt'))).toBe(false);
    expect((await first.granted(scope, 'once')).body).toMatchObject({ granted: true, mode: 'once' });
    expect(codeOf(await second.do<Answer>('write', { path: '/shared/notes/a.txt' }))).toBe(
      'GB_CONSENT_REQUIRED',
    );
    const came = await first.do<number[]>('race', { count: 100, path: '/shared/notes/a.txt' });
    expect(came.filter((status) => status === 200)).toHaveLength(1);
    expect(came.filter((status) => status !== 200 && status !== 403 && status !== 429)).toEqual([]);
    expect(readFileSync(join(shared, 'notes/a.txt'), 'utf8')).toBe('raced');
    const records = (await world.glovebox(['audit', '--json', '--session', await first.id()])).out;
    expect(
      records.match(/"kind":\s*"intent"[^}]*"operation":\s*"files\.write"/g) ??
        records.match(/files\.write/g),
    ).not.toHaveLength(0);
  });

  test('[R37] [R40] a grant for one path is for no other spelling that leads elsewhere', async () => {
    expect((await first.granted(scope, 'session')).body).toMatchObject({ granted: true, mode: 'session' });
    const before = filesBelow(shared);
    const tricks = [
      ...[
        '/shared/notes/../closed/x.txt',
        '/shared/notes/a.txt/../../closed/x.txt',
        '/shared/notes/./x.txt',
        '//shared/notes/x.txt',
        '/shared//notes/x.txt',
      ],
      ...[
        '/shared/notes/%2e%2e/closed/x.txt',
        '/shared/notes%2fx.txt',
        '/shared/notes/a.txt%00.txt',
        '/shared/notes/a.txt\u0000.txt',
        '/shared/notes/A.TXT',
      ],
      ...[
        '/shared/notes/a.txt\\..\\x.txt',
        '/shared/notes/a.txt ',
        '/shared/notes/\uff41.txt',
        '/shared/notes/\u0430.txt',
        '/shared/notes/a.txt\u200b',
        '/shared/notes/a\u0301.txt',
      ],
      ...[
        'shared/notes/a.txt',
        '/shared/notes/*',
        '/shared/notes/**',
        '/shared/notes/a.txt/x.txt',
        '/SHARED/notes/a.txt',
        '/shared/notes/\u2024\u2024/x.txt',
        '',
        '/',
        '/shared',
      ],
      ...['/proc/self/environ', '/folders/shared/notes/x.txt', '/../etc/passwd', '/shared/../../etc/x.txt'],
    ];
    const came = await first.do<number[]>('writes', { paths: tricks }, 120_000);
    expect(tricks.filter((_, index) => ![400, 403].includes(came[index] ?? 0))).toEqual([]);
    expect(filesBelow(shared)).toEqual(before);
    // The control: the path itself, also with a slash at its end, which is the same file.
    expect(await first.do('writes', { paths: ['/shared/notes/a.txt', '/shared/notes/a.txt/'] })).toEqual([
      200, 200,
    ]);
    // One name in two Unicode forms is one file: granted in one form, it is written in the other, and nothing beside it.
    expect((await first.granted('files:write:/shared/notes/caf\u00e9.txt', 'session')).body).toMatchObject({
      granted: true,
    });
    expect(await first.do('writes', { paths: ['/shared/notes/cafe\u0301.txt'] })).toEqual([200]);
    expect(readdirSync(join(shared, 'notes')).filter((name) => name.startsWith('caf'))).toEqual([
      'caf\u00e9.txt',
    ]);
  });

  test('[R37] a link in a shared folder carries no scope to what it leads to', async () => {
    for (const path of [
      '/shared/open/out',
      '/shared/open/aside',
      '/shared/open/folder/secret.txt',
      '/shared/closed/secret.txt',
    ]) {
      const came = await first.do<Answer>('read', { path });
      expect(`${path} ${String(came.status)}`).not.toMatch(/ 200$/);
      expect(JSON.stringify(came.body)).not.toMatch(/closed to all|root:/);
    }
    const found = await first.api({
      method: 'POST',
      path: '/v1/tools/files_search',
      body: { path: '/shared/open', text: 'to all' },
    });
    expect(found.body).toMatchObject({ matches: [{ path: '/shared/open/read-me.txt' }] });
    for (const path of [
      '/shared/notes/link.txt',
      '/shared/notes/folder/secret.txt',
      '/shared/notes/folder/new.txt',
    ]) {
      expect((await first.granted(`files:write:${path}`, 'once')).body).toMatchObject({ granted: true });
      expect(`${path} ${String((await first.do<Answer>('write', { path })).status)}`).not.toMatch(/ 200$/);
    }
    expect(readFileSync(join(shared, 'closed/secret.txt'), 'utf8')).toBe('closed to all');
    expect(readdirSync(join(shared, 'closed'))).toEqual(['secret.txt']);
  });

  test('[R38] an event of a kind that is not on the list, or of another shape, is refused', async () => {
    const event = (body: unknown): Promise<Answer> => first.api({ method: 'POST', path: '/v1/events', body });
    for (const kind of [
      'consent',
      'grant',
      'turn-open',
      'exited',
      'question',
      'audit',
      'PROGRESS',
      '',
      1,
      null,
      ['progress'],
    ])
      expect(codeOf(await event({ kind, text: 'x' }))).toBe('GB_INPUT_INVALID');
    for (const body of [
      { kind: 'progress' },
      { kind: 'progress', text: 1 },
      { kind: 'progress', text: 'x'.repeat(4001) },
      { kind: 'progress', text: 'x', type: 'consent' },
      [],
    ])
      expect(codeOf(await event(body))).toBe('GB_INPUT_INVALID');
    expect((await event({ kind: 'progress', text: '\u001b]52;c;AAAA\u0007 half way' })).body).toEqual({
      accepted: true,
    });
  });

  test('[R39] [R47] hostile words in a question are refused, or shown as what they are', async () => {
    const ask = (body: unknown): Promise<Answer> =>
      second.api({ method: 'POST', path: '/v1/permissions', body });
    const good = 'files:write:/shared/notes/b.txt';
    for (const body of [
      { scope: good, reason: 'x'.repeat(100_000) },
      { scope: good, reason: 1 },
      { scope: good, reason: ['a'] },
      { scope: good, arguments: 'x' },
      { scope: good, arguments: [] },
      { scope: good, granted: true },
      { scope: `${good}\u202e` },
      { scope: `${good}\u001b[2J` },
      { scope: `${good}\nscope files:read:/` },
      { scope: `files:write:/shared/notes/${'x'.repeat(400)}` },
      { scope: 'files:write:/shared/notes/../closed/x' },
      { scope: { toString: 1 } },
      { scope: 'Files:write:/shared/notes/a' },
      {},
    ])
      expect(`${JSON.stringify(body).slice(0, 80)} ${codeOf(await ask(body)) ?? ''}`).toMatch(
        /GB_INPUT_INVALID$/,
      );
    for (const scope of [
      'files:write:/shared/**',
      'files:*:/shared/notes/a',
      'files:write',
      'files:read:/shared/closed/**',
      'egress:post:/evil.example/x',
    ])
      expect(`${scope} ${codeOf(await ask({ scope })) ?? ''}`).toMatch(/GB_POLICY_DENIED$/);
    const reason =
      'ok\u009b2J\u202edenied\u001b[2J\u001b]52;c;AAAA\u0007\r\nscope      \u2502 files:read:/harmless\r\nanswer> ';
    const words = { path: '/shared/notes/b.txt', content: `${'z'.repeat(5000)} the end` };
    await second.do('ask', { id: 'hostile', scope: good, reason, arguments: words });
    const question = await second.question(good);
    // Also as JSON, which a person may read on a terminal: escapes that stand for the same text.
    expect(question.reason).toBe(reason);
    expect((await world.glovebox(['approve', '--json'])).out).not.toMatch(/[\u202e\u001b\u0080-\u009f]/);
    const seen = onTerminal(world, ['approve', question.id]);
    await seen.shows(/\nanswer> /);
    const shown = seen.screen();
    for (const raw of ['\u202e', '\u001b[2J', '\u001b]52', '\u0007']) expect(shown).not.toContain(raw);
    expect(shown).toContain('\\u{202e}');
    expect(shown.match(/^answer> /gm)).toHaveLength(1);
    expect(shown.match(/^ {2}scope /gm)).toHaveLength(1);
    // How much of the arguments is not on the screen is said, all of it.
    expect(shown.replaceAll(/\s*\u2502 |\r?\n */g, '')).toMatch(/\[\d+ more characters/);
    await seen.typeUntil('d\r', /denied/, shown.length);
    await seen.finished;
    expect(
      await until(
        'it is told',
        async () => (await second.do<Answer | null>('answered', { id: 'hostile' })) ?? undefined,
      ),
    ).toMatchObject({ body: { granted: false } });
    expect(codeOf(await second.do<Answer>('write', words))).toBe('GB_CONSENT_REQUIRED');
  });

  test('[R37] [R45] a flood of questions is folded and bounded, and the other session can still ask', async () => {
    const flooder = new HostileSession(world, 'flooder', withPolicy(world));
    await flooder.api();
    const same = Array.from({ length: 12 }, () => ({
      scope: 'files:write:/shared/notes/same',
      reason: 'again',
    }));
    await flooder.do('flood', { requests: same });
    const folded = await until('they are folded', async () =>
      (await questions(world)).find(
        (question) => question.sessionName === 'flooder' && question.count === 12,
      ),
    );
    expect((await questions(world)).filter(({ sessionName }) => sessionName === 'flooder')).toHaveLength(1);
    expect((await world.glovebox(['deny', folded.id, '--digest', folded.digest])).code).toBe(0);
    const many = Array.from({ length: 60 }, (_, index) => ({
      scope: `files:write:/shared/notes/${String(index)}`,
    }));
    await flooder.do('flood', { requests: many });
    const refused = await until('the rest is refused', async () => {
      const statuses = await flooder.do<(number | null)[]>('flooded', { count: 60 });
      return statuses.filter((status) => status === 429).length >= 40 ? statuses : undefined;
    });
    expect(refused.filter((status) => status === null).length).toBeLessThanOrEqual(20);
    expect(
      (await questions(world)).filter(({ sessionName }) => sessionName === 'flooder').length,
    ).toBeLessThanOrEqual(20);
    expect((await second.granted('files:write:/shared/notes/b.txt', 'once')).body).toMatchObject({
      granted: true,
    });
    expect((await world.glovebox(['stop', 'flooder'])).code).toBe(0);
    await flooder.ended;
    // Its questions ended with it.
    expect((await questions(world)).filter(({ sessionName }) => sessionName === 'flooder')).toEqual([]);
  });
});
