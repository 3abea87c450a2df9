import { setTimeout as delay } from 'node:timers/promises';
import { GloveboxError, type SessionView } from '../../../pure/contracts/index.ts';
import { transition, type SessionEvent } from '../../../pure/session/index.ts';
import type { SessionFindings, SessionRecord, SessionStore } from '../../store/index.ts';
import { viewOf } from './session-view.ts';
import { Queue } from '../keyed-queue.ts';

/** The one writer of a session's record while it lives: each step is in the store before anybody acts on it. */
export class SessionLifeWriter {
  readonly #store: SessionStore;
  readonly #onChange: (view: SessionView) => void;
  readonly #late: (ms: number) => Promise<'late'>;
  #record: SessionRecord;
  #attached = 0;
  readonly #waiting = new Set<() => void>();
  readonly #queue = new Queue();

  /** `late`: resolves when so many milliseconds are over; a test has a clock of its own. */
  constructor(
    store: SessionStore,
    record: SessionRecord,
    onChange: (view: SessionView) => void,
    late: (ms: number) => Promise<'late'> = async (ms) => await delay(ms, 'late' as const, { ref: false }),
  ) {
    this.#late = late;
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
    return await this.#queue.run(async () => {
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

  /** Stored before anybody hears of it. */
  async changePolicy(policy: SessionRecord['policy'], secrets: readonly string[]): Promise<void> {
    await this.#queue.run(async () => {
      const { id, policyWritten, state } = this.#record;
      if (!(await this.#store.writePolicy(id, policyWritten, { policy, secrets }))) {
        throw new GloveboxError('GB_SESSION_STATE', {
          state,
          operation: 'a change of its policy',
          needed: 'running, and changed by one at a time',
        });
      }
      this.#record = { ...this.#record, policy, secrets, policyWritten: policyWritten + 1 };
    });
  }

  /** What its sidecar reports to apply. It cannot have applied what was never written, and it does not go back. */
  async reportsPolicy(generation: number): Promise<void> {
    if (generation > this.#record.policyWritten) {
      throw new GloveboxError('GB_INPUT_INVALID', {
        what: 'The report',
        detail: `generation ${generation} was never written`,
      });
    }
    if (generation > this.#record.policyGeneration) await this.note({ policyGeneration: generation });
    for (const heard of this.#waiting) heard();
  }

  /** True as soon as its sidecar has reported this generation, or a later one; false when that takes longer. */
  async applies(generation: number, ms: number): Promise<boolean> {
    const late = this.#late(ms);
    while (this.#record.policyGeneration < generation) {
      let heard: () => void = () => undefined;
      const report = new Promise<void>((resolve) => {
        heard = resolve;
        this.#waiting.add(heard);
      });
      const first = await Promise.race([report, late]);
      this.#waiting.delete(heard);
      if (first === 'late') return this.#record.policyGeneration >= generation;
    }
    return true;
  }

  async note(findings: Partial<Omit<SessionFindings, 'policyWritten'>>): Promise<void> {
    await this.#queue.run(async () => {
      await this.#store.note(this.#record.id, findings);
      this.#record = { ...this.#record, ...findings };
      this.#onChange(this.view);
    });
  }
}
