import { alternateScreens, judgeCsi, judgeEsc, judgeOsc, type Verdict } from './terminal-sequences.ts';
import { ByteBuffer } from './byte-buffer.ts';

const ESC = 0x1b;
const BEL = 0x07;
const CAN = 0x18;
const SUB = 0x1a;
/** BEL, BS, HT, LF, VT, FF, CR, SO, SI. Not ENQ, which makes some terminals answer, and not XON or XOFF. */
const keptControls = new Set([7, 8, 9, 10, 11, 12, 13, 14, 15]);
/** A longer sequence is dropped, to its end. */
const longestCsi = 256;
const longestOsc = 4096;
const replacement = [0xef, 0xbf, 0xbd];
/** DCS, SOS, PM, APC and the title string of screen: queries, pass-through, graphics that read files. */
const droppedStrings = new Set([...'PX^_k'].map((char) => char.charCodeAt(0)));

type State = 'ground' | 'esc' | 'csi' | 'osc' | 'dropped-string';

/**
 * An agent's output on its way to a person's terminal, a chunk at a time: text and ordinary sequences pass unchanged, all others
 * vanish whole (R47). A sequence is written only once its end was seen, so no split can let one through; the output is always
 * valid UTF-8, so no byte of it is a C1 control for a terminal that reads it so.
 */
export class TerminalFilter {
  #state: State = 'ground';
  readonly #held = new ByteBuffer();
  #tooLong = false;
  /** Inside a string, an ESC was seen: a backslash ends the string, anything else cuts it short. */
  #stringEsc = false;
  #touched = false;
  readonly #modes = new Map<string, boolean>();
  readonly #utf8 = { bytes: [] as number[], missing: 0, low: 0x80, high: 0xbf };

  push(chunk: Uint8Array): Uint8Array {
    const out = new ByteBuffer(chunk.length + 64);
    let index = 0;
    while (index < chunk.length) {
      if (this.#state === 'ground' && this.#utf8.missing === 0) {
        const end = plainRun(chunk, index);
        out.append(chunk.subarray(index, end));
        index = end;
        if (index >= chunk.length) break;
      }
      this.#take(chunk[index] ?? 0, out);
      index += 1;
    }
    return out.bytes();
  }

  /** What is left when the output ends: a sequence or letter that was cut short never appears. */
  end(): Uint8Array {
    this.#state = 'ground';
    const cut = this.#utf8.missing > 0;
    this.#utf8.missing = 0;
    this.#utf8.bytes = [];
    return Uint8Array.from(cut ? replacement : []);
  }

  /** Whether any escape sequence came: until then the terminal is as it was. */
  get touched(): boolean {
    return this.#touched;
  }

  /** Whether the output has put the terminal on its alternate screen. */
  get alternate(): boolean {
    return alternateScreens.some((mode) => this.#modes.get(mode) === true);
  }

  /** The modes that the output has set, to set them again after a question reset the terminal. */
  modesAgain(): string {
    return [...this.#modes].map(([mode, set]) => `\u001b[?${mode}${set ? 'h' : 'l'}`).join('');
  }

  #take(byte: number, out: ByteBuffer): void {
    switch (this.#state) {
      case 'ground':
        return this.#takeGround(byte, out);
      case 'esc':
        return this.#takeEsc(byte, out);
      case 'csi':
        return this.#takeCsi(byte, out);
      case 'osc':
      case 'dropped-string':
        return this.#takeString(byte, out);
    }
  }

  #enter(state: State): void {
    this.#state = state;
    this.#held.clear();
    this.#tooLong = false;
    this.#stringEsc = false;
  }

