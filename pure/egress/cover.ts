import { matchText } from './glob.ts';
import { matchHost } from './host.ts';

/** The part of a rule that decides whether it is the one for a request. */
export interface Reach {
  readonly host: string;
  readonly port: number;
  readonly plaintext: boolean;
  readonly methods: readonly string[];
  readonly paths: readonly string[];
}

/** Is every host that `narrow` fits also one that `wide` fits? Exact for our two wildcards. */
export function hostCovers(wide: string, narrow: string): boolean {
  if (wide === narrow) return true;
  const [, stars = '', suffix = narrow] = /^(\*\*?)\.(.*)$/.exec(narrow) ?? [];
  if (stars === '') return matchHost(wide, narrow);
  if (!wide.startsWith('**.')) return false;
  const base = wide.slice(3);
  return suffix === base || suffix.endsWith(`.${base}`);
}

/** Is every path that `narrow` fits also one that `wide` fits? May say no where the truth is yes, never the other way round. */
export function pathCovers(wide: string, narrow: string): boolean {
  const w = wide.slice(1).split('/');
  const n = narrow.slice(1).split('/');
  // covered[j]: what is left of `wide` from its segment i on takes in what is left of `narrow` from j on.
  let covered = Array.from({ length: n.length + 1 }, (_, j) => j === n.length);
  for (const part of w.toReversed()) {
    const next = new Array<boolean>(n.length + 1).fill(false);
    for (let j = n.length; j >= 0; j -= 1) {
      const other = n[j];
      if (part === '**') next[j] = covered[j] === true || (other !== undefined && next[j + 1] === true);
      // A `*` of the narrower one is taken as a character: only a `*` of the wider one takes it in.
      else
        next[j] = other !== undefined && other !== '**' && covered[j + 1] === true && matchText(part, other);
    }
    covered = next;
  }
  return covered[0] === true;
}

const sameDoor = (wide: Reach, narrow: Reach): boolean =>
  wide.port === narrow.port && wide.plaintext === narrow.plaintext && hostCovers(wide.host, narrow.host);

/** Of `rules`, one that decides every request with this method and path pattern before `rule` is asked; -1 where there is none. */
export const takenBy = (rules: readonly Reach[], rule: Reach, method: string, path: string): number =>
  rules.findIndex(
    (earlier) =>
      sameDoor(earlier, rule) &&
      earlier.methods.includes(method) &&
      earlier.paths.some((wide) => pathCovers(wide, path)),
  );
