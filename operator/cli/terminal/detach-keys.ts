const prefix = 0x1d;
const leave = 'd'.charCodeAt(0);

/** Ctrl-] d leaves a session; Ctrl-] twice sends one; before anything else it is sent with it. */
export class DetachKeys {
  #pending = false;

  /** The bytes to send on. `detach` is called where the keys were typed; what follows them is dropped. */
  take(chunk: Uint8Array, detach: () => void): Buffer {
    const out: number[] = [];
    for (const byte of chunk) {
      if (this.#pending) {
        this.#pending = false;
        if (byte === leave) {
          detach();
          break;
        }
        out.push(prefix);
        if (byte === prefix) continue;
      } else if (byte === prefix) {
        this.#pending = true;
        continue;
      }
      out.push(byte);
    }
    return Buffer.from(out);
  }
}
