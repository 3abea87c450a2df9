import { Transform, type TransformCallback } from 'node:stream';

/** Bytes that must not pass were about to. */
export class PatternFound extends Error {
  constructor(what: string) {
    super(what);
    this.name = 'PatternFound';
  }
}

/**
 * Cuts a stream that holds one of some texts, also when it is split over chunks. Best effort: another encoding of it passes. Bytes
 * are held back only while they could be the beginning of a text, so a stream is not delayed.
 */
export class PatternGuard extends Transform {
  readonly #patterns: readonly Buffer[];
  readonly #what: string;
  #held: Buffer = Buffer.alloc(0);

  constructor(patterns: readonly string[], what: string) {
    super();
    this.#patterns = patterns.map((text) => Buffer.from(text)).filter((pattern) => pattern.length > 0);
    this.#what = what;
  }

  override _transform(chunk: Buffer, _: BufferEncoding, done: TransformCallback): void {
    const bytes = this.#held.length === 0 ? chunk : Buffer.concat([this.#held, chunk]);
    let keep = 0;
    for (const pattern of this.#patterns) {
      if (bytes.includes(pattern)) {
        // Not in this turn: Node 20 loses the reset of an HTTP/2 stream whose head is still being sent.
        setImmediate(done, new PatternFound(this.#what));
        return;
      }
      keep = Math.max(keep, beginning(pattern, bytes));
    }
    this.#held = bytes.subarray(bytes.length - keep);
    done(null, bytes.subarray(0, bytes.length - keep));
  }

  override _flush(done: TransformCallback): void {
    done(null, this.#held);
  }
}

/** The length of the longest end of `bytes` that is a beginning of the pattern. */
function beginning(pattern: Buffer, bytes: Buffer): number {
  const first = pattern[0] ?? 0;
  let at = bytes.indexOf(first, Math.max(0, bytes.length - pattern.length + 1));
  while (at >= 0) {
    if (pattern.subarray(0, bytes.length - at).equals(bytes.subarray(at))) return bytes.length - at;
    at = bytes.indexOf(first, at + 1);
  }
  return 0;
}

/** The forms in which an upstream may send a credential back: as it is, percent-encoded, as JSON text, in base64 at each alignment. */
export function echoesOf(credential: string): readonly string[] {
  const forms = new Set([
    credential,
    encodeURIComponent(credential),
    JSON.stringify(credential).slice(1, -1),
  ]);
  const bytes = Buffer.from(credential);
  for (const before of [0, 1, 2]) {
    // What the neighbours share a character with is left off at both ends.
    const padded = Buffer.concat([Buffer.alloc(before), bytes]);
    const text = padded.toString('base64').replace(/=+$/, '');
    const from = before === 0 ? 0 : before + 1;
    const to = padded.length % 3 === 0 ? text.length : text.length - 1;
    const middle = text.slice(from, to);
    if (middle.length < 8) continue;
    forms.add(middle);
    forms.add(middle.replaceAll('+', '-').replaceAll('/', '_'));
  }
  return [...forms];
}
