const inspectCustom = Symbol.for('nodejs.util.inspect.custom');

/** A secret whose string, JSON and inspect forms are redacted; `reveal` is the one way to the value (R27). */
export class Secret {
  readonly #value: string;
  constructor(value: string) {
    this.#value = value;
  }
  reveal(): string {
    return this.#value;
  }
  toString(): string {
    return '[secret]';
  }
  toJSON(): string {
    return '[secret]';
  }
  [inspectCustom](): string {
    return '[secret]';
  }
}
