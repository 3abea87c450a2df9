import {
  GloveboxError,
  limits,
  type CreateSessionRequest,
  type PolicyDocument,
  type PresetDocument,
  type TierName,
} from '../../../pure/contracts/index.ts';
import { compileSession, type CompiledSession } from '../../../pure/compile/index.ts';
import { parseDuration, parsePolicy } from '../../../pure/policy/index.ts';
import type { Image, Images } from '../../images/index.ts';
import { resolveInImage } from './image-command.ts';
import { resolveCommand, sandboxPath, sandboxWorkspace } from './command.ts';
import { agentEnvironment, mcpUrl } from './environment.ts';
import { readAuthorities } from './authorities.ts';
import { defaultPreset, type Presets } from './presets.ts';
import { credentialsIn, resolveToolFolders } from './tool-folders.ts';
import { checkWorkspace } from './workspace.ts';

/** All that a request means, worked out and checked before anything is written or started. */
export interface SessionPlan {
  readonly document: PolicyDocument;
  readonly compiled: CompiledSession;
  readonly preset: string | null;
  readonly workspace: string;
  readonly toolFolders: readonly string[];
  readonly toolMasks: readonly string[];
  readonly image: { readonly digest: string; readonly rootfs: string; readonly user: string } | null;
  readonly tier: TierName;
  readonly ttlSeconds: number;
  readonly argv: readonly string[];
  readonly env: readonly string[];
  readonly cwd: string;
  readonly homeFiles: Readonly<Record<string, string>>;
  /** The secret that the preset cannot work without, for a message before the start. */
  /** Secrets that have to be set before anything starts, and what each is. */
  readonly neededSecrets: readonly { readonly name: string; readonly detail: string }[];
}

export interface PlanPlaces {
  readonly home: string;
  readonly state: string;
  readonly presets: Presets;
  readonly images: Pick<Images, 'find'>;
  readonly placeholder: (secret: string) => string;
}

export async function planSession(request: CreateSessionRequest, places: PlanPlaces): Promise<SessionPlan> {
  const preset = choosePreset(request, places.presets);
  const document =
    request.policy === undefined
      ? (preset ?? places.presets.get(defaultPreset)).policy
      : parsePolicy(request.policy.text, request.policy.file);
  const [workspace, toolFolders, authorities] = await Promise.all([
    checkWorkspace(request.workspace, places),
    resolveToolFolders(document.toolFolders, places),
    readAuthorities(document),
  ]);
  const image = await imageOf(request, places);
  const given = wordsOf(request, preset);
  const words = given.length === 0 && image !== null ? image.settings.command : given;
  const seen = { workspace, toolFolders, path: request.path };
  const [program, path] =
    image === null
      ? await Promise.all([resolveCommand(words[0] ?? '', seen), sandboxPath(seen)])
      : resolveInImage(words[0] ?? '', image);
  const ttlSeconds = request.ttlSeconds ?? parseDuration(document.ttl) ?? 0;
  if (ttlSeconds < 1 || ttlSeconds * 1000 > limits.sessionLifetime.value) {
    throw new GloveboxError('GB_INPUT_INVALID', {
      what: 'The time limit',
      detail: `it is at most ${limits.sessionLifetime.value / 86_400_000} days`,
    });
  }
  const compiled = compileSession({
    document,
    env: request.env,
    authorities,
    placeholder: places.placeholder,
  });
  const fill = (text: string): string => fillIn(text, compiled.placeholders);
  return {
    document,
    compiled,
    preset: preset?.name ?? null,
    workspace,
    toolFolders,
    toolMasks: await credentialsIn(toolFolders),
    image: image === null ? null : { digest: image.digest, rootfs: image.rootfs, user: image.settings.user },
    tier: (request.tier ?? document.tier) as TierName,
    ttlSeconds,
    argv: withHomeFiles([program, ...words.slice(1)], preset),
    env: agentEnvironment({
      path,
      term: request.terminal?.term ?? null,
      own: compiled.env,
      ...(image === null ? {} : { image: image.settings }),
    }),
    // An image's own command starts where the image says; a person's is about their project.
    cwd: given.length === 0 ? (image?.settings.workingFolder ?? sandboxWorkspace) : sandboxWorkspace,
    homeFiles: Object.fromEntries(
      Object.entries(preset?.homeFiles ?? {}).map(([name, text]) => [name, fill(text)]),
    ),
    neededSecrets: neededSecrets(request, preset, compiled.secrets),
  };
}

async function imageOf(request: CreateSessionRequest, places: PlanPlaces): Promise<Image | null> {
  if (request.image === undefined) return null;
  const found = await places.images.find(request.image);
  if (found !== undefined) return found;
  throw new GloveboxError('GB_NOT_FOUND', {
    what: `image ${request.image}`,
    detail: 'it was not fetched yet',
  });
}

/** A preset's own, and those that the person named: a placeholder that nothing will ever replace is no use to anybody. */
function neededSecrets(
  request: CreateSessionRequest,
  preset: PresetDocument | undefined,
  bound: readonly string[],
): SessionPlan['neededSecrets'] {
  const own = preset?.secret ?? null;
  const named = Object.entries(request.env).flatMap(([variable, value]) =>
    value.startsWith('secret:')
      ? [{ name: value.slice('secret:'.length), detail: `${variable} names it.` }]
      : [],
  );
  return [
    ...(own !== null && bound.includes(own.name) ? [{ name: own.name, detail: `It is ${own.title}.` }] : []),
    ...named,
  ];
}

/**
 * The driver shows a preset's files read-only; the command copies them to its home before it becomes itself. Done inside, by the
 * agent's own uid: a trusted process that wrote into a folder of the agent's could be led elsewhere by a link.
 */
function withHomeFiles(argv: readonly string[], preset: PresetDocument | undefined): readonly string[] {
  if (preset === undefined || Object.keys(preset.homeFiles).length === 0) return argv;
  return ['/bin/sh', '-c', 'cp -R /opt/glovebox/home/. "$HOME"/ && exec "$@"', 'sh', ...argv];
}

/** Named, or known by the program; a policy of the person's own replaces the preset's policy, not its arguments. */
function choosePreset(request: CreateSessionRequest, presets: Presets): PresetDocument | undefined {
  if (request.preset !== undefined) return presets.get(request.preset);
  return presets.forProgram(request.command[0]);
}

/** The command's words: the preset's arguments come right after its program, the person's own follow. */
function wordsOf(request: CreateSessionRequest, preset: PresetDocument | undefined): readonly string[] {
  if (preset === undefined || preset.name === defaultPreset) return request.command;
  const [program, ...rest] = request.command;
  const own =
    program === undefined || program === preset.name || program.split('/').at(-1) === preset.command[0];
  if (!own) return request.command;
  const [name = '', ...fixed] = preset.command;
  const found = program !== undefined && program.includes('/') ? program : name;
  return [found, ...fixed, ...preset.arguments.map((text) => fillIn(text, {})), ...rest];
}

/** `{mcp_url}`, `{placeholder:NAME}` and `{placeholder_tail:NAME}` (its last 20 characters); nothing else is special. */
const fillIn = (text: string, placeholders: Readonly<Record<string, string>>): string =>
  text
    .replaceAll('{mcp_url}', mcpUrl)
    .replace(/\{placeholder:([a-z][a-z0-9-]{0,63})\}/g, (_, name: string) => placeholders[name] ?? '')
    .replace(/\{placeholder_tail:([a-z][a-z0-9-]{0,63})\}/g, (_, name: string) =>
      (placeholders[name] ?? '').slice(-20),
    );
