import type { SerializeAddon } from '@xterm/addon-serialize';
import type { Terminal } from '@xterm/headless';
import { limits } from '../../../pure/contracts/index.ts';
import { TerminalFilter } from '../../../pure/render/index.ts';
import type { WindowSize } from '../../link/index.ts';
import { ScreenText } from './screen-text.ts';

type Step = { readonly type: 'bytes'; readonly bytes: Buffer } | ({ readonly type: 'resize' } & WindowSize);

interface Emulator {
  readonly terminal: Terminal;
  readonly serialize: SerializeAddon;
}

/**
 * What a terminal that had been there from the start would show now (R47): for who attaches later, and after a question. What
 * the command wrote passes the same filter as on its way to a person, so that nothing else reaches the emulator, and its answers
 * to queries go nowhere. The emulator is loaded when somebody first needs it, or when more was written than is kept till then.
 */
export class Screen {
  readonly #onError: (error: unknown) => void;
  readonly #filter = new TerminalFilter();
  readonly #text = new ScreenText();
  readonly #first: WindowSize;
  #size: WindowSize;
  /** Until the emulator is there. */
  #early: Step[] = [];
  #earlyBytes = 0;
  #loading: Promise<Emulator> | undefined;
  #emulator: Emulator | undefined;
  #unread = 0;
  #relieved: (() => void)[] = [];
  #touched = false;

  constructor(size: WindowSize, onError: (error: unknown) => void) {
    this.#first = size;
    this.#size = size;
    this.#onError = onError;
  }

  /** Whether anything was written at all. */
  get touched(): boolean {
    return this.#touched;
  }

  push(chunk: Buffer): void {
    this.#touched = true;
    const bytes = Buffer.from(this.#filter.push(chunk));
    if (bytes.length > 0) this.#do({ type: 'bytes', bytes });
  }

  resize(size: WindowSize): void {
    this.#size = size;
    this.#do({ type: 'resize', ...size });
  }

  /** More waits to be read than should: resolves when it was. Undefined: all is well. */
  behind(): Promise<void> | undefined {
    if (this.#unread + this.#earlyBytes <= limits.screenUnread.value) return undefined;
    return new Promise((resolve) => this.#relieved.push(resolve));
  }

  /** What puts a blank terminal in the state of now; with `history`, what has scrolled away comes first. */
  async picture(history: boolean): Promise<Buffer> {
    const { terminal, serialize } = await this.#load();
    return new Promise((resolve) => {
      // Called when all before it was read, and before anything after it is.
      terminal.write('', () => {
        const drawn = serialize.serialize({ scrollback: history ? historyLines(this.#size.cols) : 0 });
        resolve(Buffer.from(drawn + this.#filter.modesAgain()));
      });
    });
  }

  #do(step: Step): void {
    if (this.#emulator !== undefined) return this.#feed(this.#emulator, step);
    this.#early.push(step);
    if (step.type !== 'bytes') return;
    this.#earlyBytes += step.bytes.length;
    if (this.#earlyBytes > limits.screenEarly.value) this.#load().catch(this.#onError);
  }

  #feed({ terminal }: Emulator, step: Step): void {
    if (step.type === 'resize') {
      // In its place among what was written.
      terminal.write('', () => terminal.resize(step.cols, step.rows));
      return;
    }
    this.#unread += step.bytes.length;
    terminal.write(this.#text.of(step.bytes), () => {
      this.#unread -= step.bytes.length;
      if (this.#unread <= limits.screenUnread.value) for (const tell of this.#relieved.splice(0)) tell();
    });
  }

  #load(): Promise<Emulator> {
    this.#loading ??= this.#open();
    return this.#loading;
  }

  async #open(): Promise<Emulator> {
    const [headless, addon] = await Promise.all([
      import('@xterm/headless').then(exportsOf),
      import('@xterm/addon-serialize').then(exportsOf),
    ]);
    const terminal = new headless.Terminal({
      cols: this.#first.cols,
      rows: this.#first.rows,
      scrollback: historyLines(limits.screenColumns.value),
      allowProposedApi: true,
      logLevel: 'off',
    });
    const serialize = new addon.SerializeAddon();
    terminal.loadAddon(serialize);
    const emulator = { terminal, serialize };
    this.#emulator = emulator;
    this.#earlyBytes = 0;
    for (const step of this.#early.splice(0)) this.#feed(emulator, step);
    return emulator;
  }
}

/** As many lines as the cells that are kept allow, and no more than a person scrolls through. */
const historyLines = (cols: number): number =>
  Math.max(0, Math.min(limits.screenHistory.value, Math.floor(limits.screenCells.value / cols)));

/** CommonJS: everything is below `default` for Node, and beside it for a bundler. */
const exportsOf = <T extends object>(loaded: T): T =>
  'default' in loaded && typeof loaded.default === 'object' && loaded.default !== null
    ? (loaded.default as T)
    : loaded;
