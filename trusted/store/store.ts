import type { AuditStore } from '../audit/index.ts';
import type { IdentityStore } from '../identity/index.ts';
import type { ApiTokenStore } from './api-tokens.ts';
import type { ConsentStore, GrantStore } from './consents.ts';
import type { Replicas } from './replicas.ts';
import type { SessionStore } from './sessions.ts';
import type { TurnStore } from './turns.ts';
import type { WaiverStore } from './waivers.ts';

/** The one door to what outlives the process. Secret values are not here and never will be (invariant 7). */
export interface Store {
  readonly sessions: SessionStore;
  readonly consents: ConsentStore;
  readonly grants: GrantStore;
  readonly turns: TurnStore;
  readonly apiTokens: ApiTokenStore;
  readonly waivers: WaiverStore;
  readonly identity: IdentityStore;
  readonly audit: AuditStore;
  readonly replicas: Replicas;
  /** The store is this installation's from the first time on; GB_STATE_REFUSED for every other. */
  claim(installation: string): Promise<void>;
  close(): Promise<void>;
}
