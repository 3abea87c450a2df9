import { GloveboxError, type TrustDomain } from '../../pure/contracts/index.ts';
import {
  block,
  createIssuing,
  createRoot,
  isSignedBy,
  openIssuing,
  openNextRoot,
  openRoot,
  rootFiles,
  type CaKey,
  type Root,
} from './ca-keys.ts';
import type { KeysFolder } from './keys-folder.ts';
import type { RootStep } from './protocol.ts';

/** Which step is next. */
export type RootPhase = RootStep;

/** PEM; no key is among them. */
export interface CaCertificates {
  readonly issuing: string;
  readonly root: string;
  /** Announced, and does not sign yet. */
  readonly next: string | null;
  /** Trusted still, and signs no more. */
  readonly previous: string | null;
}

/** The CA of a keys folder. Each file is whole or absent, and each step can be cut off after any write of it. */
export class CaKeys {
  readonly #folder: KeysFolder;
  readonly #trustDomain: TrustDomain;
  readonly #now: () => number;
  #root: Root;
  #next: Root | undefined;
  #issuing: CaKey;

  private constructor(
    folder: KeysFolder,
    trustDomain: TrustDomain,
    now: () => number,
    root: Root,
    next: Root | undefined,
    issuing: CaKey,
  ) {
    this.#folder = folder;
    this.#trustDomain = trustDomain;
    this.#now = now;
    this.#root = root;
    this.#next = next;
    this.#issuing = issuing;
  }

  static async open(folder: KeysFolder, trustDomain: TrustDomain, now: () => number): Promise<CaKeys> {
    const root = await openRoot(folder, trustDomain, now);
    const next = openNextRoot(folder, trustDomain);
    const roots = next === undefined ? [root] : [root, next];
    const issuing =
      (await openIssuing(folder, roots, now)) ??
      (await createIssuing(folder, trustDomain, await root.unlock(), now));
    const keys = new CaKeys(folder, trustDomain, now, root, next, issuing);
    // An activation that was cut off after the next root had signed.
    if (next !== undefined && isSignedBy(issuing.certificate, next)) keys.#promote(next);
    return keys;
  }

  get issuing(): CaKey {
    return this.#issuing;
  }

  get phase(): RootPhase {
    if (this.#next !== undefined) return 'activate';
    return this.#previous() === undefined ? 'announce' : 'retire';
  }

  /** What everyone trusts: every root that has signed, or is about to sign, a certificate that lives. */
  get bundlePem(): string {
    const roots = [this.#root.certificatePem, this.#next?.certificatePem, this.#previous()];
    return [...new Set(roots.filter((pem) => pem !== undefined))].map((pem) => `${pem}\n`).join('');
  }

  get certificates(): CaCertificates {
    return {
      issuing: this.#issuing.certificate.toString('pem'),
      root: this.#root.certificatePem,
      next: this.#next?.certificatePem ?? null,
      previous: this.#previous() ?? null,
    };
  }

  /** A new issuing CA under the same root: those who trust the root notice nothing. */
  async rotateIssuing(): Promise<void> {
    this.#issuing = await createIssuing(
      this.#folder,
      this.#trustDomain,
      await this.#root.unlock(),
      this.#now,
    );
  }

  async rotateRoot(step: RootStep): Promise<void> {
    if (step !== this.phase) {
      const detail = `the next step of the rotation is ${this.phase}, not ${step}`;
      throw new GloveboxError('GB_INPUT_INVALID', { what: 'The signer’s message', detail });
    }
    switch (step) {
      case 'announce':
        // A root that is offline is not replaced behind the back of who keeps its passphrase.
        await this.#root.unlock();
        await createRoot(this.#folder, this.#trustDomain, this.#now, rootFiles.next);
        this.#next = openNextRoot(this.#folder, this.#trustDomain);
        return;
      case 'activate': {
        const next = this.#next;
        if (next === undefined) return;
        this.#folder.write(rootFiles.previous, `${this.#root.certificatePem}\n`);
        this.#issuing = await createIssuing(this.#folder, this.#trustDomain, await next.unlock(), this.#now);
        this.#promote(next);
        return;
      }
      case 'retire':
        this.#folder.remove(rootFiles.previous);
    }
  }

  #promote(next: Root): void {
    this.#folder.write(rootFiles.current, next.stored);
    this.#folder.remove(rootFiles.next);
    this.#root = next;
    this.#next = undefined;
  }

  /** The certificate alone of the root before this one: its key is gone. */
  #previous(): string | undefined {
    const stored = this.#folder.read(rootFiles.previous);
    if (stored === undefined) return undefined;
    const pem = block(stored, 'CERTIFICATE');
    return pem === this.#root.certificatePem ? undefined : pem;
  }
}
