import { once } from 'node:events';
import { connect as connectTls, type TLSSocket } from 'node:tls';

interface Certificate {
  readonly keyPem: string;
  readonly chainPem: string;
  readonly bundlePem: string;
}

export interface RawMessage {
  readonly subject: string;
  readonly reply: string | undefined;
  readonly text: string;
}

/**
 * What an attacker writes who has a certificate and nothing of ours: TLS, and NATS's lines by hand. Nothing here holds back
 * what a library would not send.
 */
export class RawNats {
  readonly errors: string[] = [];
  readonly messages: RawMessage[] = [];
  readonly closed: Promise<void>;
  info: Record<string, unknown> = {};
  readonly #socket: TLSSocket;
  readonly #pongs: (() => void)[] = [];
  #left = Buffer.alloc(0);
  #sids = 0;

  private constructor(socket: TLSSocket) {
    this.#socket = socket;
    this.closed = new Promise((resolve) => socket.once('close', () => resolve()));
    socket.on('error', () => undefined);
    socket.on('data', (chunk: Buffer) => this.#read(chunk));
  }

  /** Rejects when the server ends the connection before it has answered the first PING. */
  static async connect(
    bus: { readonly host: string; readonly port: number },
    certificate: Certificate | undefined,
    say: Record<string, unknown> = {},
    ca = certificate?.bundlePem ?? '',
  ): Promise<RawNats> {
    const socket = connectTls({
      ...bus,
      ca,
      minVersion: 'TLSv1.3',
      checkServerIdentity: () => undefined,
      ...(certificate === undefined ? {} : { key: certificate.keyPem, cert: certificate.chainPem }),
    });
    const raw = new RawNats(socket);
    await Promise.race([once(socket, 'secureConnect'), raw.closed]);
    const hello = {
      verbose: false,
      pedantic: false,
      headers: true,
      no_responders: true,
      protocol: 1,
      ...say,
    };
    raw.line(`CONNECT ${JSON.stringify(hello)}`);
    await raw.settle();
    return raw;
  }

  line(text: string): void {
    this.#socket.write(`${text}\r\n`);
  }

  publish(subject: string, text = '', reply = ''): void {
    this.line(`PUB ${subject} ${reply} ${String(Buffer.byteLength(text))}\r\n${text}`);
  }

  publishWith(headers: Readonly<Record<string, string>>, subject: string, text = '', reply = ''): void {
    const head = `NATS/1.0\r\n${Object.entries(headers)
      .map(([name, value]) => `${name}: ${value}\r\n`)
      .join('')}\r\n`;
    const sizes = `${String(head.length)} ${String(head.length + Buffer.byteLength(text))}`;
    this.line(`HPUB ${subject} ${reply} ${sizes}\r\n${head}${text}`);
  }

  subscribe(subject: string, queue = ''): void {
    this.#sids += 1;
    this.line(`SUB ${subject} ${queue} ${String(this.#sids)}`);
  }

  /** Everything that was sent before is carried out or refused; returns what the server refused meanwhile. */
  async settle(): Promise<readonly string[]> {
    const pong = new Promise<void>((resolve) => this.#pongs.push(resolve));
    this.line('PING');
    const ended = this.closed.then(() => {
      throw new Error(`the server ended the connection: ${this.errors.join(', ')}`);
    });
    ended.catch(() => undefined);
    await Promise.race([pong, ended]);
    return this.errors.splice(0);
  }

  /** Never reads again, as a slow consumer. */
  stopReading(): void {
    this.#socket.pause();
  }

  async end(): Promise<void> {
    this.#socket.destroy();
    await this.closed;
  }

  #read(chunk: Buffer): void {
    this.#left = Buffer.concat([this.#left, chunk]);
    for (;;) {
      const end = this.#left.indexOf('\r\n');
      if (end < 0) return;
      const line = this.#left.subarray(0, end).toString('latin1');
      const size = /^H?MSG .* (\d+)$/.exec(line)?.[1];
      const all = end + 2 + (size === undefined ? 0 : Number(size) + 2);
      if (this.#left.length < all) return;
      const body = this.#left.subarray(end + 2, all - 2);
      this.#left = this.#left.subarray(all);
      this.#take(line, body);
    }
  }

  #take(line: string, body: Buffer): void {
    const [verb = '', ...words] = line.split(' ');
    if (verb === 'PING') this.line('PONG');
    else if (verb === 'PONG') this.#pongs.shift()?.();
    else if (verb === 'INFO') this.info = JSON.parse(line.slice(5)) as Record<string, unknown>;
    else if (verb === '-ERR') this.errors.push(line.slice(5).replace(/^'|'$/g, ''));
    else if (verb === 'MSG') {
      this.messages.push({
        subject: words[0] ?? '',
        reply: words.length === 4 ? words[2] : undefined,
        text: body.toString(),
      });
    } else if (verb === 'HMSG') {
      const reply = words.length === 5 ? words[2] : undefined;
      this.messages.push({ subject: words[0] ?? '', reply, text: body.toString() });
    }
  }
}
