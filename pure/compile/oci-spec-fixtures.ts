import { asSandboxId, tiers } from '../contracts/index.ts';
import type { SpecHost, SpecRequest } from './oci-spec-types.ts';

/** What the tests of the compiler and of the guard start from. */
export const request: SpecRequest = {
  sandboxId: asSandboxId('a'.repeat(26)),
  role: 'agent',
  tier: tiers.standard,
  workspace: { source: '/srv/u/project', masked: [], readOnly: [] },
  toolFolders: ['/srv/u/.nvm'],
  toolMasks: [],
  folders: [],
};
export const host: SpecHost = {
  root: '/state/run/x/root',
  view: ['/usr', '/lib64', '/opt/go'],
  etc: '/state/etc',
  caBundle: '/state/run/x/ca.crt',
  init: '/cache/init',
  emptyFile: '/state/run/x/empty-file',
  emptyFolder: '/state/run/x/empty-folder',
  tmp: { source: '/state/run/x/tmp', bytes: 1e9 },
  home: { source: '/state/run/x/home', bytes: 1e9 },
  ids: { kind: 'root', runscUid: 0x6000_0001, owner: { uid: 1000, gid: 1000 } },
};
