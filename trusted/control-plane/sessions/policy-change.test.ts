import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { asUserId, GloveboxError, limits } from '../../../pure/contracts/index.ts';
import { compileCedar } from '../../../pure/compile/index.ts';
import { parsePolicy } from '../../../pure/policy/index.ts';
import { newborn } from '../../../pure/session/index.ts';
import { openSqliteStore, type Store } from '../../store/index.ts';
import type { AuditEvent } from '../ports.ts';
import { randomIds } from '../random-ids.ts';
import type { ControlWords } from './control-channel.ts';
import { changePolicy, type ChangingSession } from './policy-change.ts';
import { SessionLifeWriter } from './session-life.ts';

const alice = asUserId('local/1000');
let folder: string;
let store: Store;
let session: ChangingSession;
let said: ControlWords[];
let audited: AuditEvent[];
let narrowed: boolean[];
let auditFails: boolean;
let order: string[];
/** How long it was prepared to wait, and when that is over: never, unless a test says so. */
let waited: number[];
let patience: Promise<'late'>;
/** What the sidecar does with a word: it reports the generation, unless a test has it do otherwise. */
let hears: (words: ControlWords) => Promise<void>;

const first = "version: 1\ntools:\n  ask: ['files:write:/**']\n";
beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'glovebox-policy-'));
  store = await openSqliteStore(join(folder, 'db'));
  [said, audited, narrowed, order, auditFails] = [[], [], [], [], false];
  [waited, patience] = [[], new Promise(() => undefined)];
  const document = parsePolicy(first, 'first');
  const record = await store.sessions.insert(
    {
      id: randomIds.session(),
      sandboxId: randomIds.sandbox(),
      name: 'work',
      replica: 'one',
      command: ['true'],
      workspace: '/w',
      workspaceMode: 'staged',
      tier: 'standard',
      user: alice,
      preset: null,
      terminal: false,
      createdAt: new Date(0).toISOString(),
      expiresAt: new Date(1e7).toISOString(),
      policy: document,
      secrets: [],
    },
    { ...newborn, state: 'running' },
  );
  const life = new SessionLifeWriter(
    store.sessions,
    record,
    () => undefined,
    async (ms) => {
      waited.push(ms);
      return await patience;
    },
  );
  session = {
    life,
    policy: {
      generation: 1,
      cedar: compileCedar(document.tools),
      tools: document.tools,
      egress: [],
      placeholders: { model: 'gb-placeholder-old' },
    },
  };
  hears = async (words) => {
    if (words.type === 'policy') await life.reportsPolicy(words.policy.generation);
  };
});
afterEach(async () => {
  await store.close();
  rmSync(folder, { recursive: true });
});

const change = (text: string): Promise<void> =>
  changePolicy(session, { text, file: 'p.yaml' }, alice, {
    audit: {
      record: async (event) => {
        if (auditFails) throw new GloveboxError('GB_AUDIT_UNAVAILABLE', { detail: 'down' });
        order.push(`audit at ${(await store.sessions.get(session.life.record.id))?.policyWritten ?? 0}`);
        return audited.push(event);
      },
    },
    control: {
      say: async (_, words) => {
        order.push(`said at ${(await store.sessions.get(session.life.record.id))?.policyWritten ?? 0}`);
        said.push(words);
        await hears(words);
      },
    },
    placeholder: (secret) => `gb-placeholder-new-${secret}`,
    narrow: async (_, leaves) => {
      narrowed = ['files:write:/a', 'files:read:/a'].map(leaves);
    },
  });

