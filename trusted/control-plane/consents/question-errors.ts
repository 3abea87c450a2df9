import { GloveboxError, type ConsentQuestion } from '../../../pure/contracts/index.ts';
import type { SessionRecord } from '../../store/index.ts';

export const answered = (question: ConsentQuestion): GloveboxError =>
  new GloveboxError('GB_SESSION_STATE', {
    state: `past this question (${question.state})`,
    operation: 'an answer',
    needed: 'waiting for one',
  });

export const notOpen = (session: SessionRecord, operation: string): GloveboxError =>
  new GloveboxError('GB_SESSION_STATE', { state: session.state, operation, needed: 'running' });
