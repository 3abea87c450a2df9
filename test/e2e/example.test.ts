import { cpSync, existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { onTerminal } from './terminal.ts';
import { until } from './until.ts';
import { checkout, World } from './world.ts';

let world: World;

beforeAll(async () => {
  world = new World();
  // The parts of the checkout that the first command needs: the example's folder is where it is run.
  cpSync(join(checkout, 'examples'), join(world.project, 'examples'), { recursive: true });
  mkdirSync(join(world.project, 'dist'));
  cpSync(join(checkout, 'dist/agent-sdk.js'), join(world.project, 'dist/agent-sdk.js'));
  writeFileSync(join(world.project, 'package.json'), '{"type":"module"}\n');
  await world.waive();
});
afterAll(() => world.close());

const report = (): string => join(world.project, 'GLOVEBOX-REPORT.md');
const shared = (): string => join(world.home, '.local/share/glovebox/shared/GLOVEBOX-REPORT.md');
const first = ['run', '--', 'node', 'examples/repo-report/agent.mjs'];
const question = /(\d{4})\S* {2}allow it once[\s\S]*answer> $/;

interface Row {
  readonly record: Readonly<Record<string, unknown>>;
}

describe('the first command of the README, as a person at a terminal meets it', () => {
  it('[R34] [R47] asks for consent; a wrong code does nothing, a fresh one approves; the rest is refused, staged, written down', async () => {
    const terminal = onTerminal(world, first);
    await terminal.shows(question);
    const asked = terminal.screen();
    expect(asked).toContain('files:write:/shared/GLOVEBOX-REPORT.md');
    expect(asked).toContain('I would like to keep a copy of the report in your shared folder.');
    expect(asked).toMatch(/example\.com through the only door: refused/);
    // Nothing is granted at the start, and nothing has happened yet.
    expect(existsSync(shared())).toBe(false);

    const shown = [...asked.matchAll(/(\d{4})\S* {2}allow it/g)].map(([, code]) => code);
    const wrong = ['0000', '1111', '2222'].find((code) => !shown.includes(code)) ?? '';
    let mark = terminal.screen().length;
    await terminal.typeUntil(`${wrong}\r`, /none of the codes on the screen; nothing was granted/, mark);
    expect(existsSync(shared())).toBe(false);
    mark = terminal.screen().lastIndexOf('none of the codes');
    await terminal.shows(question, mark);
    const fresh = (await terminal.shows(/(\d{4})\S* {2}allow it once/, mark))[1] ?? '';
    expect(shown).not.toContain(fresh);
    await terminal.typeUntil(`${fresh}\r`, /glovebox: approved/, mark);
    await terminal.shows(/with your consent, kept a copy in the shared folder/, mark);
    expect(readFileSync(shared(), 'utf8')).toContain('# What is in this folder');

    // At the end: what is staged, and what to do with it.
    await terminal.shows(/1 staged change \(1 added\)/);
    await terminal.shows(/added +GLOVEBOX-REPORT\.md/);
    await terminal.shows(/diff, apply, keep or discard\? $/);
    expect(existsSync(report())).toBe(false);
    mark = terminal.screen().length;
    await terminal.typeUntil('diff\r', /\+# What is in this folder/, mark);
    mark = terminal.screen().length;
    await terminal.typeUntil('apply\r', /1 applied/, mark);
    expect(await terminal.finished).toBe(0);
    expect(readFileSync(report(), 'utf8')).toBe(readFileSync(shared(), 'utf8'));
  });

  it('[R41] and the audit trail lists all of it, with the person, and verifies', async () => {
    const [session] = await world.sessions();
    expect(session).toMatchObject({ state: 'ended', exitCode: 0, changes: 'applied' });
    const { out } = await world.glovebox(['audit', '--session', session?.name ?? '', '--json']);
    const rows = (JSON.parse(out) as Row[]).map(({ record }) => record);
    const person = `local/${process.getuid?.() ?? 0}`;
    const says = (what: Readonly<Record<string, unknown>>): void =>
      expect(rows).toContainEqual(expect.objectContaining(what));
    says({ operation: 'session.start', decision: 'allow', user: person });
    says({
      operation: 'egress:CONNECT',
      decision: 'deny',
      rule: 'egress.default',
      user: person,
      detail: expect.stringContaining('https://example.com:443') as string,
    });
    says({
      operation: 'files.write',
      decision: 'allow',
      scope: 'files:write:/shared/GLOVEBOX-REPORT.md',
      user: person,
    });
    says({ operation: 'changes.apply', user: person });
    says({ operation: 'session.end' });
    expect(rows.every(({ user }) => user === person)).toBe(true);
    // An effect has its intent first, and its outcome after it.
    const kinds = rows
      .filter(({ operation, decision }) => operation === 'files.write' && decision === 'allow')
      .map(({ kind }) => kind);
    expect(kinds).toEqual(['intent', 'outcome']);
    const listed = (await world.glovebox(['audit', '--session', session?.name ?? ''])).out;
    expect(listed).toContain('files:write:/shared/GLOVEBOX-REPORT.md');
    const verified = await world.glovebox(['audit', 'verify']);
    expect([verified.code, verified.err]).toEqual([3, '']);
  });

  it('denied with d: no copy is kept, the agent is told, and its report can be thrown away', async () => {
    writeFileSync(shared(), 'as it was\n');
    const terminal = onTerminal(world, first);
    await terminal.shows(question);
    await terminal.typeUntil('d\r', /glovebox: denied/);
    await terminal.shows(/no copy in the shared folder/);
    await terminal.shows(/diff, apply, keep or discard\? $/);
    await terminal.typeUntil('discard\r', /glovebox: discarded/);
    expect(await terminal.finished).toBe(0);
    expect(readFileSync(shared(), 'utf8')).toBe('as it was\n');
    expect((await world.sessions())[0]?.changes).toBe('discarded');
  });
});

describe('without a terminal', () => {
  it('a question is answered by `glovebox approve` from elsewhere, by the digest of what was read', async () => {
    const child = world.start(first);
    let text = '';
    for (const stream of [child.stdout, child.stderr])
      stream?.on('data', (chunk: Buffer) => (text += chunk.toString()));
    const closed = new Promise<number | null>((resolve) => child.on('close', resolve));
    const open = await openQuestion();
    expect(open).toMatchObject({ scope: 'files:write:/shared/GLOVEBOX-REPORT.md', state: 'pending' });
    // Without a terminal there is nobody to show it to: the digest says which question is meant.
    expect((await world.glovebox(['approve', open.id])).code).toBe(64);
    expect((await world.glovebox(['approve', open.id, '--digest', '0'.repeat(64)])).code).toBe(64);
    expect(readFileSync(shared(), 'utf8')).toBe('as it was\n');
    expect((await world.glovebox(['approve', open.id, '--digest', open.digest])).code).toBe(0);
    expect(await closed).toBe(0);
    expect(text).toContain('with your consent, kept a copy');
    expect(text).toContain('1 staged change (1 modified)');
    expect(readFileSync(shared(), 'utf8')).toContain('# What is in this folder');
  });
});

interface Open {
  readonly id: string;
  readonly scope: string;
  readonly state: string;
  readonly digest: string;
}

async function openQuestion(): Promise<Open> {
  const [open] = await until('a question is open', async () => {
    const found = JSON.parse((await world.glovebox(['approve', '--json'])).out) as Open[];
    return found.length > 0 && found;
  });
  if (open === undefined) throw new Error('no question');
  return open;
}