  /** The sequence was cut short: nothing of it is written, and this byte is read afresh. */
  #abort(byte: number, out: ByteBuffer): void {
    this.#enter('ground');
    this.#takeGround(byte, out);
  }

  #hold(byte: number, longest: number): void {
    if (this.#held.length >= longest) this.#tooLong = true;
    else this.#held.push(byte);
  }

  #takeGround(byte: number, out: ByteBuffer): void {
    const letter = this.#utf8;
    if (letter.missing > 0) {
      if (byte >= letter.low && byte <= letter.high) return this.#continueLetter(byte, out);
      letter.missing = 0;
      out.append(replacement);
    }
    if (byte === ESC) {
      this.#touched = true;
      return this.#enter('esc');
    }
    if (byte < 0x20 || byte === 0x7f) {
      if (keptControls.has(byte)) out.push(byte);
    } else if (byte < 0x80) out.push(byte);
    else this.#beginLetter(byte, out);
  }

  /** Well-formed UTF-8 as in table 3-7 of the Unicode Standard: overlong forms and surrogates are none. */
  #beginLetter(byte: number, out: ByteBuffer): void {
    const letter = this.#utf8;
    letter.low = 0x80;
    letter.high = 0xbf;
    if (byte >= 0xc2 && byte <= 0xdf) letter.missing = 1;
    else if (byte >= 0xe0 && byte <= 0xef) {
      letter.missing = 2;
      if (byte === 0xe0) letter.low = 0xa0;
      if (byte === 0xed) letter.high = 0x9f;
    } else if (byte >= 0xf0 && byte <= 0xf4) {
      letter.missing = 3;
      if (byte === 0xf0) letter.low = 0x90;
      if (byte === 0xf4) letter.high = 0x8f;
    } else return out.append(replacement);
    letter.bytes = [byte];
  }

  #continueLetter(byte: number, out: ByteBuffer): void {
    const letter = this.#utf8;
    letter.bytes.push(byte);
    letter.missing -= 1;
    letter.low = 0x80;
    letter.high = 0xbf;
    if (letter.missing > 0) return;
    // U+0080 to U+009F: a CSI, an OSC, a string terminator in one letter.
    const isC1 = letter.bytes[0] === 0xc2 && byte < 0xa0;
    if (!isC1 && !turnsText(letter.bytes)) out.append(letter.bytes);
  }

  #takeEsc(byte: number, out: ByteBuffer): void {
    if (byte === ESC) return this.#enter('esc');
    if (byte < 0x20 || byte > 0x7e) return this.#abort(byte, out);
    if (byte < 0x30) return this.#hold(byte, longestCsi);
    const final = String.fromCharCode(byte);
    if (this.#held.length === 0) {
      if (final === '[') return this.#enter('csi');
      if (final === ']') return this.#enter('osc');
      if (droppedStrings.has(byte)) return this.#enter('dropped-string');
    }
    const held = this.#held.text();
    if (judgeEsc(held, final).kind === 'keep') {
      out.append(ascii(`\u001b${held}${final}`));
      if (final === 'c') this.#modes.clear();
    }
    this.#enter('ground');
  }

  #takeCsi(byte: number, out: ByteBuffer): void {
    if (byte === ESC) return this.#enter('esc');
    if (byte < 0x20 || byte > 0x7e) return this.#abort(byte, out);
    if (byte < 0x40) return this.#hold(byte, longestCsi);
    if (!this.#tooLong) this.#write(judgeCsi(this.#held.text(), String.fromCharCode(byte)), byte, out);
    this.#enter('ground');
  }

  #write(verdict: Verdict, final: number, out: ByteBuffer): void {
    if (verdict.kind === 'keep') {
      out.push(ESC);
      out.push(0x5b);
      out.append(this.#held.bytes());
      return out.push(final);
    }
    if (verdict.kind === 'drop' || verdict.modes.length === 0) return;
    for (const mode of verdict.modes) this.#modes.set(mode, verdict.set);
    out.append(ascii(`\u001b[?${verdict.modes.join(';')}${verdict.set ? 'h' : 'l'}`));
  }

  #takeString(byte: number, out: ByteBuffer): void {
    if (this.#stringEsc) {
      if (byte === 0x5c) return this.#endString('\u001b\\', out);
      this.#enter('esc');
      return this.#takeEsc(byte, out);
    }
    if (byte === ESC) this.#stringEsc = true;
    else if (byte === CAN || byte === SUB) this.#enter('ground');
    else if (byte === BEL && this.#state === 'osc') this.#endString('\u0007', out);
    else if (this.#state === 'osc') this.#hold(byte, longestOsc);
  }

  #endString(terminator: string, out: ByteBuffer): void {
    const payload = this.#held.utf8();
    if (this.#state === 'osc' && !this.#tooLong && payload !== undefined) {
      // A control inside, a C1 string terminator above all, would end the string earlier for the terminal than for us.
      const text = !/\p{Cc}/u.test(payload);
      if (text && judgeOsc(payload).kind === 'keep') {
        out.append(ascii('\u001b]'));
        out.append(this.#held.bytes());
        out.append(ascii(terminator));
      }
    }
    this.#enter('ground');
  }
}

/**
 * The marks that turn the order of letters around, U+202A to U+202E and U+2066 to U+2069: a line that was written with them reads
 * otherwise than it is (CVE-2021-42574). Letters of all scripts pass, and are ordered by the terminal.
 */
const turnsText = ([first, second, third]: readonly number[]): boolean =>
  first === 0xe2 &&
  third !== undefined &&
  ((second === 0x80 && third >= 0xaa && third <= 0xae) ||
    (second === 0x81 && third >= 0xa6 && third <= 0xa9));

const ascii = (text: string): Uint8Array => Uint8Array.from(text, (char) => char.charCodeAt(0));

/** The end of the bytes from `start` on that are printable ASCII or a kept control: most of all output, copied at once. */
function plainRun(chunk: Uint8Array, start: number): number {
  let index = start;
  for (; index < chunk.length; index += 1) {
    const byte = chunk[index] ?? 0;
    if (byte > 0x7e || (byte < 0x20 && !keptControls.has(byte))) break;
  }
  return index;
}
