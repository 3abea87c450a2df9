import { chmodSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { GloveboxError } from '../../pure/contracts/index.ts';
import { policyEngine } from './policy-engine.ts';

let folder: string;
const token = 't'.repeat(40);
const write = (text: string): void => writeFileSync(join(folder, 'engine.yaml'), text);
const chosen = (): string =>
  `engine: opa\nsocket: ${join(folder, 'run/opa.sock')}\ntokenFile: ${join(folder, 'token')}\n`;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'gb-engine-'));
  mkdirSync(join(folder, 'run'), { mode: 0o700 });
  writeFileSync(join(folder, 'token'), `${token}\n`, { mode: 0o600 });
});
afterEach(() => rmSync(folder, { recursive: true }));

describe('the choice of a policy engine', () => {
  it('is Cedar where nothing is chosen', async () => {
    expect(await policyEngine(folder)).toBeUndefined();
    write('engine: cedar\n');
    expect(await policyEngine(folder)).toBeUndefined();
  });

  it('is OPA with a socket and a token of its own', async () => {
    write(chosen());
    expect(await policyEngine(folder)).toEqual({
      engine: 'opa',
      socket: join(folder, 'run/opa.sock'),
      token,
    });
  });

  it.each<[string, () => void, string]>([
    ['an engine that is not known', () => write('engine: none\n'), 'engine.yaml:1:9'],
    ['OPA without a socket', () => write('engine: opa\n'), 'opa needs a socket and a tokenFile'],
    ['Cedar with a socket', () => write(chosen().replace('opa\n', 'cedar\n')), 'cedar has no socket'],
    [
      'a folder that others may write',
      () => chmodSync(join(folder, 'run'), 0o777),
      'others than its operator',
    ],
    ['a folder that is none', () => rmSync(join(folder, 'run'), { recursive: true }), 'is no folder'],
    [
      'a folder that is a link',
      () => {
        rmSync(join(folder, 'run'), { recursive: true });
        symlinkSync(folder, join(folder, 'run'));
      },
      'is no folder',
    ],
    ['a token that others may read', () => chmodSync(join(folder, 'token'), 0o644), 'others may read'],
    ['no token', () => rmSync(join(folder, 'token')), 'is no file'],
    ['a short token', () => writeFileSync(join(folder, 'token'), 'short'), '32 to 512 characters'],
  ])('[R40] is refused with %s', async (_, spoil, why) => {
    write(chosen());
    spoil();
    const error = await policyEngine(folder).catch((thrown: unknown) => thrown);
    expect(error).toBeInstanceOf(GloveboxError);
    expect((error as GloveboxError).what + (error as GloveboxError).why).toContain(why);
  });
});
