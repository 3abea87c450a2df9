import { randomBytes } from 'node:crypto';
import { readdir, rm } from 'node:fs/promises';
import { compactDecrypt, CompactEncrypt } from 'jose';
import { join } from 'node:path';
import { z } from 'zod';
import { GloveboxError, Secret, secretKinds, secretName } from '../../pure/contracts/index.ts';
import type { SecretBackend, SecretListing, StoredSecret } from './backend.ts';
import { privateFolder, readPrivate, writePrivate } from './private-files.ts';

/**
 * One file for each value: its own key wrapped by a master key (A256GCMKW), the value under that key (A256GCM), both as JWE
 * by jose. The name is in both protected headers, so a file that was moved to another name opens as nothing (R32); so is the kind in
 * the value's, since a key that is taken for a text would be handed out.
 */
const stored = z.strictObject({
  version: z.literal(1),
  name: secretName,
  /** For lists; what counts is in the value's own protected header. */
  kind: z.enum(secretKinds).default('text'),
  updatedAt: z.string(),
  key: z.string().max(4096),
  value: z.string().max(262144),
});

const masterKeys = z.strictObject({
  version: z.literal(1),
  current: z.string(),
  keys: z.record(z.string().regex(/^[0-9]{1,6}$/), z.string().regex(/^[A-Za-z0-9_-]{43}$/)),
});
type MasterKeys = z.infer<typeof masterKeys>;

const alg = 'A256GCMKW';
const enc = 'A256GCM';
const fresh = (): string => randomBytes(32).toString('base64url');
const bytesOf = (key: string): Uint8Array => Buffer.from(key, 'base64url');

export class EmbeddedBackend implements SecretBackend {
  readonly #folder: string;
  readonly #now: () => number;
  #master: MasterKeys;

  private constructor(folder: string, master: MasterKeys, now: () => number) {
    this.#folder = folder;
    this.#master = master;
    this.#now = now;
  }

  static async open(folder: string, now: () => number): Promise<EmbeddedBackend> {
    await privateFolder(folder);
    await privateFolder(join(folder, 'values'));
    const text = await readPrivate(join(folder, 'master.json'));
    if (text !== undefined) return new EmbeddedBackend(folder, masterKeys.parse(JSON.parse(text)), now);
    const master: MasterKeys = { version: 1, current: '1', keys: { 1: fresh() } };
    await writePrivate(join(folder, 'master.json'), JSON.stringify(master));
    return new EmbeddedBackend(folder, master, now);
  }

  async put(name: string, { kind, value }: StoredSecret): Promise<SecretListing> {
    const key = fresh();
    const listing = { name: checked(name), kind, updatedAt: new Date(this.#now()).toISOString() };
    const sealed = await new CompactEncrypt(new TextEncoder().encode(value.reveal()))
      .setProtectedHeader({ alg: 'dir', enc, sub: name, kind })
      .encrypt(bytesOf(key));
    await this.#write({ version: 1, ...listing, key: await this.#wrap(name, key), value: sealed });
    return listing;
  }

  async list(): Promise<readonly SecretListing[]> {
    const found: SecretListing[] = [];
    for (const name of await this.#names()) {
      const record = await this.#read(name);
      if (record !== undefined) found.push({ name, kind: record.kind, updatedAt: record.updatedAt });
    }
    return found;
  }

  async read(name: string): Promise<StoredSecret | undefined> {
    const record = await this.#read(checked(name));
    if (record === undefined) return undefined;
    const opened = await compactDecrypt(record.value, await this.#unwrap(name, record.key), {
      keyManagementAlgorithms: ['dir'],
      contentEncryptionAlgorithms: [enc],
    });
    const { sub, kind = 'text' } = opened.protectedHeader;
    if (sub !== name || kind !== record.kind) throw damaged(name);
    return { kind: record.kind, value: new Secret(new TextDecoder().decode(opened.plaintext)) };
  }

  async remove(name: string): Promise<boolean> {
    const path = this.#path(checked(name));
    if ((await readPrivate(path)) === undefined) return false;
    await rm(path);
    return true;
  }

  /** A new master key; every value's own key is wrapped anew. Killed half-way, both keys are there and the next run goes on. */
  async rotateMaster(): Promise<void> {
    const next = String(Number(this.#master.current) + 1);
    await this.#saveMaster({
      ...this.#master,
      current: next,
      keys: { ...this.#master.keys, [next]: fresh() },
    });
    for (const name of await this.#names()) {
      const record = await this.#read(name);
      if (record === undefined) continue;
      const key = Buffer.from(await this.#unwrap(name, record.key)).toString('base64url');
      await this.#write({ ...record, key: await this.#wrap(name, key) });
    }
    const current = this.#master.keys[next];
    if (current !== undefined)
      await this.#saveMaster({ version: 1, current: next, keys: { [next]: current } });
  }

  async #saveMaster(master: MasterKeys): Promise<void> {
    await writePrivate(join(this.#folder, 'master.json'), JSON.stringify(master));
    this.#master = master;
  }

  async #wrap(name: string, key: string): Promise<string> {
    const master = this.#master.keys[this.#master.current];
    if (master === undefined) throw damaged('master.json');
    return await new CompactEncrypt(bytesOf(key))
      .setProtectedHeader({ alg, enc, kid: this.#master.current, sub: name })
      .encrypt(bytesOf(master));
  }

  async #unwrap(name: string, wrapped: string): Promise<Uint8Array> {
    const opened = await compactDecrypt(
      wrapped,
      (header) => {
        const master = this.#master.keys[header.kid ?? ''];
        if (master === undefined) throw damaged(name);
        return bytesOf(master);
      },
      { keyManagementAlgorithms: [alg], contentEncryptionAlgorithms: [enc] },
    );
    if (opened.protectedHeader['sub'] !== name) throw damaged(name);
    return opened.plaintext;
  }

  async #names(): Promise<readonly string[]> {
    const files = await readdir(join(this.#folder, 'values'));
    return files
      .filter((file) => file.endsWith('.json'))
      .map((file) => file.slice(0, -'.json'.length))
      .filter((name) => secretName.safeParse(name).success)
      .sort();
  }

  async #read(name: string): Promise<z.infer<typeof stored> | undefined> {
    const text = await readPrivate(this.#path(name));
    if (text === undefined) return undefined;
    const record = stored.parse(JSON.parse(text));
    if (record.name !== name) throw damaged(name);
    return record;
  }

  async #write(record: z.infer<typeof stored>): Promise<void> {
    await writePrivate(this.#path(record.name), JSON.stringify(record));
  }

  #path(name: string): string {
    return join(this.#folder, 'values', `${name}.json`);
  }
}

/** A name is a file's name here: checked at this door too, whoever called. */
function checked(name: string): string {
  if (secretName.safeParse(name).success) return name;
  throw new GloveboxError('GB_INPUT_INVALID', {
    what: 'A secret name',
    detail: 'lower-case letters, digits and dashes',
  });
}

const damaged = (name: string): GloveboxError =>
  new GloveboxError('GB_SECRET_DAMAGED', { name, detail: 'it does not belong to its name or its key' });
