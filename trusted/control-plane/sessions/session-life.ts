import { GloveboxError, type SessionView } from '../../../pure/contracts/index.ts';
import { transition, type SessionEvent } from '../../../pure/session/index.ts';
import type { SessionFindings, SessionRecord, SessionStore } from '../../store/index.ts';
import { viewOf } from './session-view.ts';

/** The one writer of a session's record while it lives: each step is in the store before anybody acts on it. */
export class SessionLifeWriter {
  readonly #store: SessionStore;
  readonly #onChange: (view: SessionView) => void;
  #record: SessionRecord;
  #attached = 0;
  #tail: Promise<unknown> = Promise.resolve();

  constructor(store: SessionStore, record: SessionRecord, onChange: (view: SessionView) => void) {
    this.#store = store;
    this.#record = record;
    this.#onChange = onChange;
  }

  get record(): SessionRecord {
    return this.#record;
  }

  get view(): SessionView {
    return viewOf(this.#record, this.#attached);
  }

  set attached(count: number) {
    this.#attached = count;
    this.#onChange(this.view);
  }

  /** True when the session moved; false when the event changes nothing any more. Out of order: GB_SESSION_STATE. */
  async apply(event: SessionEvent): Promise<boolean> {
    return await this.#inTurn(async () => {
      const from = this.#record.state;
      const result = transition(this.#record, event);
      if (result.kind === 'same') return false;
      if (result.kind === 'refused') {
        throw new GloveboxError('GB_SESSION_STATE', {
          state: from,
          operation: event.type,
          needed: result.needed,
        });
      }
      if (!(await this.#store.move(this.#record.id, from, result.life))) {
        throw new GloveboxError('GB_SESSION_STATE', {
          state: 'changed by another',
          operation: event.type,
          needed: from,
        });
      }
      this.#record = { ...this.#record, ...result.life };
      this.#onChange(this.view);
      return true;
    });
  }

  async note(findings: Partial<SessionFindings>): Promise<void> {
    await this.#inTurn(async () => {
      await this.#store.note(this.#record.id, findings);
      this.#record = { ...this.#record, ...findings };
      this.#onChange(this.view);
    });
  }

  async #inTurn<T>(work: () => Promise<T>): Promise<T> {
    const result = this.#tail.then(work);
    this.#tail = result.then(
      () => undefined,
      () => undefined,
    );
    return await result;
  }
}
