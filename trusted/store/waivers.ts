/** What a person gave up by full name on this host (R24); stored once, shown at every run. */
export interface Waiver {
  readonly name: string;
  readonly user: string;
  readonly at: string;
}

export interface WaiverStore {
  list(): Promise<readonly Waiver[]>;
  /** False when it was there already. */
  add(waiver: Waiver): Promise<boolean>;
  /** False when there was none. */
  remove(name: string): Promise<boolean>;
}
