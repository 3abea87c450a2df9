import { parseArguments } from './program.ts';
import { reportFailure } from './failure.ts';

const argv = process.argv.slice(2);
const ownWords = argv.includes('--') ? argv.slice(0, argv.indexOf('--')) : argv;
const json = ownWords.includes('--json');

function stop(thrown: unknown): never {
  process.exit(reportFailure(thrown, json));
}
process.on('uncaughtException', stop);
process.on('unhandledRejection', stop);
// A reader that went away (`glovebox ps | head`) is no failure of ours.
for (const stream of [process.stdout, process.stderr])
  stream.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code !== 'EPIPE' && error.code !== 'EIO') stop(error);
  });

try {
  process.exit(await parseArguments(argv));
} catch (error) {
  stop(error);
}
