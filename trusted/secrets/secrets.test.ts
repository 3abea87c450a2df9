import {
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
  chmodSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { CompactEncrypt, generateKeyPair, importJWK } from 'jose';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import {
  asSessionId,
  auditSubject,
  encodeId,
  Secret,
  sealing,
  type AuditRecord,
  type SessionId,
} from '../../pure/contracts/index.ts';
import type { StoredSecret } from './backend.ts';
import { SecretBroker, type SessionBindings } from './broker.ts';
import { EmbeddedBackend } from './embedded-backend.ts';
import type { StoredIntent } from './intent-check.ts';
import { SealingKey } from './sealing-key.ts';

const canary = 'canary-1f3a9c-value';
const now = Date.parse('2026-11-01T00:00:00.000Z');
const alice = asSessionId(encodeId(new Uint8Array(16).fill(1)));
const bob = asSessionId(encodeId(new Uint8Array(16).fill(2)));
const id = (n: number): string => encodeId(new Uint8Array(16).fill(n));

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'glovebox-secrets-'));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

const text = (value: Secret): StoredSecret => ({ kind: 'text', value });

const everyByte = (path: string): string =>
  readdirSync(path, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => readFileSync(join(entry.parentPath, entry.name), 'latin1'))
    .join('\n');

const seal = async (key: SealingKey, content: unknown): Promise<string> =>
  await new CompactEncrypt(new TextEncoder().encode(JSON.stringify(content)))
    .setProtectedHeader({ ...sealing, kid: key.publicJwk.kid ?? '' })
    .encrypt(await importJWK(key.publicJwk, sealing.alg));

describe('the embedded backend', () => {
  test('[R32] keeps a value encrypted, and gives it back after a restart', async () => {
    await (await EmbeddedBackend.open(folder, () => now)).put('anthropic', text(new Secret(canary)));
    expect(everyByte(folder)).not.toContain(canary);
    const again = await EmbeddedBackend.open(folder, () => now);
    expect((await again.read('anthropic'))?.value.reveal()).toBe(canary);
    expect(await again.list()).toEqual([
      { name: 'anthropic', kind: 'text', updatedAt: '2026-11-01T00:00:00.000Z' },
    ]);
    for (const file of ['master.json', 'values/anthropic.json']) {
      expect(statSync(join(folder, file)).mode & 0o777).toBe(0o600);
    }
  });

  test('[R32] every value has a key of its own: one file moved to another name opens as nothing', async () => {
    const backend = await EmbeddedBackend.open(folder, () => now);
    await backend.put('one', text(new Secret('first')));
    await backend.put('two', text(new Secret('second')));
    const file = (name: string): string => join(folder, 'values', `${name}.json`);
    const one = readFileSync(file('one'), 'utf8').replace('"name":"one"', '"name":"two"');
    writeFileSync(file('two'), one);
    await expect(backend.read('two')).rejects.toMatchObject({ code: 'GB_SECRET_DAMAGED' });
    renameSync(file('two'), file('three'));
    await expect(backend.read('three')).rejects.toMatchObject({ code: 'GB_SECRET_DAMAGED' });
    expect((await backend.read('one'))?.value.reveal()).toBe('first');
  });

  test('[R32] the master key rotates: every value opens with the new one, and with nothing else', async () => {
    const backend = await EmbeddedBackend.open(folder, () => now);
    await backend.put('one', text(new Secret('first')));
    await backend.put('two', text(new Secret('second')));
    const before = readFileSync(join(folder, 'master.json'), 'utf8');
    await backend.rotateMaster();
    const again = await EmbeddedBackend.open(folder, () => now);
    expect((await again.read('one'))?.value.reveal()).toBe('first');
    expect((await again.read('two'))?.value.reveal()).toBe('second');
    writeFileSync(join(folder, 'master.json'), before, { mode: 0o600 });
    await expect((await EmbeddedBackend.open(folder, () => now)).read('one')).rejects.toThrow();
  });

  test('refuses files that others may read, and names that are paths', async () => {
    const backend = await EmbeddedBackend.open(folder, () => now);
    await backend.put('one', text(new Secret('first')));
    chmodSync(join(folder, 'values/one.json'), 0o644);
    await expect(backend.read('one')).rejects.toMatchObject({ code: 'GB_STATE_REFUSED' });
    for (const name of ['../master', 'a/b', '', '.', 'A', 'one\0']) {
      await expect(backend.read(name)).rejects.toMatchObject({ code: 'GB_INPUT_INVALID' });
      await expect(backend.put(name, text(new Secret('x')))).rejects.toMatchObject({
        code: 'GB_INPUT_INVALID',
      });
    }
    chmodSync(folder, 0o755);
    await expect(EmbeddedBackend.open(folder, () => now)).rejects.toMatchObject({ code: 'GB_STATE_REFUSED' });
  });

  test('removes, once', async () => {
    const backend = await EmbeddedBackend.open(folder, () => now);
    await backend.put('one', text(new Secret('first')));
    expect(await backend.remove('one')).toBe(true);
    expect(await backend.remove('one')).toBe(false);
    expect(await backend.read('one')).toBeUndefined();
  });
});

