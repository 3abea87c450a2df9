import { spawn } from 'node:child_process';
import { until } from './until.ts';
import type { World } from './world.ts';

export interface Terminal {
  /** What the terminal showed so far. */
  screen(): string;
  type(text: string): void;
  /** Until the terminal has shown this, after `from`. */
  shows(what: RegExp, from?: number): Promise<RegExpExecArray>;
  /** Types again and again until it has shown this: input right after a question is thrown away (R47). */
  typeUntil(text: string, what: RegExp, from?: number): Promise<RegExpExecArray>;
  /** The exit code of what ran on it. */
  readonly finished: Promise<number | null>;
}

const quoted = (word: string): string => `'${word.replaceAll("'", `'\\''`)}'`;

/** Runs the launcher on a pseudo-terminal of 24 by 80, as a person has it; `after` is shell text behind the command. */
export function onTerminal(world: World, args: readonly string[], after = ''): Terminal {
  const [program, ...rest] = world.command(args);
  const command = `stty rows 24 cols 80; ${[program, ...rest].map(quoted).join(' ')}${after}`;
  const child = spawn('script', ['-qefc', command, '/dev/null'], {
    cwd: world.project,
    env: { ...world.env, SHELL: '/bin/sh' },
    stdio: 'pipe',
  });
  let screen = '';
  for (const stream of [child.stdout, child.stderr])
    stream.setEncoding('utf8').on('data', (text: string) => (screen += text));
  let over = false;
  const finished = new Promise<number | null>((resolve) =>
    child.on('close', (code) => {
      over = true;
      resolve(code);
    }),
  );
  const found = (what: RegExp, from: number): RegExpExecArray | undefined =>
    what.exec(screen.slice(from)) ?? undefined;
  const shows = (what: RegExp, from = 0): Promise<RegExpExecArray> =>
    until(
      `the terminal shows ${String(what)}`,
      () => {
        const shown = found(what, from);
        if (shown === undefined && over)
          throw new Error(`the command ended before ${String(what)} was shown`);
        return shown;
      },
      180_000,
    ).catch((error: unknown) => {
      throw new Error(`${String(error)}; it shows: ${JSON.stringify(screen.slice(-3000))}`);
    });
  return {
    finished,
    screen: () => screen,
    type: (text) => void child.stdin.write(text),
    shows,
    typeUntil: async (text, what, from = 0) => {
      const typing = setInterval(() => child.stdin.write(text), 1500);
      try {
        return await shows(what, from);
      } finally {
        clearInterval(typing);
      }
    },
  };
}
