import {
  GloveboxError,
  limits,
  type ConsentMode,
  type GrantId,
  type TurnId,
  type UserId,
} from '../../pure/contracts/index.ts';
import { scopeCovers, scopeMatches } from '../../pure/policy/index.ts';
import type { Stamp } from './turns.ts';

export interface Grant {
  readonly id: GrantId;
  readonly user: UserId;
  /** A scope, or a pattern that the person was shown as such. */
  readonly scope: string;
  readonly mode: ConsentMode;
  /** A grant for once is for the arguments that were shown, where any were. */
  readonly argsHash: string | null;
}

/** One use of a grant, as the store is asked for it. */
export interface GrantUse {
  readonly grantId: GrantId;
  readonly turnId: TurnId;
  readonly scope: string;
  readonly argsHash: string;
}

export interface GrantsOptions {
  /** With several people no grant outlives one use. */
  readonly onceOnly: () => boolean;
  /** Whether the store lets this use be: where it cannot be asked, the answer is an error, which is no. */
  readonly use: (use: GrantUse) => Promise<boolean>;
}

/**
 * What people granted to this session, as far as this gateway knows. Nothing at the start (R34). Key: user × scope (R35). The store
 * has the last word on each use: a grant that was used up or revoked there serves nobody here.
 */
export class Grants {
  readonly #grants: Grant[] = [];
  readonly #void = new Set<string>();
  readonly #inUse = new Map<string, Set<() => void>>();
  readonly #options: GrantsOptions;

  constructor(options: GrantsOptions) {
    this.#options = options;
  }

  add(grant: Grant): void {
    // Revoked before its consent was told here: the bus keeps the order of words, an answer does not wait for them.
    if (this.#void.has(grant.id)) return;
    if (this.#grants.length >= limits.grants.value) {
      throw new GloveboxError('GB_LIMIT_REACHED', {
        limit: 'grants',
        detail: 'the session holds too many grants',
      });
    }
    this.#grants.push(grant);
  }

  has(user: UserId, scope: string, argsHash: string): boolean {
    return this.#find(user, scope, argsHash, scopeCovers) !== undefined;
  }

  /**
   * Looks up and takes a grant for once out in one step, without waiting between; then the store decides. Of racing calls one has it,
   * here and over all gateways (R37).
   */
  async take(stamp: Stamp, scope: string, argsHash: string): Promise<GrantId | null> {
    if (!stamp.mayUseGrants) return null;
    const grant = this.#find(stamp.user, scope, argsHash);
    if (grant === undefined) return null;
    if (grant.mode === 'once' || this.#options.onceOnly()) this.#remove(grant.id);
    const { id: grantId } = grant;
    const used = await this.#options.use({ grantId, turnId: stamp.turnId, scope, argsHash });
    // Revoked while the store was asked: whoever was first there, it is not used from now on.
    if (used && !this.#void.has(grantId)) return grantId;
    if (!used) this.#remove(grantId);
    return null;
  }

  /** What is done by a grant ends with it. Returns what to call when it is over. */
  underWay(id: GrantId, cut: () => void): () => void {
    const cuts = this.#inUse.get(id) ?? new Set();
    this.#inUse.set(id, cuts.add(cut));
    if (this.#void.has(id)) cut();
    return () => {
      cuts.delete(cut);
      if (cuts.size === 0) this.#inUse.delete(id);
    };
  }

  /** No use from now on, and what is under way by it is cut off. */
  revoke(id: string): void {
    this.#void.add(id);
    const [oldest] = this.#void;
    if (this.#void.size > limits.grants.value && oldest !== undefined) this.#void.delete(oldest);
    this.#remove(id);
    for (const cut of [...(this.#inUse.get(id) ?? [])]) cut();
  }

  /** After a change of policy: what is not covered any more is void. */
  keepOnly(covered: (scope: string) => boolean): void {
    for (const { id, scope } of [...this.#grants]) if (!covered(scope)) this.revoke(id);
  }

  #remove(id: string): void {
    const index = this.#grants.findIndex((grant) => grant.id === id);
    if (index !== -1) this.#grants.splice(index, 1);
  }

  /** One for the session first: it is not used up. */
  #find(user: UserId, scope: string, argsHash: string, takesIn = scopeMatches): Grant | undefined {
    const good = this.#grants.filter(
      (grant) =>
        grant.user === user &&
        takesIn(grant.scope, scope) &&
        (grant.mode === 'session' || grant.argsHash === null || grant.argsHash === argsHash),
    );
    return good.find((grant) => grant.mode === 'session') ?? good[0];
  }
}
