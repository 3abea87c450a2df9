/**
 * Which escape sequences of an agent's may reach a person's terminal (R47): a list of what is allowed. Left out on purpose is all
 * that makes a terminal answer (DA, DSR, DECRQSS, DECRQM, XTVERSION, colour and title reports: the answer would be typed into the
 * session, or into the person's shell), sets the clipboard (OSC 52, 5522, 1337), reads or prints the screen (DECRQCRA, MC), moves
 * the window, changes colours so that later words cannot be seen (OSC 4, 10-19), locks the keyboard or leaves UTF-8.
 * Sources: XTerm Control Sequences (patch 397), ECMA-48, kitty and iTerm2 protocol documents.
 */

/** Finals of CSI sequences without prefix or intermediate: cursor, erase, edit, scroll, tabs, SGR, margins, save and restore. */
const plainFinals = new Set('@ABCDEFGHIJKLMPSXZ`abdefgmrsu');
/** Modes of `CSI h` and `l`: insert, line feed. Not 2, which locks the keyboard. */
const ansiModes = new Set(['4', '20']);
/**
 * DEC private modes: cursor keys, origin, wrap, blink, cursor, reverse wrap, alternate screens, mouse, focus, bracketed paste,
 * synchronised output, grapheme clusters. Not 5 (reverse video) or 3 (132 columns), which change what else is on the screen.
 */
export const alternateScreens: readonly string[] = ['47', '1047', '1049'];
const privateModes = new Set([
  ...['1', '6', '7', '12', '25', '45', '66', '1000', '1002', '1003', '1004', '1005', '1006', '1007', '1015'],
  ...['1016', '1034', '1036', '1039', '1048', '2004', '2026', '2027', ...alternateScreens],
]);
/** Sequences that end an ESC: save and restore the cursor, keypad modes, index, next line, tab stop, reverse index, full reset. */
const escFinals = new Set('78=>DEHMc');
const charsetIntermediates = new Set('()*+');
const charsets = new Set('0AB');

export type Verdict =
  | { readonly kind: 'drop' }
  | { readonly kind: 'keep' }
  /** DEC private modes, of which only these are kept. */
  | { readonly kind: 'modes'; readonly modes: readonly string[]; readonly set: boolean };

const drop: Verdict = { kind: 'drop' };
const keep: Verdict = { kind: 'keep' };
const keepIf = (allowed: boolean): Verdict => (allowed ? keep : drop);

/** `body`: what stands between CSI and its final. */
export function judgeCsi(body: string, final: string): Verdict {
  // No screen has so many lines, columns or colours; some emulators count them one by one.
  if (/[0-9]{5}/.test(body)) return drop;
  // SGR is most of what a program writes.
  if (final === 'm' && /^[0-9;:]*$/.test(body)) return keep;
  const match = /^([<=>?]?)([0-9;:]*)([ -/]*)$/.exec(body);
  if (match === null) return drop;
  const [, prefix = '', parameters = '', intermediate = ''] = match;
  if (intermediate !== '')
    return keepIf(
      prefix === '' && ((intermediate === ' ' && final === 'q') || (intermediate === '!' && final === 'p')),
    );
  switch (prefix) {
    case '':
      return judgePlain(parameters, final);
    case '?':
      if (final === 'J' || final === 'K') return keep;
      if (final !== 'h' && final !== 'l') return drop;
      return {
        kind: 'modes',
        modes: parameters.split(';').filter((mode) => privateModes.has(mode)),
        set: final === 'h',
      };
    case '>':
      return keepIf(final === 'm' || final === 'u');
    default:
      return keepIf(final === 'u');
  }
}

function judgePlain(parameters: string, final: string): Verdict {
  if (final === 'h' || final === 'l')
    return keepIf(parameters.split(';').every((mode) => ansiModes.has(mode)));
  // With more than one parameter it starts highlight tracking of the mouse, which waits for the program.
  if (final === 'T') return keepIf(!parameters.includes(';'));
  // Push and pop of the title; every other window operation moves the window or reports.
  if (final === 't') return keepIf(/^2[23](;[0-2])?$/.test(parameters));
  return keepIf(plainFinals.has(final));
}

export const judgeEsc = (intermediates: string, final: string): Verdict =>
  keepIf(
    intermediates === ''
      ? escFinals.has(final)
      : charsetIntermediates.has(intermediates) && charsets.has(final),
  );

/**
 * Titles (0, 1, 2), links (8) and progress (9;4). The payload is already known to be text without controls. Links lead to the web
 * or to a mail: another scheme may start a program of the host's with what the agent wrote, and `file:` names a file of the host's.
 */
export const judgeOsc = (payload: string): Verdict =>
  keepIf(/^(?:[012];|8;[^;]*;(?:$|https?:\/\/|mailto:)|9;4;[0-9;]*$)/i.test(payload));