describe('the sealing key', () => {
  test('opens what was sealed for that name, and says nothing of what is wrong with the rest', async () => {
    const key = await SealingKey.open(folder);
    const good = await seal(key, { name: 'anthropic', value: canary });
    expect((await key.open(good, 'anthropic')).value.reveal()).toBe(canary);
    const other = await generateKeyPair(sealing.alg, { crv: 'P-256' });
    const foreign = await new CompactEncrypt(new TextEncoder().encode('{}'))
      .setProtectedHeader(sealing)
      .encrypt(other.publicKey);
    for (const [sealed, name] of [
      [good, 'openai'],
      [foreign, 'anthropic'],
      [`${good}x`, 'anthropic'],
      ['', 'anthropic'],
      [await seal(key, { name: 'anthropic', value: canary, more: 1 }), 'anthropic'],
      [await seal(key, canary), 'anthropic'],
    ] as const) {
      const error = await key.open(sealed, name).catch((thrown: unknown) => thrown);
      expect(error).toMatchObject({ code: 'GB_INPUT_INVALID' });
      expect(JSON.stringify(error) + String((error as Error).stack)).not.toContain('canary');
    }
  });

  test('is the same after a restart, and shows its public half alone', async () => {
    const first = await SealingKey.open(folder);
    const second = await SealingKey.open(folder);
    expect(second.publicJwk).toEqual(first.publicJwk);
    expect(Object.keys(first.publicJwk)).not.toContain('d');
    expect((await second.open(await seal(first, { name: 'a', value: 'v' }), 'a')).value.reveal()).toBe('v');
  });
});

