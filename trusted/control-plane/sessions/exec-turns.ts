import { createHash } from 'node:crypto';
import { GloveboxError, limits, type TurnId, type UserId } from '../../../pure/contracts/index.ts';
import type { TurnBook } from './turn-book.ts';
import type { SessionRunOptions } from './session-run.ts';

export interface ExecRequest {
  readonly command: readonly string[];
  readonly terminal: { readonly rows: number; readonly cols: number; readonly term: string } | null;
  readonly stdin: boolean;
}

interface ExecTurn {
  readonly turn: TurnId;
  readonly user: UserId;
  /** Whose turn it was when this one began. */
  readonly before: UserId | null;
}

/**
 * A further command is a person's input: it has a turn of its own from before it starts to its end. Then the same person's goes on
 * in a new one; where it was another's, the next input opens one. Turns never overlap: whoever began last is whom the agent works for (R36).
 */
export class ExecTurns {
  readonly #options: Pick<SessionRunOptions, 'audit' | 'ids' | 'order'>;
  readonly #turns: TurnBook;
  readonly #open = new Map<string, ExecTurn>();

  constructor(options: Pick<SessionRunOptions, 'audit' | 'ids' | 'order'>, turns: TurnBook) {
    this.#options = options;
    this.#turns = turns;
  }

  async begin(request: ExecRequest, user: UserId): Promise<string> {
    if (this.#open.size >= limits.execs.value)
      throw new GloveboxError('GB_LIMIT_REACHED', {
        limit: 'execs',
        detail: `${limits.execs.value} further commands run in this session`,
      });
    const turn = this.#options.ids.turn();
    const process = `exec-${turn}`;
    this.#open.set(process, { turn, user, before: this.#turns.current?.user ?? null });
    try {
      await this.#record(turn, user, {
        detail: `started: ${request.command[0] ?? ''}`,
        args_hash: createHash('sha256').update(JSON.stringify(request.command)).digest('hex'),
      });
      await this.#turns.begin(user, turn);
    } catch (error) {
      this.#open.delete(process);
      throw error;
    }
    return process;
  }

  async ended(
    process: string,
    end: { readonly code: number | null; readonly signal: number | null },
    goesOn: boolean,
  ): Promise<void> {
    const one = this.#open.get(process);
    if (one === undefined) return;
    this.#open.delete(process);
    // Another person's turn does not come back by itself: what this command left running would go on in it (R36).
    if ((await this.#turns.end(one.turn)) && goesOn && one.before === one.user)
      await this.#turns.begin(one.user);
    await this.#record(one.turn, one.user, {
      detail: `ended: exit code ${end.code ?? 'none'}, signal ${end.signal ?? 'none'}`,
    });
  }

  async #record(
    turn: TurnId,
    user: UserId,
    said: { readonly detail: string; readonly args_hash?: string },
  ): Promise<void> {
    const { audit, order } = this.#options;
    await audit.record({
      session: order.sessionId,
      sandbox: order.sandboxId,
      turn,
      user,
      operation: 'session.exec',
      decision: 'allow',
      rule: 'operator',
      ...said,
    });
  }
}
