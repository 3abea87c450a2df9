import { Transform, type TransformCallback } from 'node:stream';

/** The upstream sent the credential back. */
export class CredentialEchoed extends Error {
  constructor() {
    super('the reply holds the credential');
    this.name = 'CredentialEchoed';
  }
}

/**
 * Cuts a reply that holds the credential in plain, also when it is split over chunks. Best effort: a compressed or encoded copy
 * passes. Bytes are held back only while they could be the beginning of the credential, so a stream is not delayed.
 */
export class EchoGuard extends Transform {
  readonly #secret: Buffer;
  #held: Buffer = Buffer.alloc(0);

  constructor(secret: string) {
    super();
    this.#secret = Buffer.from(secret);
  }

  override _transform(chunk: Buffer, _: BufferEncoding, done: TransformCallback): void {
    const bytes = this.#held.length === 0 ? chunk : Buffer.concat([this.#held, chunk]);
    if (bytes.includes(this.#secret)) {
      done(new CredentialEchoed());
      return;
    }
    const keep = this.#beginning(bytes);
    this.#held = bytes.subarray(bytes.length - keep);
    done(null, bytes.subarray(0, bytes.length - keep));
  }

  override _flush(done: TransformCallback): void {
    done(null, this.#held);
  }

  /** The length of the longest end of `bytes` that is a beginning of the secret. */
  #beginning(bytes: Buffer): number {
    const first = this.#secret[0] ?? 0;
    let at = bytes.indexOf(first, Math.max(0, bytes.length - this.#secret.length + 1));
    while (at >= 0) {
      if (this.#secret.subarray(0, bytes.length - at).equals(bytes.subarray(at))) return bytes.length - at;
      at = bytes.indexOf(first, at + 1);
    }
    return 0;
  }
}
