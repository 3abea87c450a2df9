import { setInterval } from 'node:timers';
import { z } from 'zod';
import { limits } from '../../../pure/contracts/index.ts';
import { EntryRefused } from '../../../pure/image/index.ts';
import { unpack } from './unpack.ts';

/** What the one who started this reads on stdout: one line of JSON. */
const order = z.object({
  root: z.string(),
  layers: z.array(z.object({ file: z.string(), digest: z.string() })),
  bytes: z.number(),
  entries: z.number(),
});

const say = (value: object): void => void process.stdout.write(`${JSON.stringify(value)}\n`);

// What an archive makes this process hold is its own choice: the library buffers some headers whole.
setInterval(() => {
  // In KiB, and asked of the kernel: there is no /proc here.
  if (process.resourceUsage().maxRSS * 1024 < limits.imageMemory.value) return;
  say({ refused: 'it takes more memory to unpack than an image may' });
  process.exit(1);
}, 50).unref();

process.umask(0o022);
try {
  const { root, layers, ...bounds } = order.parse(JSON.parse(process.argv[2] ?? ''));
  say({ done: await unpack(layers, root, bounds) });
} catch (error) {
  const code = error instanceof Error && 'code' in error ? String(error.code) : '';
  // A damaged archive is the image's fault; what this host cannot do is not.
  if (error instanceof EntryRefused) say({ refused: error.message });
  else if (/^(E[A-Z]+)$/.test(code)) say({ failed: code });
  else
    say({
      refused: `a layer is damaged (${error instanceof Error ? error.message.slice(0, 200) : 'unknown'})`,
    });
  process.exitCode = 1;
}
