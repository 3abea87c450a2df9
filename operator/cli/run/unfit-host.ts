import { escapeUntrusted } from '../../../pure/render/index.ts';
import type { OperatorClient } from '../../client/index.ts';
import { styles } from '../output.ts';

/** What this host lacks, and, where all of it can be waived, the full names that do it (R24). Nothing is waived here. */
export async function explainUnfitHost(client: OperatorClient): Promise<void> {
  const { guarantees } = await client.call('host', {});
  const missing = guarantees.filter((guarantee) => guarantee.state === 'missing');
  const { yellow } = styles(process.stderr);
  for (const { title, detail } of missing)
    process.stderr.write(
      `${yellow('missing')} ${escapeUntrusted(title, 100)}: ${escapeUntrusted(detail, 300)}\n`,
    );
  if (missing.length === 0 || !missing.every((guarantee) => guarantee.waivable)) return;
  process.stderr.write('To do without, which weakens every later run and is written down:\n');
  for (const { id } of missing)
    process.stderr.write(`  glovebox doctor --waive ${escapeUntrusted(id, 40)}\n`);
}
