import {
  GloveboxError,
  limits,
  type ConsentMode,
  type GrantId,
  type UserId,
} from '../../pure/contracts/index.ts';
import { scopeCovers, scopeMatches } from '../../pure/policy/index.ts';

export interface Grant {
  readonly id: GrantId;
  readonly user: UserId;
  /** A scope, or a pattern that the person was shown as such. */
  readonly scope: string;
  readonly mode: ConsentMode;
  /** A grant for once is for the arguments that were shown, where any were. */
  readonly argsHash: string | null;
}

/** What people granted to this session; in memory, gone with it. Nothing at the start (R34). Key: user × scope (R35). */
export class Grants {
  readonly #grants: Grant[] = [];
  readonly #severalUsers: () => boolean;

  constructor(severalUsers: () => boolean) {
    this.#severalUsers = severalUsers;
  }

  add(grant: Grant): void {
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

  /** Looks up and spends in one step, without waiting between: of racing calls one has a grant for once (R37). */
  take(user: UserId, scope: string, argsHash: string): GrantId | null {
    const grant = this.#find(user, scope, argsHash);
    if (grant === undefined) return null;
    if (grant.mode === 'once' || this.#severalUsers()) this.revoke(grant.id);
    return grant.id;
  }

  revoke(id: string): void {
    const index = this.#grants.findIndex((grant) => grant.id === id);
    if (index !== -1) this.#grants.splice(index, 1);
  }

  /** After a change of policy: what is not covered any more is void. */
  keepOnly(covered: (scope: string) => boolean): void {
    this.#grants.splice(0, this.#grants.length, ...this.#grants.filter(({ scope }) => covered(scope)));
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
