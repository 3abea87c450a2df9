import type { Guarantee } from '../../../pure/contracts/index.ts';
import { escapeUntrusted } from '../../../pure/render/index.ts';
import type { OperatorClient } from '../../client/index.ts';
import { styles } from '../output.ts';
import { readGuardedLine, systemClock } from '../terminal/guarded-line.ts';
import { TerminalInput } from '../terminal/terminal-input.ts';

const waivable = ['apparmor', 'cgroup-limits'] as const;
type Waivable = (typeof waivable)[number];

/**
 * What this host lacks, and, where all of it can be waived, a question for each: only its full name, written out, gives a layer up
 * (R24). True when all were given up and the run may be tried again.
 */
export async function explainUnfitHost(client: OperatorClient): Promise<boolean> {
  const { guarantees } = await client.call('host', {});
  const missing = guarantees.filter((guarantee) => guarantee.state === 'missing');
  const { yellow } = styles(process.stderr);
  for (const { title, detail } of missing) {
    write(`${yellow('missing')} ${escapeUntrusted(title, 100)}: ${escapeUntrusted(detail, 300)}\n`);
  }
  const names = missing.map(nameOf);
  if (names.length === 0 || !names.every((name) => name !== null)) return false;
  write('To do without, which weakens every later run, is said at each, and is written down:\n');
  for (const name of names) {
    if (!process.stdin.isTTY) write(`  glovebox doctor --waive ${name}\n`);
    else if (await asked(name)) await client.call('waive', { body: { name, waived: true } });
    else return false;
  }
  return process.stdin.isTTY;
}

const nameOf = ({ id, waivable: may }: Guarantee): Waivable | null =>
  (may && waivable.find((name) => name === id)) || null;

async function asked(name: Waivable): Promise<boolean> {
  write(`write ${name} to give that layer up on this host, anything else to stop: `);
  const gone = new AbortController();
  const input = new TerminalInput(process.stdin, () => gone.abort());
  try {
    const answer = await readGuardedLine({ input, clock: systemClock, write }, gone.signal);
    return answer.kind === 'entered' && answer.text === name;
  } finally {
    input.restore();
    write('\n');
  }
}

const write = (text: string): void => void process.stderr.write(text.replaceAll('\n', '\r\n'));
