/** What lies at a plain path of a root file system. */
export type Found =
  | { readonly kind: 'folder' }
  | { readonly kind: 'file' }
  | { readonly kind: 'link'; readonly target: string };

const mostLinks = 40;

/**
 * The path that a name leads to inside a root, every link on the way followed as inside it: an absolute target begins at the root,
 * and `..` stops there. Null: too many links, or a file where a folder has to be. What does not exist is taken as it is written.
 * `last`: whether a link at the end is followed too.
 */
export function resolveInRoot(
  path: string,
  look: (path: string) => Found | undefined,
  last: boolean,
): string | null {
  const waiting = path.split('/').reverse();
  const done: string[] = [];
  let links = 0;
  while (waiting.length > 0) {
    const name = waiting.pop() ?? '';
    if (name === '' || name === '.') continue;
    if (name === '..') {
      done.pop();
      continue;
    }
    const here = [...done, name].join('/');
    const found = look(here);
    const isLast = waiting.every((rest) => rest === '' || rest === '.');
    if (found?.kind === 'link' && (!isLast || last)) {
      links += 1;
      if (links > mostLinks) return null;
      if (found.target.startsWith('/')) done.length = 0;
      waiting.push(...found.target.split('/').reverse());
      continue;
    }
    if (found?.kind === 'file' && !isLast) return null;
    done.push(name);
  }
  return done.join('/');
}
