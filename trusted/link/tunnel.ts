import { constants, type ServerHttp2Stream } from 'node:http2';
import { Duplex } from 'node:stream';
import { limits } from '../../pure/contracts/index.ts';
import { resetStream } from './reset.ts';

/**
 * One connection inside the sandbox, as a plain byte stream: half-close both ways, back-pressure, and a destroy before the end
 * is a reset. It hands bytes only on to HTTP/2: Node 20 corrupts short strings that are written to an HTTP/2 stream (their
 * buffer is on the stack), and its HTTP server writes its head as one.
 */
export class Tunnel extends Duplex {
  readonly #stream: ServerHttp2Stream;
  #ended = false;

  constructor(stream: ServerHttp2Stream) {
    super({ allowHalfOpen: true, decodeStrings: true, emitClose: true });
    this.#stream = stream;
    stream.on('data', (chunk: Buffer) => {
      if (!this.push(chunk)) stream.pause();
    });
    stream.once('end', () => {
      // Node tells a reader of a reset stream that it has ended: what was cut off must not pass for whole.
      if (stream.aborted || stream.rstCode !== constants.NGHTTP2_NO_ERROR) return void this.destroy();
      this.#ended = true;
      this.push(null);
    });
    stream.once('close', () => {
      // An end in order has been read by then; whatever is missing now does not come any more.
      if (!this.#ended || !this.writableFinished) this.destroy();
    });
  }

  /** What Node's HTTP server calls after a last answer: an agent may keep its half open for as long as it likes. */
  destroySoon(): void {
    this.end();
    const timer = setTimeout(() => this.destroy(), limits.refusedLinger.value);
    timer.unref();
    this.once('close', () => clearTimeout(timer));
  }

  override _read(): void {
    this.#stream.resume();
  }

  override _write(chunk: Buffer, _encoding: BufferEncoding, done: (error?: Error | null) => void): void {
    if (this.#stream.destroyed) done(closed());
    else this.#stream.write(chunk, done);
  }

  override _writev(
    chunks: { chunk: Buffer; encoding: BufferEncoding }[],
    done: (error?: Error | null) => void,
  ): void {
    this._write(Buffer.concat(chunks.map(({ chunk }) => chunk)), 'binary', done);
  }

  override _final(done: (error?: Error | null) => void): void {
    if (this.#stream.destroyed) done(closed());
    else this.#stream.end(done);
  }

  override _destroy(error: Error | null, done: (error?: Error | null) => void): void {
    const orderly = error === null && this.#ended && this.writableFinished;
    resetStream(this.#stream, orderly ? constants.NGHTTP2_NO_ERROR : constants.NGHTTP2_CANCEL);
    done(error);
  }
}

const closed = (): Error => Object.assign(new Error('the connection is closed'), { code: 'ECONNRESET' });
