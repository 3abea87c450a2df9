import { GloveboxError, type Guarantee, type HostReport } from '../../../pure/contracts/index.ts';
import { escapeUntrusted } from '../../../pure/render/index.ts';
import { connect, withDaemon } from '../connect.ts';
import { printJson, styles } from '../output.ts';

const waivable = ['apparmor', 'cgroup-limits'] as const;
type Waivable = (typeof waivable)[number];
const EX_CONFIG = 78;

function waiver(value: unknown, option: string): Waivable | undefined {
  if (value === undefined) return undefined;
  const found = waivable.find((name) => name === value);
  if (found !== undefined) return found;
  throw new GloveboxError('GB_USAGE', {
    detail: `${option} ${typeof value === 'string' ? value : ''}: only these can be waived, by full name: ${waivable.join(', ')}`,
    hint: 'The rest of the floor has no off switch.',
  });
}

export async function doctor(options: Record<string, unknown>): Promise<number> {
  const waive = waiver(options['waive'], '--waive');
  const unwaive = waiver(options['unwaive'], '--unwaive');
  const connection = connect();
  const { client } = connection;
  const report = await withDaemon(connection, async () => {
    let changed: HostReport | undefined;
    for (const [name, waived] of [
      [waive, true],
      [unwaive, false],
    ] as const)
      if (name !== undefined) changed = await client.call('waive', { body: { name, waived } });
    return changed ?? (await client.call('host', {}));
  });
  if (options['json'] === true) printJson(report);
  else process.stdout.write(reportText(report));
  return report.fit ? 0 : EX_CONFIG;
}

function reportText(report: HostReport): string {
  const { bold, green, red, yellow, dim } = styles(process.stdout);
  const words: Readonly<Record<Guarantee['state'], string>> = {
    held: green('held   '),
    missing: red('MISSING'),
    waived: yellow('waived '),
    'absent-ok': dim('absent '),
  };
  const longest = Math.max(0, ...Object.keys(report.facts).map((name) => name.length));
  const facts = Object.entries(report.facts).map(
    ([name, value]) => `  ${escapeUntrusted(name, 40).padEnd(longest)}  ${escapeUntrusted(value, 300)}\n`,
  );
  const guarantees = report.guarantees.map((guarantee) => {
    const todo =
      guarantee.state === 'missing' && guarantee.todo !== null
        ? `           ${escapeUntrusted(guarantee.todo, 300)}\n`
        : '';
    return `  ${words[guarantee.state]}  ${guarantee.title}: ${escapeUntrusted(guarantee.detail, 300)}\n${todo}`;
  });
  const end = report.fit
    ? green('This host holds every guarantee that is not waived.')
    : red('This host is not fit: `glovebox run` refuses.');
  return `${bold('This host')}\n${facts.join('')}\n${bold('What follows')}\n${guarantees.join('')}\n${end}\n`;
}
