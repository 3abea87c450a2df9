import { limits, type TurnId, type UserId } from '../../../pure/contracts/index.ts';
import { parseDuration } from '../../../pure/policy/index.ts';
import type { Store } from '../../store/index.ts';
import type { Clock } from '../ports.ts';
import type { Ids } from '../random-ids.ts';
import type { ControlChannel } from './control-channel.ts';
import type { SessionLifeWriter } from './session-life.ts';
import { Queue } from '../keyed-queue.ts';

export interface TurnBookOptions {
  readonly life: SessionLifeWriter;
  readonly turns: Store['turns'];
  readonly grants: Pick<Store['grants'], 'onceOnly'>;
  readonly control: Pick<ControlChannel, 'say'>;
  readonly ids: Pick<Ids, 'turn'>;
  readonly clock: Clock;
  readonly onError: (error: unknown, doing: string) => void;
}

export interface OpenTurn {
  readonly id: TurnId;
  readonly user: UserId;
  /** Milliseconds since the epoch, a whole second: when its sidecar takes it for ended. */
  readonly until: number;
  readonly onceOnly: boolean;
}

/**
 * One session's turns: opened by an identified person's input, ended by another person's, by the end of what was started, or by
 * time. One change after the other, in the store before it is said, so that turns never overlap (R36).
 */
export class TurnBook {
  readonly #options: TurnBookOptions;
  readonly #participants = new Set<UserId>();
  #open: OpenTurn | null = null;
  #timer: NodeJS.Timeout | undefined;
  readonly #queue = new Queue();
  #closed = false;

  constructor(options: TurnBookOptions) {
    this.#options = options;
  }

  get current(): OpenTurn | null {
    return this.#open;
  }

  /** A turn of this person's from now on, whoever's it was. Undefined: the session is over. */
  async begin(user: UserId, id: TurnId = this.#options.ids.turn()): Promise<TurnId | undefined> {
    return await this.#queue.run(async () => await this.#begin(user, id));
  }

  /** This person's turn: the one that is open, or a new one. */
  async of(user: UserId): Promise<{ readonly id: TurnId; readonly opened: boolean } | undefined> {
    return await this.#queue.run(async () => {
      const open = this.#open;
      if (open?.user === user && this.#options.clock.now() < open.until) {
        // Said again: a sidecar that asks has not heard of it.
        await this.#say(open);
        return { id: open.id, opened: false };
      }
      const id = await this.#begin(user, this.#options.ids.turn());
      return id === undefined ? undefined : { id, opened: true };
    });
  }

  /** True: it was open until now. */
  async end(id: TurnId): Promise<boolean> {
    return await this.#queue.run(async () => {
      if (this.#open?.id !== id) return false;
      await this.#end();
      return true;
    });
  }

  /** Nobody's turn is open any more, and none opens. */
  async close(): Promise<void> {
    await this.#queue.run(async () => {
      this.#closed = true;
      await this.#end();
    });
  }

  async #begin(user: UserId, id: TurnId): Promise<TurnId | undefined> {
    const { life, turns, grants, clock } = this.#options;
    if (this.#closed) return undefined;
    const { record } = life;
    const now = clock.now();
    const most = Math.min(now + turnTime(record.policy.turns.limit), Date.parse(record.expiresAt));
    const until = Math.floor(most / 1000) * 1000;
    const expiresAt = new Date(until).toISOString();
    await turns.open({ id, sessionId: record.id, user, openedAt: new Date(now).toISOString(), expiresAt });
    this.#participants.add(user);
    const onceOnly = this.#participants.size > 1 && !record.policy.turns.sessionGrants;
    if (onceOnly) await grants.onceOnly(record.id);
    const open = { id, user, until, onceOnly };
    this.#open = open;
    this.#watch(id, until - now);
    await life.note({ turnId: id });
    await this.#say(open);
    return id;
  }

  async #say({ id, user, until, onceOnly }: OpenTurn): Promise<void> {
    await this.#options.control.say(this.#options.life.record.id, {
      type: 'turn-open',
      turn_id: id,
      user,
      expires_at: until / 1000,
      once_only: onceOnly,
    });
  }

  async #end(): Promise<void> {
    const { life, turns, control, clock } = this.#options;
    const open = this.#open;
    if (open === null) return;
    this.#open = null;
    clearTimeout(this.#timer);
    await turns.end(open.id, new Date(clock.now()).toISOString());
    await control.say(life.record.id, { type: 'turn-close', turn_id: open.id });
    await life.note({ turnId: null });
  }

  #watch(id: TurnId, ms: number): void {
    clearTimeout(this.#timer);
    // A longer wait than a timer knows is one that begins anew.
    const most = 2 ** 31 - 1;
    this.#timer = setTimeout(
      () => {
        if (ms > most) return this.#watch(id, ms - most);
        this.end(id).catch((error: unknown) => this.#options.onError(error, 'ending a turn by time'));
      },
      Math.max(0, Math.min(ms, most)),
    ).unref();
  }
}

const turnTime = (limit: string | undefined): number =>
  ((limit === undefined ? null : parseDuration(limit)) ?? limits.turnTime.value / 1000) * 1000;
