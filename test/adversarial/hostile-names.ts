import { createSocket, type Socket } from 'node:dgram';
import { randomInt } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { World } from '../e2e/world.ts';

/** A resolver of our own, which knows what was asked: a name that is looked up has left the machine. */
export class Resolver {
  readonly address = `127.${String(randomInt(2, 250))}.${String(randomInt(2, 250))}.${String(randomInt(2, 250))}`;
  readonly asked: string[] = [];
  readonly #names: Readonly<Record<string, string>>;
  readonly #socket: Socket = createSocket('udp4');

  private constructor(names: Readonly<Record<string, string>>) {
    this.#names = names;
    this.#socket.on('message', (query, from) => {
      const answer = this.#answer(query);
      this.#socket.send(answer, from.port, from.address);
    });
  }

  static async start(names: Readonly<Record<string, string>>): Promise<Resolver> {
    const resolver = new Resolver(names);
    await new Promise<void>((resolve) => resolver.#socket.bind(53, resolver.address, resolve));
    return resolver;
  }

  close(): void {
    this.#socket.close();
  }

  #answer(query: Buffer): Buffer {
    const labels: string[] = [];
    let at = 12;
    for (let length = query[at] ?? 0; length > 0; length = query[at] ?? 0) {
      labels.push(query.toString('latin1', at + 1, at + 1 + length));
      at += length + 1;
    }
    const name = labels.join('.').toLowerCase();
    this.asked.push(name);
    const type = query.readUInt16BE(at + 1);
    const known = this.#names[name];
    const address = type === 1 ? known : undefined;
    const head = Buffer.from(query.subarray(0, 12));
    head.writeUInt16BE(known === undefined ? 0x8183 : 0x8180, 2);
    head.writeUInt16BE(1, 4);
    head.writeUInt16BE(address === undefined ? 0 : 1, 6);
    head.writeUInt32BE(0, 8);
    const question = query.subarray(12, at + 5);
    if (address === undefined) return Buffer.concat([head, question]);
    const record = Buffer.from([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 0, 0, 4, ...address.split('.').map(Number)]);
    return Buffer.concat([head, question, record]);
  }
}

/** A person's machine whose only resolver is ours. Its daemon inherits the mount namespace of the first command. */
export class WatchedWorld extends World {
  readonly #files: string;

  constructor(resolver: Resolver) {
    super();
    this.#files = join(this.folder, 'names');
    writeFileSync(`${this.#files}.resolv`, `nameserver ${resolver.address}\noptions timeout:2 attempts:1\n`);
    writeFileSync(`${this.#files}.hosts`, '127.0.0.1 localhost\n');
    writeFileSync(`${this.#files}.nsswitch`, 'passwd: files\ngroup: files\nhosts: files dns\n');
  }

  override command(args: readonly string[]): [string, ...string[]] {
    const script =
      'mount --bind -- "$1.resolv" /etc/resolv.conf; mount --bind -- "$1.hosts" /etc/hosts; mount --bind -- "$1.nsswitch" /etc/nsswitch.conf; shift; exec "$@"';
    const within = [
      'unshare',
      '--mount',
      '--propagation',
      'private',
      '--',
      'sh',
      '-ec',
      script,
      'sh',
    ] as const;
    return [...within, this.#files, ...super.command(args)];
  }
}
