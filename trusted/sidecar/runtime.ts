import { randomBytes } from 'node:crypto';
import { encodeId } from '../../pure/contracts/index.ts';

/** Time, randomness and the log, passed in. */
export interface Runtime {
  /** Milliseconds since the epoch. */
  now(): number;
  /** 26 characters, unguessable. */
  newId(): string;
  delay(ms: number): Promise<void>;
  /** One line, of our own words only. */
  log(line: string): void;
}

export const systemRuntime: Runtime = {
  now: () => Date.now(),
  newId: () => encodeId(randomBytes(16)),
  delay: (ms) =>
    new Promise((resolve) => {
      setTimeout(resolve, ms).unref();
    }),
  log: (line) =>
    void process.stderr.write(`${line.replace(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/gu, ' ').slice(0, 2000)}\n`),
};
