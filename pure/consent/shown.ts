import type { ConsentQuestion } from '../contracts/index.ts';

/** The members of a question that a person is shown and answers, in this order; state and count go on changing. */
const shownMembers = [
  'id',
  'sessionId',
  'sessionName',
  'user',
  'turnId',
  'scope',
  'operation',
  'host',
  'argumentsText',
  'argsHash',
  'reason',
  'createdAt',
  'expiresAt',
] as const satisfies readonly (keyof ConsentQuestion)[];

export type ShownQuestion = Pick<ConsentQuestion, (typeof shownMembers)[number]>;

/**
 * The one text whose SHA-256 (hex) is a question's digest: a JSON array of its members' values in a fixed order. Whoever shows a
 * question computes it from what it shows; whoever stores an answer compares (R39).
 */
export const shownText = (question: ShownQuestion): string =>
  JSON.stringify(['glovebox-consent-question-1', ...shownMembers.map((member) => question[member])]);
