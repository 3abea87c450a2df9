import { matchPath } from './path.ts';

/** Git's smart protocol over HTTP (gitprotocol-http, gitprotocol-pack): what a rule with `git` lets through. */
export interface GitRule {
  readonly fetch: boolean;
  /** Patterns of full ref names that may be pushed to; none: no push at all. */
  readonly push: readonly string[];
  readonly force: boolean;
  readonly delete: boolean;
}

export type GitRequest =
  | { readonly ok: false; readonly why: string }
  /** `inspect`: the command list at the start of the body is still to be judged. */
  | { readonly ok: true; readonly inspect: boolean };

/** The four requests that fetch and push consist of; the dumb protocol and all else of a server is none of them. */
export function gitRequest(rule: GitRule, method: string, path: string, query: string): GitRequest {
  const refuse = (why: string): GitRequest => ({ ok: false, why });
  const service = /\/(info\/refs|git-upload-pack|git-receive-pack)$/.exec(path)?.[1];
  if (service === undefined) return refuse('this is no request of git’s smart protocol');
  const named =
    service === 'info/refs' ? /^\?service=(git-upload-pack|git-receive-pack)$/.exec(query)?.[1] : service;
  if (named === undefined) return refuse('git’s dumb protocol is not let through');
  if (method !== (service === 'info/refs' ? 'GET' : 'POST'))
    return refuse('this is no request of git’s smart protocol');
  if (service !== 'info/refs' && query !== '') return refuse('this is no request of git’s smart protocol');
  const push = named === 'git-receive-pack';
  if (push && rule.push.length === 0) return refuse('the rule allows no push');
  if (!push && !rule.fetch) return refuse('the rule allows no fetch');
  return { ok: true, inspect: push && method === 'POST' };
}

export interface RefUpdate {
  readonly ref: string;
  readonly from: string;
  readonly to: string;
}

export type CommandList =
  | { readonly state: 'more' }
  | { readonly state: 'bad'; readonly why: string }
  | { readonly state: 'read'; readonly updates: readonly RefUpdate[]; readonly length: number };

const zero = /^0+$/;
const bad = (why: string): CommandList => ({ state: 'bad', why });

/**
 * The pkt-lines at the start of a `git-receive-pack` request, up to their flush packet: one line for each ref that would change.
 * `limit`: the most bytes that are read for it. Signed pushes and shallow lines are refused: servers read them as more than a list.
 */
export function readCommandList(bytes: Uint8Array, limit: number): CommandList {
  const updates: RefUpdate[] = [];
  const refs = new Set<string>();
  let at = 0;
  for (;;) {
    if (at + 4 > bytes.length)
      return bytes.length >= limit ? bad('the command list is too long') : { state: 'more' };
    const header = latin1(bytes.subarray(at, at + 4));
    if (!/^[0-9a-f]{4}$/.test(header)) return bad('a packet’s length is not four hexadecimal digits');
    const length = parseInt(header, 16);
    if (length === 0) {
      if (updates.length === 0) return bad('the command list is empty');
      return { state: 'read', updates, length: at + 4 };
    }
    if (length < 5) return bad('a packet has no content');
    if (at + length > limit) return bad('the command list is too long');
    if (at + length > bytes.length) return { state: 'more' };
    const line = utf8(bytes.subarray(at + 4, at + length));
    if (line === null) return bad('a command is not UTF-8');
    const update = command(line, updates.length === 0);
    if (typeof update === 'string') return bad(update);
    if (refs.has(update.ref)) return bad('a ref is named twice');
    refs.add(update.ref);
    updates.push(update);
    at += length;
  }
}

function command(line: string, first: boolean): RefUpdate | string {
  const end = line.indexOf('\0');
  if (end >= 0 && !first) return 'a command after the first has capabilities';
  const capabilities =
    end < 0
      ? []
      : line
          .slice(end + 1)
          .trim()
          .split(' ');
  if (capabilities.includes('push-options')) return 'push options are not let through';
  const [, from, to, ref] =
    /^([0-9a-f]{40}|[0-9a-f]{64}) ([0-9a-f]{40}|[0-9a-f]{64}) ([^\s\p{Cc}]{1,1000})$/u.exec(
      (end < 0 ? line : line.slice(0, end)).replace(/\n$/, ''),
    ) ?? ['', undefined, undefined, undefined];
  if (from === undefined || to === undefined || ref === undefined) return 'a command is not old, new and ref';
  if (from.length !== to.length) return 'a command mixes hash functions';
  return isRefName(ref) ? { from, to, ref } : 'a ref’s name is not one that git takes';
}

/** git-check-ref-format: what could mean two things to two servers is no ref. */
export function isRefName(ref: string): boolean {
  if (!ref.startsWith('refs/') || /[\p{Cc} ~^:?*[\\]|\.\.|@\{|\/\/|\/$|\.$/u.test(ref)) return false;
  return ref.split('/').every((part) => part !== '' && !part.startsWith('.') && !part.endsWith('.lock'));
}

export type PushVerdict =
  | {
      readonly ok: true;
      /** Updates that are permitted only if they are shown to be fast-forward. */ readonly forward: readonly RefUpdate[];
    }
  | { readonly ok: false; readonly why: string };

/** Push by ref, with deletion and force as rights of their own (R33). */
export function judgePush(rule: GitRule, updates: readonly RefUpdate[]): PushVerdict {
  const forward: RefUpdate[] = [];
  for (const update of updates) {
    const { ref, from, to } = update;
    if (!rule.push.some((pattern) => matchPath(`/${pattern}`, `/${ref}`)))
      return { ok: false, why: `the rule allows no push to ${ref}` };
    if (zero.test(to)) {
      if (!rule.delete) return { ok: false, why: `the rule allows no deletion of ${ref}` };
    } else if (!zero.test(from) && !rule.force) forward.push(update);
  }
  return { ok: true, forward };
}

const latin1 = (bytes: Uint8Array): string => String.fromCharCode(...bytes);

function utf8(bytes: Uint8Array): string | null {
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  } catch {
    return null;
  }
}
