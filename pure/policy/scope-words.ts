import { parseScopePattern } from './scopes.ts';

/** What a scope takes in, in words; for a person, beside the scope itself. */
export function wordsOfScope(scope: string): string {
  const parsed = parseScopePattern(scope);
  if (parsed === undefined) return 'nothing: it is not a scope';
  const { domain, verb, prefix, suffix } = parsed;
  const what = verb === null ? `anything in ${domain}` : `${domain}: ${verb}`;
  if (suffix === null && prefix.length === 0) return `${what}, at / itself`;
  if (suffix !== null && prefix.length === 0 && suffix.length === 0) return `${what}, everywhere`;
  const path = [...prefix, ...(suffix === null ? [] : ['**', ...suffix])].join('/');
  if (!path.includes('*')) return `${what}, at /${path} and nowhere else`;
  if (suffix?.length === 0 && !prefix.some((part) => part.includes('*')))
    return `${what}, at /${prefix.join('/')} and everything below it`;
  return `${what}, at each place of the form /${path}`;
}
