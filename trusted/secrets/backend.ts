import type { Secret } from '../../pure/contracts/index.ts';

export interface SecretListing {
  readonly name: string;
  readonly updatedAt: string;
}

/** Where values lie (invariant 7). Adapters: embedded (here); later Kubernetes Secret, Vault, External Secrets. */
export interface SecretBackend {
  put(name: string, value: Secret): Promise<SecretListing>;
  list(): Promise<readonly SecretListing[]>;
  /** Undefined where there is none of that name. */
  read(name: string): Promise<Secret | undefined>;
  /** False where there was none. */
  remove(name: string): Promise<boolean>;
}
