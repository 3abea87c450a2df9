import { readFile, stat } from 'node:fs/promises';
import { GloveboxError, limits, type PolicyDocument } from '../../../pure/contracts/index.ts';
import { certificatesIn } from '../../../pure/secrets/index.ts';

/** The private authorities that egress rules name, read by the one process that may read the person's files. */
export async function readAuthorities(document: PolicyDocument): Promise<Record<string, string>> {
  const found: Record<string, string> = {};
  for (const { caFile } of document.egress) {
    if (caFile === undefined || found[caFile] !== undefined) continue;
    const refuse = (detail: string): GloveboxError =>
      new GloveboxError('GB_INPUT_INVALID', { what: `The authority file ${caFile}`, detail });
    const size = await stat(caFile).then(
      (file) => file.size,
      () => {
        throw refuse('it cannot be read');
      },
    );
    if (size > limits.policyFile.value) throw refuse('it is too large');
    const certificates = certificatesIn(await readFile(caFile, 'utf8'));
    if (certificates === null) throw refuse('it holds no certificate');
    found[caFile] = certificates;
  }
  return found;
}
