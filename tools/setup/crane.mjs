// Builds crane, which only `--image` needs, and notes where it is beside the other tools.
import { sayError } from './say.mjs';
import { noteCrane } from './tools.mjs';

try {
  await noteCrane();
} catch (error) {
  sayError(error);
  process.exitCode = 1;
}
