import { GloveboxError, type ConsentQuestion } from '../../../pure/contracts/index.ts';
import type { OperatorClient } from '../../client/index.ts';
import { connect } from '../connect.ts';
import { print, printJson } from '../output.ts';
import { answerConsent, shownDigest } from '../run/consent-desk.ts';
import { askConsent } from '../terminal/ask-consent.ts';
import { personParts } from '../terminal/question-parts.ts';

type Options = Record<string, unknown>;

export const approve = (id: string | undefined, options: Options): Promise<number> =>
  answer('approve', id, options);
export const deny = (id: string | undefined, options: Options): Promise<number> =>
  answer('deny', id, options);

/** Only what is listed can be answered: an id that an agent printed leads nowhere else. */
async function answer(verb: 'approve' | 'deny', id: string | undefined, options: Options): Promise<number> {
  const { client } = connect();
  const open = (await client.call('listConsents', {})).filter((question) => question.state === 'pending');
  const json = options['json'] === true;
  const digest = typeof options['digest'] === 'string' ? options['digest'] : undefined;
  if (json && id === undefined) {
    printJson(open);
    return 0;
  }
  const question = choose(open, id, verb);
  const settled =
    digest === undefined
      ? await atTerminal(client, question, verb)
      : await byDigest(client, question, verb, digest, options['session'] === true);
  if (json) printJson(settled);
  else print(`${settled.scope === question.scope ? '' : 'another question: '}${settled.state}`);
  return settled.state === (verb === 'approve' ? 'approved' : 'denied') ? 0 : 1;
}

function choose(open: readonly ConsentQuestion[], id: string | undefined, verb: string): ConsentQuestion {
  const found = open.filter(
    (question) => id === undefined || question.id === id || question.id.startsWith(id),
  );
  const [first] = found;
  if (first !== undefined && found.length === 1) return first;
  throw new GloveboxError('GB_NOT_FOUND', {
    what:
      id === undefined
        ? open.length === 0
          ? 'open question'
          : 'single open question'
        : `open question ${id}`,
    detail:
      open.length === 0
        ? 'nothing waits for an answer'
        : `${open.map((question) => `${question.id} (${question.sessionName}: ${question.scope})`).join('; ')}: glovebox ${verb} ID`,
  });
}

/** For scripts: the digest says which question, word for word, is meant. */
async function byDigest(
  client: OperatorClient,
  question: ConsentQuestion,
  verb: 'approve' | 'deny',
  digest: string,
  session: boolean,
): Promise<ConsentQuestion> {
  if (digest !== shownDigest(question))
    throw new GloveboxError('GB_INPUT_INVALID', { what: '--digest', detail: 'it is another question’s' });
  return answerConsent(
    client,
    question,
    verb === 'deny' ? { kind: 'deny' } : { kind: 'approve', mode: session ? 'session' : 'once' },
  );
}

async function atTerminal(
  client: OperatorClient,
  question: ConsentQuestion,
  verb: 'approve' | 'deny',
): Promise<ConsentQuestion> {
  const parts = personParts(
    `give the digest of the question that you read: --digest (glovebox ${verb} --json)`,
  );
  shownDigest(question);
  try {
    const given = await askConsent(parts, question, parts.gone);
    return await answerConsent(client, question, given);
  } finally {
    parts.restore();
  }
}
