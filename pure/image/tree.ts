import { resolveInRoot, type Found } from './resolve.ts';

/** One entry of a layer, as an archive has it: a stranger's words. */
export interface LayerEntry {
  readonly name: string;
  readonly type: string | null | undefined;
  readonly linkname?: string | null | undefined;
  readonly mode?: number | undefined;
}

/** What is to be done on the disk, below the root; no path leads through a link. `replace`: what is there goes first. */
export type Step =
  | { readonly do: 'folder'; readonly path: string; readonly replace: boolean }
  | { readonly do: 'file'; readonly path: string; readonly replace: boolean; readonly mode: number }
  | { readonly do: 'symlink'; readonly path: string; readonly replace: boolean; readonly target: string }
  | { readonly do: 'hardlink'; readonly path: string; readonly replace: boolean; readonly from: string }
  | { readonly do: 'remove'; readonly path: string };

/** Why a layer is refused, in words. */
export class EntryRefused extends Error {
  constructor(detail: string) {
    super(detail);
    this.name = 'EntryRefused';
  }
}

interface Node {
  readonly kind: 'folder' | 'file' | 'link';
  readonly target: string;
  readonly children: Map<string, Node>;
  /** The layer that made it last, or something below it. */
  layer: number;
}

const whiteout = '.wh.';
const opaque = '.wh..wh..opq';

/**
 * The file system that layers make, in memory and without a disk: what each entry means is decided here, on names alone. Links are
 * followed as inside the root, so that an entry below a link lands where the image means it, and never outside [R23].
 */
export class ImageTree {
  readonly #root: Node = node('folder', 0);
  #layer = 0;
  #count = 0;

  get count(): number {
    return this.#count;
  }

  nextLayer(): void {
    this.#layer += 1;
  }

