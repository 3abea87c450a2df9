import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { secretValue, type SecretFlags } from './secret-value.ts';

const flags = (more: Partial<SecretFlags> = {}): SecretFlags => ({ privateRange: [], ...more });
const piped = (text: string) => ({
  terminal: false,
  ask: () => Promise.reject(new Error('asked')),
  all: async () => text,
});
const typed = (...words: string[]) => ({
  terminal: true,
  ask: async () => words.shift() ?? '',
  all: () => Promise.reject(new Error('read')),
});
const oauth = flags({ tokenEndpoint: 'https://login.example/token', clientId: 'c' });

describe('a secret’s value', () => {
  test('text is what is typed or piped, byte for byte', async () => {
    expect(await secretValue('text', flags(), piped('{"a":1}'))).toBe('{"a":1}');
    expect(await secretValue('text', flags(), typed('key'))).toBe('key');
  });

  test('oauth: from the keyboard, as JSON with the names that servers use, or the refresh token alone', async () => {
    const whole = {
      tokenEndpoint: 'https://login.example/token',
      clientId: 'c',
      refreshToken: 'r',
      privateRanges: [],
    };
    expect(JSON.parse(await secretValue('oauth', oauth, typed('r', 's')))).toEqual({
      ...whole,
      clientSecret: 's',
    });
    expect(JSON.parse(await secretValue('oauth', oauth, typed('r', '')))).toEqual(whole);
    expect(JSON.parse(await secretValue('oauth', oauth, piped('r\n')))).toEqual(whole);
    expect(
      JSON.parse(
        await secretValue('oauth', oauth, piped('{"refresh_token":"r","client_secret":"s","id_token":"x"}')),
      ),
    ).toEqual({ ...whole, clientSecret: 's' });
  });

  test('aws: as the aws command prints it, or the secret key with the id as a flag', async () => {
    const exported =
      '{"Version":1,"AccessKeyId":"AKIA0123456789012345","SecretAccessKey":"s","SessionToken":"t"}';
    expect(JSON.parse(await secretValue('aws', flags(), piped(exported)))).toEqual({
      accessKeyId: 'AKIA0123456789012345',
      secretAccessKey: 's',
      sessionToken: 't',
    });
    expect(
      JSON.parse(await secretValue('aws', flags({ accessKeyId: 'AKIA0123456789012345' }), typed('s', ''))),
    ).toEqual({ accessKeyId: 'AKIA0123456789012345', secretAccessKey: 's' });
  });

  test('of an authority’s file only the certificates travel on', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'gb-secret-'));
    const caFile = join(folder, 'ca.pem');
    const certificate = '-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----';
    writeFileSync(caFile, `-----BEGIN PRIVATE KEY-----\ncanary\n-----END PRIVATE KEY-----\n${certificate}\n`);
    const value = await secretValue('oauth', { ...oauth, caFile }, piped('r'));
    rmSync(folder, { recursive: true });
    expect(value).toContain('BEGIN CERTIFICATE');
    expect(value).not.toContain('canary');
  });

  test.each([
    ['oauth', flags({ clientId: 'c' }), piped('r'), '--token-endpoint'],
    ['oauth', { ...oauth, tokenEndpoint: 'http://login.example/token' }, piped('r'), 'https'],
    ['oauth', { ...oauth, clientAuth: 'jwt' }, piped('r'), 'clientAuth'],
    ['oauth', { ...oauth, appId: '1' }, piped('r'), '--app-id is not of'],
    ['oauth', oauth, piped('{"refresh_token'), 'begins as JSON'],
    ['oauth', oauth, piped('{}'), 'refreshToken is missing'],
    ['aws', flags(), piped('canary-secret'), '--access-key-id'],
    ['aws', flags({ accessKeyId: 'short' }), piped('canary-secret'), 'access key id'],
    ['github-app', flags({ appId: '1', installationId: '2' }), typed('x'), '< key.pem'],
    ['github-app', flags({ appId: '1' }), piped('canary-key'), '--installation-id'],
    ['text', flags(), piped(''), 'empty'],
  ] as const)('%s is refused before anything is stored (%#)', async (kind, given, input, why) => {
    const error: unknown = await secretValue(kind, given, input).catch((thrown: unknown) => thrown);
    expect((error as { code?: string }).code).toMatch(/^GB_(USAGE|INPUT_INVALID)$/);
    expect(JSON.stringify(error) + (error as Error).message).toContain(why);
    expect(JSON.stringify(error) + String(error)).not.toContain('canary');
  });
});
