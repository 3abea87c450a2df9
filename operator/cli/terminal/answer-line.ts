const longest = 32;

export type LineEvent =
  | { readonly kind: 'typed'; readonly echo: string }
  | { readonly kind: 'entered'; readonly text: string }
  | { readonly kind: 'interrupted' };

/** One line typed in raw mode. What a terminal sends by itself (reports, pastes, mouse) begins with ESC and is thrown away whole. */
export class AnswerLine {
  #text = '';

  /** The line's first end within the chunk, or the characters to echo. What follows an end is thrown away. */
  take(chunk: Uint8Array): LineEvent {
    if (chunk.includes(0x1b)) {
      const echo = '\b \b'.repeat(this.#text.length);
      this.#text = '';
      return { kind: 'typed', echo };
    }
    let echo = '';
    for (const byte of chunk) {
      if (byte === 0x0d || byte === 0x0a) return { kind: 'entered', text: this.#text.trim() };
      if (byte === 0x03 || byte === 0x04) return { kind: 'interrupted' };
      if (byte === 0x7f || byte === 0x08) {
        if (this.#text !== '') echo += '\b \b';
        this.#text = this.#text.slice(0, -1);
      } else if (byte >= 0x20 && byte < 0x7f && this.#text.length < longest) {
        this.#text += String.fromCharCode(byte);
        echo += String.fromCharCode(byte);
      }
    }
    return { kind: 'typed', echo };
  }
}
