import {
  chmod,
  copyFile,
  cp,
  lstat,
  mkdir,
  mkdtemp,
  readdir,
  readFile,
  readlink,
  symlink,
  writeFile,
} from 'node:fs/promises';
import { join } from 'node:path';

/** The host's folders that a sandbox sees read-only, and the links between them. Looked at once a process. */
export interface HostView {
  readonly folders: readonly string[];
  readonly links: readonly { readonly path: string; readonly target: string }[];
  readonly etc: string;
  readonly certificates: string;
}

const topFolders = ['usr', 'bin', 'sbin', 'lib', 'lib32', 'lib64', 'libx32'];

export async function readHostView(folder: string, chosen: readonly string[] | undefined): Promise<HostView> {
  const folders: string[] = [];
  const links: { path: string; target: string }[] = [];
  for (const name of topFolders) {
    const found = await lstat(`/${name}`).catch(absent);
    if (found?.isSymbolicLink() === true)
      links.push({ path: `/${name}`, target: await readlink(`/${name}`) });
    else if (found?.isDirectory() === true) folders.push(`/${name}`);
  }
  for (const entry of await readdir('/opt', { withFileTypes: true }).catch(() => []))
    if (entry.isDirectory() && entry.name !== 'glovebox') folders.push(`/opt/${entry.name}`);
  const view = chosen ?? folders;
  return { folders: view, links, etc: await writeEtc(folder), certificates: await hostCertificates() };
}

/**
 * A synthetic /etc: what programs need to start and to find names, and nothing that says who uses this machine. Copied
 * from the host are only files that packages install and that hold no accounts, hosts or keys.
 */
async function writeEtc(folder: string): Promise<string> {
  // Made anew at each start of the driver, beside the old one: a sandbox that still runs keeps what it has mounted.
  const etc = await mkdtemp(join(folder, 'etc-'));
  await chmod(etc, 0o755);
  await mkdir(join(etc, 'ssl/certs'), { recursive: true, mode: 0o755 });
  for (const [name, text] of Object.entries(etcFiles))
    await writeFile(join(etc, name), text, { mode: 0o644 });
  await writeFile(join(etc, 'ssl/certs/ca-certificates.crt'), '', { mode: 0o644 });
  for (const name of copiedFiles) {
    await mkdir(join(etc, name, '..'), { recursive: true, mode: 0o755 });
    await copyFile(`/etc/${name}`, join(etc, name)).catch(absent);
    await chmod(join(etc, name), 0o644).catch(absent);
  }
  for (const name of ['alternatives', 'ld.so.conf.d'])
    await cp(`/etc/${name}`, join(etc, name), { recursive: true, verbatimSymlinks: true }).catch(absent);
  // Red Hat's path of the bundle, and OpenSSL's other name for it.
  for (const [path, target] of Object.entries(certificateLinks)) {
    await mkdir(join(etc, path, '..'), { recursive: true, mode: 0o755 });
    await symlink(target, join(etc, path)).catch(exists);
  }
  return etc;
}

const etcFiles: Readonly<Record<string, string>> = {
  passwd: 'root:x:0:0:root:/nonexistent:/usr/sbin/nologin\nagent:x:65534:65534:agent:/home/agent:/bin/sh\n',
  group: 'root:x:0:\nagent:x:65534:\n',
  hosts: '127.0.0.1 localhost glovebox\n::1 localhost\n',
  hostname: 'glovebox\n',
  'nsswitch.conf': 'passwd: files\ngroup: files\nhosts: files\nservices: files\nprotocols: files\n',
  'resolv.conf': '',
  shells: '/bin/sh\n/bin/bash\n',
};
const copiedFiles = [
  ...['ld.so.cache', 'ld.so.conf', 'localtime', 'mime.types', 'protocols', 'services', 'os-release'],
  ...['ssl/openssl.cnf', 'bash.bashrc', 'profile', 'inputrc', 'debian_version', 'magic'],
];
const certificateLinks: Readonly<Record<string, string>> = {
  'ssl/cert.pem': 'certs/ca-certificates.crt',
  'pki/tls/certs/ca-bundle.crt': '../../../ssl/certs/ca-certificates.crt',
};

const bundles = [
  '/etc/ssl/certs/ca-certificates.crt',
  '/etc/pki/tls/certs/ca-bundle.crt',
  '/etc/ssl/ca-bundle.pem',
  '/etc/ssl/cert.pem',
];

async function hostCertificates(): Promise<string> {
  for (const path of bundles) {
    const text = await readFile(path, 'utf8').catch(() => '');
    if (text !== '') return text.endsWith('\n') ? text : `${text}\n`;
  }
  return '';
}

export const absent = (error: unknown): undefined => onlyCodes(error, 'ENOENT', 'ENOTDIR');
export const exists = (error: unknown): undefined => onlyCodes(error, 'EEXIST');

/** Swallows the errors that are expected here and no other. */
export function onlyCodes(error: unknown, ...codes: readonly string[]): undefined {
  if (error instanceof Error && 'code' in error && codes.includes(String(error.code))) return undefined;
  throw error;
}
