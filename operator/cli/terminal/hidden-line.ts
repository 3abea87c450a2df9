import { GloveboxError, limits } from '../../../pure/contracts/index.ts';
import { TerminalInput } from './terminal-input.ts';

/** One line typed at the terminal without echo. The prompt is on stderr, so that stdout stays the command's. */
export function readHiddenLine(prompt: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const bytes: number[] = [];
    const finish = (end: () => void): void => {
      input.restore();
      process.stderr.write('\n');
      end();
    };
    const cancelled = (): void =>
      finish(() =>
        reject(new GloveboxError('GB_USAGE', { detail: 'cancelled', hint: 'Nothing was stored.' })),
      );
    const input = new TerminalInput(process.stdin, cancelled);
    process.once('exit', () => input.restore());
    input.claim((chunk) => {
      for (const byte of chunk) {
        if (byte === 0x0d || byte === 0x0a)
          return finish(() => resolve(Buffer.from(bytes).toString('utf8').trim()));
        if (byte === 0x03 || byte === 0x04) return cancelled();
        if (byte === 0x7f || byte === 0x08) bytes.pop();
        else if (byte === 0x15) bytes.length = 0;
        else if (byte >= 0x20 && bytes.length < limits.secretValue.value) bytes.push(byte);
      }
    }, true);
    // Only now, with the echo off: what is typed at the prompt must not be seen.
    process.stderr.write(prompt);
  });
}
