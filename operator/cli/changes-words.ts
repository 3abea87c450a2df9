import { isAbsolute, posix } from 'node:path';
import { GloveboxError, type SessionView } from '../../pure/contracts/index.ts';
import type { OperatorClient } from '../client/index.ts';
import { OperatorError } from '../client/index.ts';
import { sessionHere } from './sessions.ts';

export interface ChangesWords {
  readonly session: SessionView;
  /** Undefined: all. */
  readonly paths: readonly string[] | undefined;
}

export const keepsChanges = (session: SessionView): boolean => session.changes === 'kept';

/** `[session] [paths...]`: the first word is a session where one is called so; the others are paths of the workspace. */
export async function readChangesWords(
  client: OperatorClient,
  words: readonly string[],
  named: readonly string[] = [],
): Promise<ChangesWords> {
  const [first, ...others] = words;
  const called = first === undefined ? undefined : await sessionCalled(client, first);
  if (first !== undefined && called !== undefined) await refuseTwoMeanings(client, first);
  const session = called ?? (await sessionHere(client, undefined, keepsChanges, 'with staged changes'));
  const given = called === undefined ? words : others;
  const paths = [...given, ...named].map((path) => inWorkspace(path, session.workspace));
  return { session, paths: paths.length === 0 ? undefined : paths };
}

async function sessionCalled(client: OperatorClient, word: string): Promise<SessionView | undefined> {
  try {
    return await client.call('getSession', { params: { id: word } });
  } catch (error) {
    if (word.includes('/') || (error instanceof OperatorError && isAbsent(error))) return undefined;
    throw error;
  }
}

/** Nothing is called so; or it cannot be a name at all. */
const isAbsent = ({ body }: OperatorError): boolean =>
  ['GB_NOT_FOUND', 'GB_INPUT_INVALID'].includes(body.error.code);

/** A file may be called as a session is: what is applied or thrown away then is not to be guessed. */
async function refuseTwoMeanings(client: OperatorClient, word: string): Promise<void> {
  const here = await sessionHere(client, undefined, keepsChanges, '').catch(() => undefined);
  if (here === undefined) return;
  const { changes } = await client.call('listChanges', { params: { id: here.id } });
  if (!changes.some(({ path }) => path === word || path.startsWith(`${word}/`))) return;
  throw new GloveboxError('GB_USAGE', {
    detail: `${word} is a session and a changed path`,
    hint: `Write the path as ./${word}, or name the session and then the path.`,
  });
}

function inWorkspace(path: string, workspace: string): string {
  const relative = isAbsolute(path) ? posix.relative(workspace, path) : posix.normalize(path);
  const plain = relative.replace(/\/+$/, '');
  if (plain !== '' && plain !== '.' && !plain.startsWith('../') && plain !== '..') return plain;
  throw new GloveboxError('GB_INPUT_INVALID', {
    what: `The path ${path}`,
    detail: `it is not a path below ${workspace}`,
  });
}
