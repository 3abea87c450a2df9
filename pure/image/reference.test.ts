import { describe, expect, it } from 'vitest';
import { imageConfig, imageSettings, parseImageReference } from './index.ts';

describe('what an image is called', () => {
  it('is a name with a registry, a tag, a digest or none of them', () => {
    const digest = `sha256:${'a'.repeat(64)}`;
    expect(parseImageReference('debian')).toEqual({ repository: 'debian', tag: null, digest: null });
    expect(parseImageReference(`127.0.0.1:5000/a/b:1@${digest}`)).toEqual({
      repository: '127.0.0.1:5000/a/b',
      tag: '1',
      digest,
    });
  });
  it.each([
    '',
    '-x',
    '--insecure',
    'a b',
    'A',
    'a:',
    'a@sha256:1',
    'a@md5:1',
    'a\nb',
    '/a',
    'a//b',
    'x'.repeat(600),
  ])('is nothing else: %j', (text) => {
    expect(() => parseImageReference(text)).toThrow(/not valid/);
  });
});

describe('[R23] what is heard of an image’s configuration', () => {
  const of = (config: object): ReturnType<typeof imageSettings> =>
    imageSettings(imageConfig.parse({ config }));
  it('its variables and its PATH, but none that says where doors, trust or home are', () => {
    const Env = [
      'A=1',
      'PATH=/x',
      'HTTPS_PROXY=http://evil',
      'SSL_CERT_FILE=/evil',
      'HOME=/root',
      'bad',
      '=x',
      'B=\0',
    ];
    expect(of({ Env })).toMatchObject({ env: { A: '1' }, path: '/x' });
  });
  it('its user is a name, never a right', () => {
    expect(of({ User: 'node:staff' }).user).toBe('node');
    for (const User of ['root', '0', '0:0', 'a:b\nroot', '', '../x'])
      expect(of({ User }).user.match(/^(agent|a)$/)).not.toBeNull();
  });
});
