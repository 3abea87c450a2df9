import { createHash } from 'node:crypto';
import { GloveboxError, limits, type TurnId, type UserId } from '../../../pure/contracts/index.ts';
import type { SessionRunOptions } from './session-run.ts';

export interface ExecRequest {
  readonly command: readonly string[];
  readonly terminal: { readonly rows: number; readonly cols: number; readonly term: string } | null;
  readonly stdin: boolean;
}

/**
 * A further command is a person's input: it has a turn of its own from before it starts to its end, then the session's own goes on
 * in a new one. Turns never overlap: whoever began last is whom the agent works for (R36).
 */
export class ExecTurns {
  readonly #options: Pick<SessionRunOptions, 'life' | 'control' | 'audit' | 'ids' | 'order'>;
  readonly #open = new Map<string, { readonly turn: TurnId; readonly user: UserId }>();

  constructor(options: Pick<SessionRunOptions, 'life' | 'control' | 'audit' | 'ids' | 'order'>) {
    this.#options = options;
  }

  async begin(request: ExecRequest, user: UserId): Promise<string> {
    if (this.#open.size >= limits.execs.value)
      throw new GloveboxError('GB_LIMIT_REACHED', {
        limit: 'execs',
        detail: `${limits.execs.value} further commands run in this session`,
      });
    const turn = this.#options.ids.turn();
    const process = `exec-${turn}`;
    this.#open.set(process, { turn, user });
    try {
      await this.#record(turn, user, {
        detail: `started: ${request.command[0] ?? ''}`,
        args_hash: createHash('sha256').update(JSON.stringify(request.command)).digest('hex'),
      });
      await this.#openTurn(turn, user);
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
    const { life, control, order, ids } = this.#options;
    if (goesOn && life.record.turnId === one.turn) {
      await control.say(order.sessionId, { type: 'turn-close', turn_id: one.turn });
      await this.#openTurn(ids.turn(), life.record.user);
    }
    await this.#record(one.turn, one.user, {
      detail: `ended: exit code ${end.code ?? 'none'}, signal ${end.signal ?? 'none'}`,
    });
  }

  async #openTurn(turn: TurnId, user: UserId): Promise<void> {
    const { life, control, order } = this.#options;
    await life.note({ turnId: turn });
    await control.say(order.sessionId, { type: 'turn-open', turn_id: turn, user });
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
