import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { EntryRefused, ImageTree, type LayerEntry, type Step } from './index.ts';

const layersOf = (...layers: readonly (readonly LayerEntry[])[]): Step[] => {
  const tree = new ImageTree();
  return layers.flatMap((entries) => {
    tree.nextLayer();
    return entries.flatMap((entry) => tree.plan(entry));
  });
};
const file = (name: string, mode = 0o644): LayerEntry => ({ name, type: 'file', mode });
const folder = (name: string): LayerEntry => ({ name, type: 'directory' });
const link = (name: string, linkname: string): LayerEntry => ({ name, type: 'symlink', linkname });
const hard = (name: string, linkname: string): LayerEntry => ({ name, type: 'link', linkname });
const paths = (steps: readonly Step[]): string[] => steps.map((step) => `${step.do} ${step.path}`);

/** What a disk would hold after the steps; throws where a step goes through a link, or is not below the root. */
function carryOut(steps: readonly Step[]): Map<string, Step['do']> {
  const disk = new Map<string, Step['do']>();
  const below = (path: string): string[] => [...disk.keys()].filter((one) => one.startsWith(`${path}/`));
  for (const step of steps) {
    const parts = step.path.split('/');
    if (parts.some((part) => part === '' || part === '.' || part === '..'))
      throw new Error(`outside: ${step.path}`);
    for (let depth = 1; depth < parts.length; depth += 1)
      if (disk.get(parts.slice(0, depth).join('/')) !== 'folder')
        throw new Error(`no folder above ${step.path}`);
    if (step.do === 'remove' || step.replace)
      for (const path of [step.path, ...below(step.path)]) disk.delete(path);
    if (step.do === 'remove') continue;
    if (disk.has(step.path)) throw new Error(`there already: ${step.path}`);
    if (step.do === 'hardlink' && !['file', 'hardlink'].includes(disk.get(step.from) ?? ''))
      throw new Error(`a hard link to no file: ${step.from}`);
    disk.set(step.path, step.do);
  }
  return disk;
}

describe('[R23] what an entry of an image means', () => {
  it('is below the root: absolute names too', () => {
    expect(paths(layersOf([file('/etc/a'), file('./b')]))).toEqual(['folder etc', 'file etc/a', 'file b']);
  });

  it.each(['../a', 'a/../../b', '/..', 'a/..', 'x\u0000y', 'x\u001b[2J', 'x\ny', '', 'a'.repeat(300)])(
    'a name that leads elsewhere or steers a terminal is refused: %j',
    (name) => {
      expect(() => layersOf([file(name)])).toThrow(EntryRefused);
    },
  );

  it('an entry below a link lands where the image means it, never outside', () => {
    expect(paths(layersOf([folder('usr/lib'), link('lib', 'usr/lib'), file('lib/a')]))).toContain(
      'file usr/lib/a',
    );
    expect(paths(layersOf([link('up', '../../../etc'), file('up/passwd')]))).toEqual([
      'symlink up',
      'folder etc',
      'file etc/passwd',
    ]);
    expect(paths(layersOf([link('abs', '/etc/ssh'), file('abs/keys')]))).toContain('file etc/ssh/keys');
    expect(() => layersOf([link('a', 'b'), link('b', 'a'), file('a/x')])).toThrow(EntryRefused);
    expect(() => layersOf([file('a'), file('a/x')])).toThrow(EntryRefused);
  });

  it('a file in the place of a link replaces the link, and is not written through it', () => {
    const steps = layersOf([link('etc', '/outside')], [file('etc')]);
    expect(steps.at(-1)).toEqual({ do: 'file', path: 'etc', replace: true, mode: 0o644 });
  });

  it('a hard link is to a file of the image', () => {
    expect(layersOf([file('a'), hard('b', '/a')]).at(-1)).toMatchObject({
      do: 'hardlink',
      path: 'b',
      from: 'a',
    });
    expect(layersOf([link('a', '/etc/passwd'), hard('b', 'a')]).at(-1)).toMatchObject({ do: 'symlink' });
    for (const target of ['../../etc/passwd', '/etc/passwd', 'missing', '.'])
      expect(() => layersOf([hard('b', target)]), target).toThrow(EntryRefused);
  });

  it('no device, no pipe, no bit that gives rights', () => {
    for (const type of ['character-device', 'block-device', 'fifo'])
      expect(layersOf([{ name: 'dev', type }])).toEqual([]);
    expect(paths(layersOf([file('a')], [{ name: 'a', type: 'block-device' }]))).toEqual([
      'file a',
      'remove a',
    ]);
    expect(layersOf([file('su', 0o6755)])).toEqual([{ do: 'file', path: 'su', replace: false, mode: 0o755 }]);
    expect(() => layersOf([{ name: 'a', type: 'something' }])).toThrow(EntryRefused);
  });

  it('a whiteout takes away what lower layers made, and nothing of its own layer', () => {
    expect(paths(layersOf([file('d/a'), file('d/b')], [file('d/.wh.a')]))).toContain('remove d/a');
    expect(paths(layersOf([file('d/a')], [file('d/new'), file('d/.wh..wh..opq')]))).toEqual([
      'folder d',
      'file d/a',
      'file d/new',
      'remove d/a',
    ]);
    expect(paths(layersOf([file('d/new'), file('d/.wh.new')]))).not.toContain('remove d/new');
    for (const name of ['.wh.', '.wh..', '.wh...'])
      expect(() => layersOf([file(name)]), name).toThrow(EntryRefused);
    expect(layersOf([file('.wh..wh.plnk/1')])).toBeDefined();
  });

  it('whatever the layers are, no step leaves the root or goes through a link', () => {
    const name = fc
      .array(fc.constantFrom('a', 'b', 'c', '.', '..', '.wh.a', '.wh..wh..opq', '/', 'd\u0000'), {
        minLength: 1,
        maxLength: 4,
      })
      .map((parts) => parts.join('/'));
    const entry = fc.record({
      name,
      type: fc.constantFrom('file', 'directory', 'symlink', 'link', 'fifo', 'character-device', 'odd'),
      linkname: fc.oneof(name, fc.constantFrom('/', '../..', '/etc/passwd', 'a/../b')),
      mode: fc.integer({ min: 0, max: 0o7777 }),
    });
    fc.assert(
      fc.property(fc.array(fc.array(entry, { maxLength: 12 }), { maxLength: 4 }), (layers) => {
        const tree = new ImageTree();
        const steps: Step[] = [];
        for (const layer of layers) {
          tree.nextLayer();
          for (const one of layer) {
            try {
              steps.push(...tree.plan(one));
            } catch (error) {
              if (!(error instanceof EntryRefused)) throw error;
              // A refusal ends the image.
              carryOut(steps);
              return;
            }
          }
        }
        carryOut(steps);
      }),
      { numRuns: 2000 },
    );
  });
});
