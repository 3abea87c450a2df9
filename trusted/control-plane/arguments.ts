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
  /** Undefined: this control plane is alone, and has a bus and keys of its own. */
  readonly shared: SharedParts | undefined;
}

const sharedFile = z.strictObject({
  /** Which of the replicas this is; no two that run have the same name. */
  replica: z.string().regex(/^[a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?$/),
  /** The keys folder of the installation. */
  keys: z.string().refine(isAbsolute),
  /** The bus, which runs by itself. */
  bus: z.strictObject({ host: z.string().min(1), port: z.int().min(1).max(65_535) }),
});
/** What the replicas of one installation have in common, beside the store. */
export type SharedParts = z.infer<typeof sharedFile>;

const toolsFile = z.object({
  runsc: z.string().refine(isAbsolute),
  natsServer: z.string().refine(isAbsolute),
  /** Built when an image is first asked for. */
  crane: z.string().refine(isAbsolute).optional(),
});
export type Tools = z.infer<typeof toolsFile>;

/** `--state DIR --runtime DIR --config DIR --tools FILE [--data DIR] [--cache DIR] [--shared FILE]`; nothing comes from the environment. */
export async function readArguments(argv: readonly string[]): Promise<DaemonPlaces> {
  let values: Partial<Record<'state' | 'runtime' | 'config' | 'data' | 'cache' | 'tools' | 'shared', string>>;
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
        shared: { type: 'string' },
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
  const shared = values.shared === undefined ? undefined : await readShared(values.shared);
  return { state, runtime, config, data, cache, tools: await readTools(tools), toolsFile: tools, shared };
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

async function readShared(file: string): Promise<SharedParts> {
  try {
    return sharedFile.parse(JSON.parse(await readFile(file, 'utf8')));
  } catch (error) {
    throw invalid(
      `${file} does not say what the replicas share (${error instanceof Error ? error.name : 'unknown'})`,
    );
  }
}

const invalid = (detail: string): GloveboxError =>
  new GloveboxError('GB_INPUT_INVALID', { what: 'The command line of the control plane', detail });
