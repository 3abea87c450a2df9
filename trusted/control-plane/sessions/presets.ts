import { readdir, readFile } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { GloveboxError, type PresetDocument } from '../../../pure/contracts/index.ts';
import { nearest, parsePreset } from '../../../pure/policy/index.ts';

export const defaultPreset = 'default';

/** Presets are data: one YAML file each, read once at the start. A broken one stops the start, with file, line and column. */
export class Presets {
  readonly #byName: ReadonlyMap<string, PresetDocument>;

  private constructor(byName: ReadonlyMap<string, PresetDocument>) {
    this.#byName = byName;
  }

  static async read(folder: string): Promise<Presets> {
    const byName = new Map<string, PresetDocument>();
    for (const file of (await readdir(folder)).sort()) {
      if (!file.endsWith('.yaml')) continue;
      const preset = parsePreset(await readFile(join(folder, file), 'utf8'), join('presets', file));
      byName.set(preset.name, preset);
    }
    return new Presets(byName);
  }

  list(): readonly { readonly name: string; readonly title: string }[] {
    return [...this.#byName.values()].map(({ name, title }) => ({ name, title }));
  }

  get(name: string): PresetDocument {
    const preset = this.#byName.get(name);
    if (preset !== undefined) return preset;
    const near = nearest(name, [...this.#byName.keys()]);
    throw new GloveboxError('GB_NOT_FOUND', {
      what: `preset ${name}`,
      detail: near === null ? `there are ${[...this.#byName.keys()].join(', ')}` : `did you mean ${near}?`,
    });
  }

  /** The preset of a program: `glovebox run claude` means the preset, wherever the program lies. */
  forProgram(program: string | undefined): PresetDocument | undefined {
    if (program === undefined) return undefined;
    const name = basename(program);
    return [...this.#byName.values()].find(
      (preset) => preset.name !== defaultPreset && preset.command[0] === name,
    );
  }
}
