import type { TLSSocket } from 'node:tls';

/** HTTP/2 by hand (RFC 9113), for what no library would send. */
export const type = {
  data: 0,
  headers: 1,
  reset: 3,
  settings: 4,
  ping: 6,
  goaway: 7,
  window: 8,
  continuation: 9,
} as const;
export const flag = { endStream: 1, ack: 1, endHeaders: 4 } as const;

export function frame(
  kind: number,
  flags: number,
  stream: number,
  payload: Uint8Array = Buffer.alloc(0),
): Buffer {
  const head = Buffer.alloc(9);
  head.writeUIntBE(payload.length, 0, 3);
  head.writeUInt8(kind, 3);
  head.writeUInt8(flags, 4);
  head.writeUInt32BE(stream, 5);
  return Buffer.concat([head, payload]);
}

const length = (bytes: number): Buffer => {
  // RFC 7541 section 5.1, seven bits.
  if (bytes < 127) return Buffer.from([bytes]);
  const out = [127];
  for (let rest = bytes - 127; ; rest = Math.floor(rest / 128)) {
    if (rest < 128) return Buffer.from([...out, rest]);
    out.push((rest % 128) + 128);
  }
};

/** Literal fields without indexing, without Huffman: any byte goes. */
export const block = (fields: readonly (readonly [string, string])[]): Buffer =>
  Buffer.concat(
    fields.flatMap(([name, value]) => {
      const [key, text] = [Buffer.from(name, 'latin1'), Buffer.from(value, 'latin1')];
      return [Buffer.from([0]), length(key.length), key, length(text.length), text];
    }),
  );

export const number = (value: number): Buffer => {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(value);
  return bytes;
};

export interface Frame {
  readonly kind: number;
  readonly flags: number;
  readonly stream: number;
  readonly payload: Buffer;
}

/** One connection by hand: preface and settings are sent, settings of the other end are acknowledged. */
export class RawClient {
  readonly frames: Frame[] = [];
  closed = false;
  readonly #tls: TLSSocket;
  readonly #waiting = new Set<() => void>();
  #rest: Buffer = Buffer.alloc(0);

  constructor(tls: TLSSocket, settings: Uint8Array = Buffer.alloc(0)) {
    this.#tls = tls;
    tls.on('data', (chunk: Buffer) => {
      this.#rest = Buffer.concat([this.#rest, chunk]);
      while (this.#rest.length >= 9) {
        const size = this.#rest.readUIntBE(0, 3);
        if (this.#rest.length < 9 + size) break;
        const one = {
          kind: this.#rest.readUInt8(3),
          flags: this.#rest.readUInt8(4),
          stream: this.#rest.readUInt32BE(5) & 0x7fffffff,
          payload: this.#rest.subarray(9, 9 + size),
        };
        this.frames.push(one);
        this.#rest = this.#rest.subarray(9 + size);
        if (one.kind === type.settings && (one.flags & flag.ack) === 0)
          this.send(frame(type.settings, flag.ack, 0));
      }
      this.#wake();
    });
    tls.on('error', () => undefined);
    tls.once('close', () => {
      this.closed = true;
      this.#wake();
    });
    this.send(Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'), frame(type.settings, 0, 0, settings));
  }

  send(...frames: readonly Buffer[]): void {
    if (!this.#tls.destroyed && this.#tls.writable) this.#tls.write(Buffer.concat(frames));
  }

  /** Until something holds of what has come; the end of the connection is looked at too. */
  async until(holds: () => boolean): Promise<void> {
    while (!holds()) {
      if (this.closed)
        throw new Error(`the connection ended: ${this.frames.map(({ kind }) => kind).join(' ')}`);
      await new Promise<void>((resolve) => this.#waiting.add(resolve));
    }
  }

  /** GOAWAY, a reset of the stream, or the connection's end. */
  async refused(stream: number): Promise<void> {
    await this.until(
      () =>
        this.closed ||
        this.frames.some(
          ({ kind, stream: of }) => kind === type.goaway || (kind === type.reset && of === stream),
        ),
    );
  }

  answered(stream: number): boolean {
    return this.frames.some(({ kind, stream: of }) => kind === type.headers && of === stream);
  }

  /** Reads no more: what the other end has to say stays with it. */
  deafen(): void {
    this.#tls.pause();
  }

  destroy(): void {
    this.#tls.destroy();
  }

  #wake(): void {
    for (const resolve of this.#waiting) resolve();
    this.#waiting.clear();
  }
}
