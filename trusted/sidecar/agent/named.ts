import type { IncomingHttpHeaders } from 'node:http';
import {
  GloveboxError,
  limits,
  turnHeader,
  type TurnId,
  type UserId,
} from '../../../pure/contracts/index.ts';
import type { Named } from '../../../pure/consent/index.ts';
import type { Turns } from '../turns.ts';

export const mcpSessionHeader = 'mcp-session-id';

interface Conversation {
  readonly user: UserId;
  readonly turnId: TurnId;
}

/**
 * What a request says of itself, by the token of a turn or the id of an MCP session. Both only narrow (R36): whoever has them is the
 * person of that turn, without a grant where it is another's now; whoever leaves them out is what the open turn says.
 */
export class NamedTurns {
  readonly #turns: Turns;
  readonly #newId: () => string;
  readonly #conversations = new Map<string, Conversation>();

  constructor(turns: Turns, newId: () => string) {
    this.#turns = turns;
    this.#newId = newId;
  }

  of(headers: IncomingHttpHeaders): Named {
    const token = headers[turnHeader];
    if (token !== undefined) {
      if (typeof token !== 'string')
        throw new GloveboxError('GB_TOKEN_INVALID', { detail: 'more than one turn is named' });
      return { by: 'token', token };
    }
    const session = headers[mcpSessionHeader];
    if (session === undefined) return { by: 'nothing' };
    const conversation = typeof session === 'string' ? this.#conversations.get(session) : undefined;
    // A client of MCP takes this for the end of its session, and begins another.
    if (conversation === undefined)
      throw new GloveboxError('GB_NOT_FOUND', { what: 'such MCP session', detail: 'it never began here' });
    return { by: 'conversation', ...conversation };
  }

  /** The id of a new MCP session, of the person whose turn it is; undefined where it is nobody's. */
  begin(): string | undefined {
    const stamp = this.#turns.stamp();
    if (stamp === null) return undefined;
    const id = this.#newId();
    this.#conversations.set(id, { user: stamp.user, turnId: stamp.turnId });
    const [oldest] = this.#conversations.keys();
    if (this.#conversations.size > limits.turnsRemembered.value && oldest !== undefined)
      this.#conversations.delete(oldest);
    return id;
  }
}
