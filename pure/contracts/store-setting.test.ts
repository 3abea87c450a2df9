import { describe, expect, it } from 'vitest';
import { parseStoreUrl } from './store-setting.ts';

describe('the address of the store', () => {
  it('is a Unix socket’s folder', () => {
    expect(parseStoreUrl('postgresql:///glovebox?host=/run/postgresql&user=alice')).toEqual({
      host: '/run/postgresql',
      port: 5432,
      database: 'glovebox',
      user: 'alice',
      tls: undefined,
    });
    expect(parseStoreUrl('postgres:///g?host=%2Frun%2Fpg&port=5433')).toMatchObject({
      host: '/run/pg',
      port: 5433,
    });
  });

  it('is a server whose certificate is verified', () => {
    const verified = 'sslmode=verify-full&sslrootcert=/ca.pem&sslcert=/c.pem&sslkey=/k.pem';
    expect(parseStoreUrl(`postgresql://alice@db.example:6432/glovebox?${verified}`)).toEqual({
      host: 'db.example',
      port: 6432,
      database: 'glovebox',
      user: 'alice',
      tls: { ca: '/ca.pem', cert: '/c.pem', key: '/k.pem' },
    });
    expect(parseStoreUrl('postgresql://[::1]/g?sslmode=verify-full')).toMatchObject({ host: '::1' });
  });

  it.each([
    ['a password', 'postgresql://alice:secret@db/g?sslmode=verify-full'],
    ['a password as a parameter', 'postgresql://alice@db/g?sslmode=verify-full&password=secret'],
    ['no TLS', 'postgresql://db/g'],
    ['TLS that verifies nothing', 'postgresql://db/g?sslmode=require'],
    ['TLS that is off', 'postgresql://127.0.0.1/g?sslmode=disable'],
    ['half of a login by certificate', 'postgresql://db/g?sslmode=verify-full&sslcert=/c.pem'],
    ['a relative file', 'postgresql://db/g?sslmode=verify-full&sslrootcert=ca.pem'],
    ['another protocol', 'mysql://db/g'],
    ['two hosts', 'postgresql://db/g?host=/run&sslmode=verify-full'],
    ['a parameter twice', 'postgresql:///g?host=/run&host=/tmp'],
    ['an unknown parameter', 'postgresql:///g?host=/run&options=-c%20fsync%3Doff'],
    ['no host', 'postgresql:///g'],
    ['no database', 'postgresql:///?host=/run'],
    ['a database that is SQL', 'postgresql:///g%3Bdrop?host=/run'],
    ['no URL', 'glovebox'],
  ])('is refused with %s', (_, url) => {
    expect(() => parseStoreUrl(url)).toThrow(expect.objectContaining({ code: 'GB_INPUT_INVALID' }));
  });
});
