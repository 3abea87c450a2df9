import { limits } from '../../../pure/contracts/index.ts';

/** Letters that are drawn over the one before: a cell keeps all of them, so that one cell could hold as much as memory does. */
const overdrawn = /[\p{M}\p{Cf}]/u;
/** Links and titles: kept in no cell, and not worth keeping elsewhere. A filtered text has no other string, and only whole ones. */
const strings = new RegExp('\\u001b\\][^\\u0007\\u001b]*(?:\\u0007|\\u001b\\\\)', 'g');

/** Filtered output as text for an emulator, without what would make it hold more than its cells. */
export class ScreenText {
  readonly #decoder = new TextDecoder('utf-8');
  #run = 0;

  of(bytes: Uint8Array): string {
    const text = this.#decoder.decode(bytes, { stream: true }).replace(strings, '');
    if (this.#run === 0 && !overdrawn.test(text)) return text;
    let kept = '';
    for (const letter of text) {
      this.#run = overdrawn.test(letter) ? this.#run + 1 : 0;
      if (this.#run <= limits.screenMarks.value) kept += letter;
    }
    return kept;
  }
}