describe('a change of a running session’s policy', () => {
  it('[R2] is written down, then stored as the next generation, then said, and answered when it is applied', async () => {
    await change("version: 1\ntools:\n  allow: ['files:read:/**']\n");
    expect(order).toEqual(['audit at 1', 'said at 2']);
    expect(said).toMatchObject([
      { type: 'policy', policy: { generation: 2, tools: { allow: ['files:read:/**'] } } },
    ]);
    expect(audited).toMatchObject([{ operation: 'policy.set', user: alice, decision: 'allow' }]);
    expect(audited[0]?.args_hash).toMatch(/^[0-9a-f]{64}$/);
    const stored = await store.sessions.get(session.life.record.id);
    expect(stored).toMatchObject({ policyWritten: 2, policyGeneration: 2, policy: { tools: { ask: [] } } });
    expect(narrowed).toEqual([false, true]);
  });

  it('keeps the placeholders that the sandbox holds, and binds the new secrets only', async () => {
    const egress = (secret: string): string =>
      `version: 1\negress:\n  - host: api.example\n    credential: { secret: ${secret}, carrier: bearer }\n`;
    await change(egress('other'));
    expect(session.policy.placeholders).toEqual({
      model: 'gb-placeholder-old',
      other: 'gb-placeholder-new-other',
    });
    expect((await store.sessions.get(session.life.record.id))?.secrets).toEqual(['other']);
    await change(egress('model'));
    expect(session.policy.placeholders['model']).toBe('gb-placeholder-old');
    expect(session.policy.generation).toBe(3);
  });

  it.each([
    ['tier: pro', 'tier'],
    ['ttl: 1h', 'ttl'],
    ['workspace: { mode: direct }', 'workspace'],
    ['workspace: { show: [.env] }', 'workspace'],
    ['toolFolders: [~/.nvm]', 'toolFolders'],
    ['env: { A: b }', 'env'],
    ['tier: pro\nenv: { A: b }', 'tier, env'],
  ])('that asks for %s is refused: it names what a running session cannot change', async (text, keys) => {
    await expect(change(`${first}${text}\n`)).rejects.toMatchObject({
      code: 'GB_POLICY_FIXED',
      details: { keys },
    });
    expect([said, audited]).toEqual([[], []]);
    expect(session.life.record.policyWritten).toBe(1);
    await change(first);
  });

  it('is refused whole where the document is wrong, the audit trail is down, or the session is over', async () => {
    await expect(change('version: 1\ntols: {}\n')).rejects.toMatchObject({ code: 'GB_POLICY_INVALID' });
    auditFails = true;
    await expect(change(first)).rejects.toMatchObject({ code: 'GB_AUDIT_UNAVAILABLE' });
    auditFails = false;
    expect((await store.sessions.get(session.life.record.id))?.policyWritten).toBe(1);
    await change(first);
    await session.life.apply({ type: 'end', reason: 'stopped', detail: null });
    await expect(change(first)).rejects.toMatchObject({ code: 'GB_SESSION_STATE' });
    expect(said).toHaveLength(1);
  });

  it('[R45] is bounded by what one message carries', async () => {
    const path = join(folder, 'ca.pem');
    const body = 'A'.repeat(200_000);
    writeFileSync(path, `-----BEGIN CERTIFICATE-----\n${body}\n-----END CERTIFICATE-----\n`);
    const rules = (count: number): string =>
      `version: 1\negress:\n${Array.from({ length: count }, (_, i) => `  - { host: h${i}.example, caFile: ${path} }\n`).join('')}`;
    expect(limits.policyChange.value).toBeLessThan(3 * 200_000);
    await expect(change(rules(3))).rejects.toMatchObject({ code: 'GB_LIMIT_REACHED' });
    await change(rules(1));
  });

  it('that its sidecar never reports is said to be pending, after it was said again', async () => {
    hears = async () => undefined;
    patience = Promise.resolve('late');
    await expect(change(first)).rejects.toMatchObject({ code: 'GB_POLICY_PENDING' });
    expect(said).toHaveLength(2);
    expect(waited.reduce((sum, ms) => sum + ms, 0)).toBe(limits.policyApply.value);
    expect(await store.sessions.get(session.life.record.id)).toMatchObject({
      policyWritten: 2,
      policyGeneration: 0,
    });
  });

  it('is not reported before it was written', async () => {
    await expect(session.life.reportsPolicy(2)).rejects.toMatchObject({ code: 'GB_INPUT_INVALID' });
    await change(first);
    await session.life.reportsPolicy(1);
    expect(session.life.record.policyGeneration).toBe(2);
  });

  it('cannot be the next one twice', async () => {
    const { id, policy } = session.life.record;
    expect(await store.sessions.writePolicy(id, 1, { policy, secrets: [] })).toBe(true);
    expect(await store.sessions.writePolicy(id, 1, { policy, secrets: [] })).toBe(false);
    await expect(change(first)).rejects.toMatchObject({ code: 'GB_SESSION_STATE' });
  });
});
