import type { Duplex } from 'node:stream';
import type { SpiffeId, WorkloadCaller } from '../../pure/contracts/index.ts';
import type { Clock } from './clock.ts';

/** Ends a connection at the end of the peer's certificate, unless it closes before. */
export function endWithCertificate(socket: Duplex, notAfter: Date, clock: Clock): () => void {
  const left = notAfter.getTime() - clock.now();
  if (left <= 0) {
    socket.destroy();
    return () => undefined;
  }
  const cancel = clock.schedule(left, () => socket.destroy());
  socket.once('close', cancel);
  return () => {
    cancel();
    socket.off('close', cancel);
  };
}

/** Which open connection is whose, so that a revocation ends them at once [R4]. */
export class ConnectionRegistry {
  readonly #clock: Clock;
  readonly #open = new Map<string, { readonly id: SpiffeId; readonly sockets: Set<Duplex> }>();
  readonly #revoked: Set<string>;
  /** How each connection leaves the certificate that it is held under. */
  readonly #leave = new WeakMap<Duplex, () => void>();

  /** `revoked`: serials that were revoked before this process started and have not ended. */
  constructor(clock: Clock, revoked: Iterable<string> = []) {
    this.#clock = clock;
    this.#revoked = new Set(revoked);
  }

  /**
   * Takes a connection in, until its certificate ends or is revoked. False, and the connection ended, if it is. One that is in
   * already goes on under the renewed certificate, which its peer has to have proven (continuity.ts).
   */
  admit(caller: WorkloadCaller, socket: Duplex): boolean {
    if (this.#revoked.has(caller.serial)) {
      socket.destroy();
      return false;
    }
    this.#leave.get(socket)?.();
    const keep = endWithCertificate(socket, caller.notAfter, this.#clock);
    if (socket.destroyed) return false;
    const entry = this.#open.get(caller.serial) ?? { id: caller.identity.id, sockets: new Set<Duplex>() };
    entry.sockets.add(socket);
    this.#open.set(caller.serial, entry);
    const leave = (): void => {
      keep();
      socket.off('close', leave);
      this.#leave.delete(socket);
      entry.sockets.delete(socket);
      if (entry.sockets.size === 0 && this.#open.get(caller.serial) === entry)
        this.#open.delete(caller.serial);
    };
    this.#leave.set(socket, leave);
    socket.once('close', leave);
    return true;
  }

  /** Ends the connections of these serials now, and refuses them from here on. */
  revoke(serials: Iterable<string>): void {
    for (const serial of serials) {
      this.#revoked.add(serial);
      for (const socket of this.#open.get(serial)?.sockets ?? []) socket.destroy();
    }
  }

  isRevoked(serial: string): boolean {
    return this.#revoked.has(serial);
  }

  /** Open connections of one identity. */
  count(id: SpiffeId): number {
    let count = 0;
    for (const entry of this.#open.values()) if (entry.id === id) count += entry.sockets.size;
    return count;
  }
}
