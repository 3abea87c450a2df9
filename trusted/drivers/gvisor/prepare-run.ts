import { chmodSync, copyFileSync, mkdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { GloveboxError } from '../../../pure/contracts/index.ts';
import {
  assertFloor,
  compileOciSpec,
  foldersPath,
  isPlainRelative,
  providerPath,
  type SpecHost,
  type SpecWorkspace,
} from '../../../pure/compile/index.ts';
import type { SandboxRequest } from '../port.ts';
import { writeImageEtc, type HostView } from './host-view.ts';
import { rootPlace } from './launch.ts';
import { diskShares, type GvisorSettings, type RunFolder } from './settings.ts';

const insideRoot = [
  'proc',
  'dev',
  'sys',
  'etc',
  'tmp',
  'run',
  'workspace',
  'home/agent',
  'opt/glovebox',
  'folders',
  'var',
];

/** What every sandbox that shows the host's view has: made ahead, or by the start itself. */
export function fillCommon(run: Pick<RunFolder, 'path' | 'root'>, view: HostView): void {
  const below = [
    ...['hide', 'merged', 'disk/tmp', 'disk/home', 'empty-folder', 'home', 'runsc'],
    ...[...insideRoot, ...view.folders].map((path) => join('root', path)),
  ];
  for (const path of below) mkdirSync(join(run.path, path), { recursive: true, mode: 0o755 });
  for (const link of view.links) symlinkSync(link.target, join(run.root, link.path));
  symlinkSync('../tmp', join(run.root, 'var/tmp'));
  writeFileSync(join(run.root, 'opt/glovebox/init'), '');
  writeFileSync(join(run.path, 'empty-file'), '');
}

/** An image's root has mount points only, and what of /etc is laid over its own. */
export const imageView: HostView = { folders: [], links: [], etc: '', certificates: '' };

/** What only this sandbox has. With `fillCommon` before it, everything that the spec will name exists after this. */
export function fillOwn(run: RunFolder, request: SandboxRequest, view: HostView): void {
  const below = [
    ...request.toolFolders,
    // Whoever owns them: runsc, which is nobody here, makes no mount point.
    ...request.folders.map(({ name }) => join(foldersPath, name)),
  ];
  for (const path of below) mkdirSync(join(run.root, path), { recursive: true, mode: 0o755 });
  if (request.image !== undefined) writeImageEtc(join(run.root, 'etc'), request.image.user);
  if (homeSeeded(request)) mkdirSync(join(run.root, 'opt/glovebox/home'));
  if (request.program !== undefined) placeProgram(run, request.program);
  writeFileSync(join(run.path, 'ca.crt'), view.certificates + request.caPem, { mode: 0o644 });
  for (const [path, text] of Object.entries(request.homeFiles)) {
    if (!isPlainRelative(path))
      throw new GloveboxError('GB_INPUT_INVALID', { what: 'home file', detail: path });
    const file = join(run.path, 'home', path);
    mkdirSync(dirname(file), { recursive: true, mode: 0o755 });
    writeFileSync(file, text, { mode: 0o644 });
  }
}

/** An image brings its own programs, and nothing of the host's is seen beside them. */
const viewOf = (request: SandboxRequest, view: HostView): readonly string[] =>
  request.image === undefined ? view.folders : [];

const homeSeeded = (request: SandboxRequest): boolean => Object.keys(request.homeFiles).length > 0;

/** A copy: a build that goes on beside it changes nothing here, and its mode is not left to who installed Glovebox. */
function placeProgram(run: RunFolder, program: string): void {
  copyFileSync(program, programOf(run));
  chmodSync(programOf(run), 0o644);
  writeFileSync(join(run.root, providerPath), '');
}

const programOf = (run: RunFolder): string => join(run.path, 'provider.mjs');

export interface SpecInputs {
  readonly settings: GvisorSettings;
  readonly run: RunFolder;
  readonly request: SandboxRequest;
  readonly view: HostView;
  readonly ids: SpecHost['ids'];
  readonly workspace: SpecWorkspace | undefined;
}

/** Two locks: the compiler, and right before the file is written a guard that reads the result anew [R24]. */
export function writeSpec(inputs: SpecInputs): void {
  const { run, request } = inputs;
  const disk = (name: 'tmp' | 'home'): { source: string; bytes: number } => ({
    source: join(run.path, 'disk', name),
    bytes: Math.floor(request.tier.diskBytes * diskShares[name]),
  });
  const spec = compileOciSpec(
    {
      sandboxId: request.sandboxId,
      role: request.role,
      tier: request.tier,
      toolFolders: request.toolFolders,
      toolMasks: request.toolMasks ?? [],
      folders: request.folders,
      ...(request.program === undefined ? {} : { program: programOf(run) }),
      ...(inputs.workspace === undefined ? {} : { workspace: inputs.workspace }),
    },
    {
      root: inputs.ids.kind === 'root' ? rootPlace : run.root,
      view: viewOf(request, inputs.view),
      ...(request.image === undefined ? { etc: inputs.view.etc } : {}),
      caBundle: join(run.path, 'ca.crt'),
      init: inputs.settings.init,
      emptyFile: join(run.path, 'empty-file'),
      emptyFolder: join(run.path, 'empty-folder'),
      tmp: disk('tmp'),
      home: disk('home'),
      ids: inputs.ids,
      ...(homeSeeded(request) ? { homeSeed: join(run.path, 'home') } : {}),
    },
  );
  const text = JSON.stringify(spec);
  assertFloor(JSON.parse(text), request.role);
  writeFileSync(run.config, text, { mode: 0o600, flag: 'wx' });
}
