import { mkdir, symlink, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import {
  assertFloor,
  compileOciSpec,
  type SpecHost,
  type SpecWorkspace,
} from '../../../pure/compile/index.ts';
import type { SandboxRequest } from '../port.ts';
import { exists, type HostView } from './host-view.ts';
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

/** The folders of a run, its certificates and files; everything that the spec will name exists after this. */
export async function makeRunFolder(run: RunFolder, request: SandboxRequest, view: HostView): Promise<void> {
  await mkdir(run.path, { mode: 0o700 });
  const below = [
    ...['lower', 'changes', 'hide', 'merged', 'disk/tmp', 'disk/home', 'empty-folder', 'home', 'runsc'],
    ...[...insideRoot, ...view.folders, ...request.toolFolders].map((path) => join('root', path)),
  ];
  for (const path of below) await mkdir(join(run.path, path), { recursive: true, mode: 0o755 });
  await Promise.all([
    ...view.links.map((link) => symlink(link.target, join(run.root, link.path))),
    symlink('../tmp', join(run.root, 'var/tmp')),
    writeFile(join(run.root, 'opt/glovebox/init'), ''),
    ...(homeSeeded(request) ? [mkdir(join(run.root, 'opt/glovebox/home'))] : []),
    writeFile(join(run.path, 'empty-file'), ''),
    writeFile(join(run.path, 'ca.crt'), view.certificates + request.caPem, { mode: 0o644 }),
    ...Object.entries(request.homeFiles).map(([path, text]) => writeSeed(join(run.path, 'home'), path, text)),
  ]);
}

const homeSeeded = (request: SandboxRequest): boolean => Object.keys(request.homeFiles).length > 0;

async function writeSeed(folder: string, path: string, text: string): Promise<void> {
  const file = join(folder, path);
  await mkdir(dirname(file), { recursive: true, mode: 0o755 }).catch(exists);
  await writeFile(file, text, { mode: 0o644 });
}

export interface SpecInputs {
  readonly settings: GvisorSettings;
  readonly run: RunFolder;
  readonly request: SandboxRequest;
  readonly view: HostView;
  readonly ids: SpecHost['ids'];
  readonly workspace: SpecWorkspace | undefined;
}

/** Two locks: the compiler, and right before the file is written a guard that reads the result anew [R24]. */
export async function writeSpec(inputs: SpecInputs): Promise<void> {
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
      folders: request.folders,
      ...(inputs.workspace === undefined ? {} : { workspace: inputs.workspace }),
    },
    {
      root: run.root,
      view: inputs.view.folders,
      etc: inputs.view.etc,
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
  await writeFile(run.config, text, { mode: 0o600, flag: 'wx' });
}