describe('a read of a secret', () => {
  const record = (more: Partial<AuditRecord> = {}): AuditRecord => ({
    version: 1,
    id: id(5),
    session: alice,
    turn: id(6),
    user: 'local/1000',
    sandbox: id(7),
    component: 'sidecar',
    kind: 'intent',
    operation: 'egress.request',
    args_hash: null,
    secret: 'anthropic',
    decision: 'allow',
    rule: 'egress.0',
    time: new Date(now).toISOString(),
    ...more,
  });
  const stored = (
    more: Partial<AuditRecord> = {},
    subject = auditSubject(alice, 'sidecar'),
  ): StoredIntent => ({
    subject,
    data: new TextEncoder().encode(JSON.stringify(record(more))),
  });

  async function broker(
    intents: Readonly<Record<number, StoredIntent>>,
    more: { bindings?: (session: SessionId) => Promise<SessionBindings>; at?: () => number } = {},
  ): Promise<SecretBroker> {
    const backend = await EmbeddedBackend.open(join(folder, 'store'), () => now);
    await backend.put('anthropic', text(new Secret(canary)));
    await backend.put('other', text(new Secret('not this one')));
    return new SecretBroker({
      backend,
      sealingKey: await SealingKey.open(join(folder, 'store')),
      readStored: async (sequence) => intents[sequence],
      bindings:
        more.bindings ?? (async (session) => ({ secrets: session === alice ? ['anthropic'] : [], uses: [] })),
      call: async () => await Promise.reject(new Error('no call in this test')),
      onAsked: () => undefined,
      now: more.at ?? (() => now),
    });
  }

  test('[R28] is answered for a stored intent of the caller’s own session, once', async () => {
    const it = await broker({ 1: stored() });
    expect(await it.read(alice, 'anthropic', 1)).toEqual({ value: canary });
    await expect(it.read(alice, 'anthropic', 1)).rejects.toMatchObject({ code: 'GB_SECRET_REFUSED' });
  });

  test('[R28] of 100 racing reads for one intent one is answered', async () => {
    const it = await broker({ 1: stored() });
    const reads = await Promise.allSettled(Array.from({ length: 100 }, () => it.read(alice, 'anthropic', 1)));
    expect(reads.filter((one) => one.status === 'fulfilled')).toHaveLength(1);
  });

  const wrong: readonly [string, StoredIntent | undefined][] = [
    ['no record', undefined],
    ['another session’s subject', stored({}, auditSubject(bob, 'sidecar'))],
    ['another session in the body', stored({ session: bob })],
    ['a record of the control plane', stored({}, auditSubject(alice, 'control-plane'))],
    ['a subject that is no audit record’s', stored({}, `gb.session.${alice}.events`)],
    ['an outcome', stored({ kind: 'outcome', intent: id(8), outcome: 'ok' })],
    ['an event', stored({ kind: 'event' })],
    ['a denied intent', stored({ decision: 'deny' })],
    ['an intent that asks', stored({ decision: 'ask' })],
    ['an intent for another secret', stored({ secret: 'other' })],
    ['an intent for no secret', stored({ secret: undefined })],
    ['an old intent', stored({ time: new Date(now - 61_000).toISOString() })],
    ['an intent of the future', stored({ time: new Date(now + 120_000).toISOString() })],
    ['no JSON', { subject: auditSubject(alice, 'sidecar'), data: new Uint8Array([0xff, 0x00]) }],
  ];
  test.each(wrong)('[R28] is refused for %s', async (_, intent) => {
    const clock = { now: now - 200_000 };
    const it = await broker(intent === undefined ? {} : { 1: intent, 2: stored() }, { at: () => clock.now });
    clock.now = now;
    await expect(it.read(alice, 'anthropic', 1)).rejects.toMatchObject({ code: 'GB_SECRET_REFUSED' });
    if (intent !== undefined) expect(await it.read(alice, 'anthropic', 2)).toEqual({ value: canary });
  });

  test('[R32] is refused to a session that was not made with the secret, whatever its intent says', async () => {
    const it = await broker({
      1: stored({ session: bob }, auditSubject(bob, 'sidecar')),
      2: stored({ secret: 'other' }),
    });
    await expect(it.read(bob, 'anthropic', 1)).rejects.toMatchObject({ code: 'GB_SECRET_REFUSED' });
    await expect(it.read(alice, 'other', 2)).rejects.toMatchObject({ code: 'GB_SECRET_REFUSED' });
  });

  test('an intent of before the broker’s start is refused: its predecessor may have answered it', async () => {
    const it = await broker({ 1: stored({ time: new Date(now - 10).toISOString() }) });
    await expect(it.read(alice, 'anthropic', 1)).rejects.toMatchObject({ code: 'GB_SECRET_REFUSED' });
  });

  test('[R28] any error on the way denies', async () => {
    const it = await broker(
      { 1: stored() },
      { bindings: async () => await Promise.reject(new Error('down')) },
    );
    await expect(it.read(alice, 'anthropic', 1)).rejects.toThrow('down');
  });
});
