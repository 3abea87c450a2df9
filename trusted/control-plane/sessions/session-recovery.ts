import { limits } from '../../../pure/contracts/index.ts';
import { transition } from '../../../pure/session/index.ts';
import { replicaLease } from '../../store/index.ts';
import type { SessionServiceOptions } from './session-service.ts';

type RecoveryOptions = Pick<
  SessionServiceOptions,
  'store' | 'replica' | 'clock' | 'changes' | 'onError' | 'release' | 'audit' | 'settleIntents'
>;

export class SessionRecovery {
  readonly #options: RecoveryOptions;
  constructor(options: RecoveryOptions) {
    this.#options = options;
  }

  /** At the start: what a predecessor left open is over; its sandboxes were reaped, its changes are kept (R46). */
  async recover(): Promise<number> {
    const { store, replica } = this.#options;
    let recovered = 0;
    for (const owner of await store.sessions.openReplicas()) {
      // What was written before control planes had names is this one's: it has the state folder.
      if (owner === replica || owner === '') recovered += await this.#endAll(owner);
      else recovered += await this.#endAbandoned(owner);
    }
    return recovered;
  }

  /** While this one runs: what other replicas left that live no more. */
  async recoverOthers(): Promise<number> {
    const { store, replica } = this.#options;
    let recovered = 0;
    for (const owner of await store.sessions.openReplicas())
      if (owner !== replica && owner !== '') recovered += await this.#endAbandoned(owner);
    return recovered;
  }

  /** Of another replica: only if it lives no more, which who holds its lease can be sure of. */
  async #endAbandoned(owner: string): Promise<number> {
    const lease = await this.#options.store.replicas.tryTake(replicaLease(owner));
    if (lease === undefined) return 0;
    try {
      return await this.#endAll(owner);
    } finally {
      await lease.release();
    }
  }

  async #endAll(owner: string): Promise<number> {
    const { store, clock, changes, onError } = this.#options;
    await this.#settleEnded(owner);
    const left = await store.sessions.list({ ended: false, limit: limits.listLength.value, replica: owner });
    for (const record of left) {
      const at = new Date(clock.now()).toISOString();
      // Another's layer lies with it, not here; not known is not the same as none.
      const foreign = owner !== this.#options.replica && owner !== '';
      const kept =
        foreign ||
        (await changes.hasChanges(record).catch((error: unknown) => {
          onError(error, 'looking for changes');
          return true;
        }));
      await store.turns.endOf(record.id, at);
      await store.sessions.note(record.id, { turnId: null, changes: kept ? 'kept' : 'none' });
      await this.#options.release(record.id);
      const result = transition(record, { type: 'found-unfinished', at });
      if (result.kind !== 'moved') continue;
      const sequence = await this.#options.audit.record({
        session: record.id,
        sandbox: record.sandboxId,
        user: record.user,
        operation: 'session.end',
        decision: 'allow',
        rule: `end.${result.life.reason ?? 'daemon-died'}`,
      });
      await this.#options.settleIntents(record.id, sequence);
      await store.sessions.note(record.id, { settled: true });
      await store.sessions.move(record.id, record.state, result.life);
    }
    return left.length;
  }

  /** Sessions whose end could not be written down whole, since the bus or the store was away just then (R42). */
  async #settleEnded(owner: string): Promise<void> {
    const { store, audit, settleIntents } = this.#options;
    for (const record of await store.sessions.unsettled(owner)) {
      const sequence = await audit.record({
        session: record.id,
        sandbox: record.sandboxId,
        user: record.user,
        operation: 'session.settle',
        decision: 'allow',
        rule: `end.${record.reason ?? 'daemon-died'}`,
      });
      await settleIntents(record.id, sequence);
      await store.sessions.note(record.id, { settled: true });
    }
  }
}

/** A replica that is killed says nothing: the others look whether its lease is free. Returns how to stop. */
export function recoverOthersNowAndThen(
  sessions: { recoverOthers(): Promise<number> },
  note: (message: string, error?: unknown) => void,
): () => void {
  let under = false;
  const look = async (): Promise<void> => {
    if (under) return;
    under = true;
    try {
      const recovered = await sessions.recoverOthers();
      if (recovered > 0) note(`${recovered} sessions of another replica were ended`);
    } catch (error) {
      note('other replicas could not be looked after', error);
    } finally {
      under = false;
    }
  };
  const timer = setInterval(() => void look(), limits.storeLeaseRetry.value);
  timer.unref();
  return () => clearInterval(timer);
}
