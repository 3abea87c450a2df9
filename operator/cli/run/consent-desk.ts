import { createHash } from 'node:crypto';
import { shownText } from '../../../pure/consent/index.ts';
import { GloveboxError, type ConsentQuestion, type OperatorEvent } from '../../../pure/contracts/index.ts';
import type { OperatorClient } from '../../client/index.ts';
import { failureOf, failureText } from '../failure.ts';
import { askConsent, type AskParts, type ConsentAnswer } from '../terminal/ask-consent.ts';

/** The screen between an agent's output and a question. */
export interface QuestionScreen {
  /** Holds the output back and puts the terminal in a known state. */
  take(): void;
  /** Gives the terminal back to the session. */
  giveBack(): void;
}

export interface DeskParts extends AskParts {
  readonly client: Pick<OperatorClient, 'call'>;
  readonly screen: QuestionScreen;
}

/** An answer is bound to what was shown: the digest is computed here, from the question on the screen (R39). */
export function shownDigest(question: ConsentQuestion): string {
  const digest = createHash('sha256').update(shownText(question)).digest('hex');
  if (digest === question.digest) return digest;
  throw new GloveboxError('GB_UPSTREAM_FAILED', {
    what: 'The control plane',
    detail: 'a question does not match its digest; it was not shown',
  });
}

export async function answerConsent(
  client: Pick<OperatorClient, 'call'>,
  question: ConsentQuestion,
  answer: ConsentAnswer,
): Promise<ConsentQuestion> {
  const params = { id: question.id };
  const digest = shownDigest(question);
  if (answer.kind === 'approve')
    return client.call('approveConsent', { params, body: { digest, mode: answer.mode } });
  if (answer.kind === 'deny') return client.call('denyConsent', { params, body: { digest } });
  return question;
}

/** Puts the questions of one session to the person at its terminal, one after the other. */
export class ConsentDesk {
  readonly #parts: DeskParts;
  readonly #waiting: ConsentQuestion[] = [];
  readonly #seen = new Set<string>();
  #current: { readonly id: string; readonly gone: AbortController } | undefined;
  #closed = false;
  #work: Promise<void> = Promise.resolve();

  constructor(parts: DeskParts) {
    this.#parts = parts;
  }

  handle(event: OperatorEvent): void {
    if (this.#closed || event.type !== 'consent') return;
    const { question } = event;
    if (question.state === 'pending') this.#add(question);
    else this.#settled(question.id);
  }

  /** The session is over: what is on the screen goes, nothing more is asked. */
  async close(): Promise<void> {
    this.#closed = true;
    this.#waiting.length = 0;
    this.#current?.gone.abort();
    await this.#work;
  }

  #add(question: ConsentQuestion): void {
    // A question that is asked again while it waits is the same question.
    if (this.#seen.has(question.id)) return;
    this.#seen.add(question.id);
    this.#waiting.push(question);
    if (this.#current === undefined && this.#waiting.length === 1) this.#work = this.#askAll();
  }

  #settled(id: string): void {
    const index = this.#waiting.findIndex((question) => question.id === id);
    if (index >= 0) this.#waiting.splice(index, 1);
    if (this.#current?.id === id) this.#current.gone.abort();
  }

  async #askAll(): Promise<void> {
    this.#parts.screen.take();
    for (let next = this.#waiting.shift(); next !== undefined; next = this.#waiting.shift()) {
      const gone = new AbortController();
      this.#current = { id: next.id, gone };
      await this.#ask(next, gone.signal);
      this.#current = undefined;
    }
    this.#parts.screen.giveBack();
  }

  async #ask(question: ConsentQuestion, gone: AbortSignal): Promise<void> {
    const say = (text: string): void => this.#parts.write(text.replaceAll('\n', '\r\n'));
    try {
      shownDigest(question);
      const answer = await askConsent(this.#parts, question, gone);
      if (answer.kind === 'gone') return say('glovebox: this question was settled meanwhile\n');
      if (answer.kind === 'left')
        return say(`glovebox: left open; answer it with: glovebox approve ${question.id}\n`);
      const settled = await answerConsent(this.#parts.client, question, answer);
      say(`glovebox: ${settled.state}\n`);
    } catch (error) {
      // Nothing is granted by an answer that did not arrive: the question stays open until it is denied by its time.
      say(failureText(failureOf(error).body));
    }
  }
}
