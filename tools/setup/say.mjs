const terminal =
  process.stderr.isTTY && process.env['NO_COLOR'] === undefined && process.env['TERM'] !== 'dumb';

/** @param {string} code @param {string} text */
const colour = (code, text) => (terminal ? `\x1b[${code}m${text}\x1b[0m` : text);

/** One line of progress on stderr: stdout belongs to the command that the set-up precedes. @param {string} text */
export function say(text) {
  process.stderr.write(`${colour('36', 'glovebox:')} ${text}\n`);
}

/** What is missing, why it is needed and what to do, without a stack trace. */
export class SetupError extends Error {
  /** @param {string} what @param {string} [remedy] */
  constructor(what, remedy) {
    super(remedy === undefined ? what : `${what}\n  ${remedy}`);
    this.name = 'SetupError';
  }
}

/** @param {unknown} error */
export function sayError(error) {
  const known = error instanceof SetupError;
  const text = known
    ? error.message
    : error instanceof Error
      ? (error.stack ?? error.message)
      : String(error);
  process.stderr.write(`${colour('31', 'glovebox: set-up failed:')} ${text}\n`);
}

/**
 * Says that a long step is still at work, so that a quiet compiler does not look like a hang.
 * @template T @param {string} what @param {() => Promise<T>} work @returns {Promise<T>}
 */
export async function withProgress(what, work) {
  const began = Date.now();
  const seconds = () => Math.round((Date.now() - began) / 1000);
  const tick = setInterval(() => say(`  ${what}: still at work (${seconds()} s)`), 20_000);
  try {
    const result = await work();
    say(`  ${what}: done (${seconds()} s)`);
    return result;
  } finally {
    clearInterval(tick);
  }
}
