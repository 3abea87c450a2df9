import { GloveboxError, limits, type SpiffeId } from '../../pure/contracts/index.ts';
import { systemClock, type Clock } from './clock.ts';
import { newKeyRequest } from './key-request.ts';
import { checkedSvid, type SvidAnswer, type SvidMaterial } from './svid.ts';

export interface SvidSourceOptions {
  /** The first certificate, by whatever attests this process (a join token, the signer itself). */
  readonly issue: (csrPem: string) => Promise<SvidAnswer>;
  /** Every later one, by the current one. */
  readonly renew: (csrPem: string, current: SvidMaterial) => Promise<SvidAnswer>;
  readonly expectedId?: SpiffeId;
  readonly clock?: Clock;
  /** 0 to 1, for the spread of retries. */
  readonly random?: () => number;
}

type Unlisten = () => void;

/**
 * Keeps this process's certificate fresh: a new key each time, renewed at half-life, tried again until it ends. When it
 * has ended there is none any more: `current` throws, and so does whatever needs it (invariant 8).
 */
export class SvidSource {
  readonly #options: SvidSourceOptions;
  readonly #clock: Clock;
  readonly #random: () => number;
  readonly #rotated = new Set<(svid: SvidMaterial) => void>();
  readonly #ended = new Set<(reason: GloveboxError) => void>();
  #svid: SvidMaterial;
  #failures = 0;
  #lastFailure: unknown;
  #cancel: () => void = () => undefined;
  #closed = false;
  #over: GloveboxError | undefined;

  private constructor(options: SvidSourceOptions, svid: SvidMaterial) {
    this.#options = options;
    this.#clock = options.clock ?? systemClock;
    this.#random = options.random ?? Math.random;
    this.#svid = svid;
    this.#schedule(halfLife(svid) - this.#clock.now());
  }

  static async start(options: SvidSourceOptions): Promise<SvidSource> {
    const { keyPem, csrPem } = await newKeyRequest();
    const svid = checkedSvid(keyPem, await options.issue(csrPem), options.expectedId);
    return new SvidSource(options, svid);
  }

  current(): SvidMaterial {
    if (this.#closed) throw new GloveboxError('GB_IDENTITY_REFUSED', { detail: 'this identity is closed' });
    if (this.#clock.now() >= this.#svid.notAfter.getTime()) throw this.#end();
    return this.#svid;
  }

  /** Called with each new certificate, before the old one ends. */
  onRotate(listener: (svid: SvidMaterial) => void): Unlisten {
    this.#rotated.add(listener);
    return () => void this.#rotated.delete(listener);
  }

  /** Called once when the certificate has ended without a successor. */
  onEnd(listener: (reason: GloveboxError) => void): Unlisten {
    this.#ended.add(listener);
    return () => void this.#ended.delete(listener);
  }

  close(): void {
    this.#closed = true;
    this.#cancel();
    this.#rotated.clear();
    this.#ended.clear();
  }

  #schedule(afterMs: number): void {
    this.#cancel = this.#clock.schedule(Math.max(afterMs, 0), () => void this.#renew());
  }

  async #renew(): Promise<void> {
    const before = this.#svid;
    if (this.#clock.now() >= before.notAfter.getTime()) return void this.#end();
    try {
      const { keyPem, csrPem } = await newKeyRequest();
      const next = checkedSvid(keyPem, await this.#options.renew(csrPem, before), before.id);
      if (this.#closed) return;
      this.#svid = next;
      this.#failures = 0;
    } catch (error) {
      if (this.#closed) return;
      this.#failures += 1;
      this.#lastFailure = error;
      this.#schedule(this.#retryAfter());
      return;
    }
    this.#schedule(halfLife(this.#svid) - this.#clock.now());
    for (const listener of this.#rotated) listener(this.#svid);
  }

  /** Doubling, spread over its upper half, and never past the certificate's end, where the source ends too. */
  #retryAfter(): number {
    const doubled = limits.renewalRetry.value * 2 ** Math.min(this.#failures - 1, 4);
    const left = this.#svid.notAfter.getTime() - this.#clock.now();
    return Math.max(Math.min(doubled * (0.5 + this.#random() / 2), left), 0);
  }

  #end(): GloveboxError {
    if (this.#over !== undefined) return this.#over;
    this.#cancel();
    const detail = `its own certificate ended at ${this.#svid.notAfter.toISOString()} and was not renewed`;
    this.#over = new GloveboxError('GB_IDENTITY_REFUSED', { detail }, { cause: this.#lastFailure });
    for (const listener of this.#ended) listener(this.#over);
    return this.#over;
  }
}

const halfLife = (svid: SvidMaterial): number => (svid.notBefore.getTime() + svid.notAfter.getTime()) / 2;
