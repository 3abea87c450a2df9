import type { Secret, SecretKind } from '../../pure/contracts/index.ts';

export interface SecretListing {
  readonly name: string;
  readonly kind: SecretKind;
  readonly updatedAt: string;
}

export interface StoredSecret {
  readonly kind: SecretKind;
  readonly value: Secret;
}

/** Where values lie (invariant 7). Adapters: embedded (here); later Kubernetes Secret, Vault, External Secrets. */
export interface SecretBackend {
  put(name: string, secret: StoredSecret): Promise<SecretListing>;
  list(): Promise<readonly SecretListing[]>;
  /** Undefined where there is none of that name. */
  read(name: string): Promise<StoredSecret | undefined>;
  /** False where there was none. */
  remove(name: string): Promise<boolean>;
}
