// Builds crane, which only `--image` needs, and notes where it is beside the other tools.
import { readFileSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { found } from './paths.mjs';
import { sayError } from './say.mjs';
import { buildCrane } from './tools.mjs';

try {
  const crane = await buildCrane();
  const file = join(found, 'tools.json');
  const temporary = `${file}.${process.pid}.new`;
  writeFileSync(
    temporary,
    `${JSON.stringify({ ...JSON.parse(readFileSync(file, 'utf8')), crane }, null, 2)}\n`,
  );
  renameSync(temporary, file);
} catch (error) {
  sayError(error);
  process.exitCode = 1;
}
