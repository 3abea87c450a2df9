import { readFile } from 'node:fs/promises';
import { homedir } from 'node:os';
import { isAbsolute, join } from 'node:path';
import { parseArgs } from 'node:util';
import { z } from 'zod';
import { GloveboxError } from '../../pure/contracts/index.ts';

export interface DaemonPlaces {
  /** Absolute folders. */
  readonly state: string;
  readonly runtime: string;
  readonly config: string;
  readonly data: string;
  readonly cache: string;
  readonly tools: Tools;
  /** Read again for what is built later than the rest. */
  readonly toolsFile: string;
}

const toolsFile = z.object({
  runsc: z.string().refine(isAbsolute),
  natsServer: z.string().refine(isAbsolute),
  /** Built when an image is first asked for. */
  crane: z.string().refine(isAbsolute).optional(),
});
export type Tools = z.infer<typeof toolsFile>;

/** `--state DIR --runtime DIR --config DIR --tools FILE [--data DIR] [--cache DIR]`; nothing comes from the environment. */
export async function readArguments(argv: readonly string[]): Promise<DaemonPlaces> {
  let values: Partial<Record<'state' | 'runtime' | 'config' | 'data' | 'cache' | 'tools', string>>;
  try {
    ({ values } = parseArgs({
      args: [...argv],
      strict: true,
      options: {
        state: { type: 'string' },
        runtime: { type: 'string' },
        config: { type: 'string' },
        data: { type: 'string' },
        cache: { type: 'string' },
        tools: { type: 'string' },
      },
    }));
  } catch (error) {
    throw invalid(error instanceof Error ? error.message : 'they cannot be read');
  }
  const { state, runtime, config, tools, data = join(homedir(), '.local/share/glovebox') } = values;
  const { cache = join(homedir(), '.cache/glovebox') } = values;
  const folders = [state, runtime, config, tools, data, cache];
  if (
    state === undefined ||
    runtime === undefined ||
    config === undefined ||
    tools === undefined ||
    !folders.every((one) => isAbsolute(one ?? ''))
  ) {
    throw invalid('--state, --runtime, --config and --tools are needed, each an absolute path');
  }
  return { state, runtime, config, data, cache, tools: await readTools(tools), toolsFile: tools };
}

export async function readTools(file: string): Promise<Tools> {
  try {
    return toolsFile.parse(JSON.parse(await readFile(file, 'utf8')));
  } catch (error) {
    throw invalid(
      `${file} does not say where runsc and nats-server are (${error instanceof Error ? error.name : 'unknown'})`,
    );
  }
}

const invalid = (detail: string): GloveboxError =>
  new GloveboxError('GB_INPUT_INVALID', { what: 'The command line of the control plane', detail });