  /** The steps for an entry, in order. Throws EntryRefused. */
  plan(entry: LayerEntry): Step[] {
    this.#count += 1;
    const parts = partsOf(entry.name);
    const name = parts.pop();
    if (name === undefined) return [];
    const steps: Step[] = [];
    const parent = this.#folder(parts, steps);
    const at = (own: string): string => [...parent.path, own].join('/');
    if (name === opaque) {
      this.#hideLower(parent.node, parent.path, steps);
      return steps;
    }
    if (name.startsWith(whiteout)) {
      const hidden = name.slice(whiteout.length);
      // What other tools keep for themselves.
      if (hidden.startsWith(whiteout)) return steps;
      if (hidden === '' || hidden === '.' || hidden === '..') throw new EntryRefused('a whiteout of no name');
      this.#hide(parent.node, hidden, parent.path, steps);
      return steps;
    }
    const before = parent.node.children.get(name);
    const path = at(name);
    const replace = before !== undefined;
    const put = (kind: Node['kind'], target = ''): void => {
      parent.node.children.set(name, node(kind, this.#layer, target));
    };
    switch (entry.type) {
      case 'directory':
        if (before?.kind === 'folder') before.layer = this.#layer;
        else {
          put('folder');
          steps.push({ do: 'folder', path, replace });
        }
        return steps;
      case 'file':
      case 'contiguous-file':
        put('file');
        steps.push({ do: 'file', path, replace, mode: modeOf(entry.mode ?? 0) });
        return steps;
      case 'symlink': {
        const target = textOf(entry.linkname ?? '', 'the target of a link');
        put('link', target);
        steps.push({ do: 'symlink', path, replace, target });
        return steps;
      }
      case 'link':
        return [...steps, ...this.#hardLink(entry, parent.node, name, path)];
      case 'character-device':
      case 'block-device':
      case 'fifo':
        // A sandbox has a /dev of its own; no device of an image is ever made.
        parent.node.children.delete(name);
        if (replace) steps.push({ do: 'remove', path });
        return steps;
      default:
        throw new EntryRefused(`an entry of an unknown type (${shown(entry.name)})`);
    }
  }

  #hardLink(entry: LayerEntry, parent: Node, name: string, path: string): Step[] {
    const parts = partsOf(entry.linkname ?? '');
    const from = resolveInRoot(parts.join('/'), (one) => this.#look(one), false);
    const source = from === null ? undefined : this.#find(from);
    if (from === null || source === undefined || source.kind === 'folder')
      throw new EntryRefused(`a hard link to what is no file (${shown(entry.name)})`);
    if (from === path) return [];
    const replace = parent.children.has(name);
    parent.children.set(name, node(source.kind, this.#layer, source.target));
    return source.kind === 'link'
      ? [{ do: 'symlink', path, replace, target: source.target }]
      : [{ do: 'hardlink', path, replace, from }];
  }

  /** The folder that a path means, made where it is not there. */
  #folder(parts: readonly string[], steps: Step[]): { node: Node; path: readonly string[] } {
    const resolved = resolveInRoot(parts.join('/'), (path) => this.#look(path), true);
    if (resolved === null) throw new EntryRefused(`a path through no folder (${shown(parts.join('/'))})`);
    const path = resolved === '' ? [] : resolved.split('/');
    if (path.length > 256) throw new EntryRefused('a path that is too deep');
    let here = this.#root;
    for (const [index, name] of path.entries()) {
      let next = here.children.get(name);
      if (next !== undefined && next.kind !== 'folder')
        throw new EntryRefused(`a path through no folder (${shown(resolved)})`);
      if (next === undefined) {
        next = node('folder', this.#layer);
        this.#count += 1;
        here.children.set(name, next);
        steps.push({ do: 'folder', path: path.slice(0, index + 1).join('/'), replace: false });
      }
      next.layer = this.#layer;
      here = next;
    }
    return { node: here, path };
  }

  #find(path: string): Node | undefined {
    let here: Node | undefined = this.#root;
    for (const name of path === '' ? [] : path.split('/')) here = here?.children.get(name);
    return here;
  }

  #look(path: string): Found | undefined {
    const found = this.#find(path);
    if (found === undefined) return undefined;
    return found.kind === 'link' ? { kind: 'link', target: found.target } : { kind: found.kind };
  }

  #hideLower(folder: Node, path: readonly string[], steps: Step[]): void {
    for (const name of [...folder.children.keys()]) this.#hide(folder, name, path, steps);
  }

  /** A whiteout speaks of the layers below: what this layer made stays. */
  #hide(folder: Node, name: string, path: readonly string[], steps: Step[]): void {
    const child = folder.children.get(name);
    if (child === undefined) return;
    if (child.layer < this.#layer) {
      folder.children.delete(name);
      steps.push({ do: 'remove', path: [...path, name].join('/') });
    } else if (child.kind === 'folder') this.#hideLower(child, [...path, name], steps);
  }
}

const node = (kind: Node['kind'], layer: number, target = ''): Node => ({
  kind,
  target,
  layer,
  children: new Map(),
});

function partsOf(name: string): string[] {
  const parts = textOf(name, 'the name of an entry')
    .split('/')
    .filter((part) => part !== '' && part !== '.');
  if (parts.includes('..')) throw new EntryRefused(`a path that leads upwards (${shown(name)})`);
  if (parts.some((part) => new TextEncoder().encode(part).length > 255))
    throw new EntryRefused('a name that is too long');
  return parts;
}

function textOf(text: string, what: string): string {
  if (text === '' || text.length > 4096) throw new EntryRefused(`${what} is empty or too long`);
  if (/[\p{Cc}\u2028\u2029]/u.test(text))
    throw new EntryRefused(`${what} holds control characters (${shown(text)})`);
  return text;
}

const shown = (text: string): string => text.replace(/[\p{Cc}\p{Cf}\u2028\u2029]/gu, '?').slice(0, 200);

/**
 * Nothing but read, write and execute: no set-user-id, set-group-id or sticky bit. Whoever may read or run a file inside does so as
 * the one user that a sandbox has.
 */
export const modeOf = (mode: number): number => ((mode & 0o111) === 0 ? 0o644 : 0o755);
