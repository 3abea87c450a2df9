import {
  chmodSync,
  copyFileSync,
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { lstat, readdir, readFile, readlink } from 'node:fs/promises';
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
  return { folders: view, links, etc: writeEtc(folder), certificates: await hostCertificates() };
}

/**
 * A synthetic /etc: what programs need to start and to find names, and nothing that says who uses this machine. Copied
 * from the host are only files that packages install and that hold no accounts, hosts or keys.
 */
function writeEtc(folder: string): string {
  // Made anew at each start of the driver, beside the old one: a sandbox that still runs keeps what it has mounted.
  const etc = mkdtempSync(join(folder, 'etc-'));
  // Everybody may read it, whatever the umask was: runsc's processes are others than this one.
  const umask = process.umask(0o022);
  try {
    chmodSync(etc, 0o755);
    mkdirSync(join(etc, 'ssl/certs'), { recursive: true });
    for (const [name, text] of Object.entries(etcFiles)) writeFileSync(join(etc, name), text);
    writeFileSync(join(etc, 'ssl/certs/ca-certificates.crt'), '');
    for (const name of copiedFiles) {
      if (!existsSync(`/etc/${name}`)) continue;
      copyFileSync(`/etc/${name}`, join(etc, name));
      chmodSync(join(etc, name), 0o644);
    }
    for (const name of ['alternatives', 'ld.so.conf.d'])
      if (existsSync(`/etc/${name}`))
        cpSync(`/etc/${name}`, join(etc, name), { recursive: true, verbatimSymlinks: true });
    // Red Hat's path of the bundle, and OpenSSL's other name for it.
    for (const [path, target] of Object.entries(certificateLinks)) {
      mkdirSync(join(etc, path, '..'), { recursive: true });
      symlinkSync(target, join(etc, path));
    }
  } finally {
    process.umask(umask);
  }
  return etc;
}

/**
 * What of /etc is Glovebox's to say whatever an image says: laid over the image's own. Its user is a name for the one user that there
 * is. Each place where a system keeps its authorities leads to the session's bundle.
 */
export function writeImageEtc(etc: string, user: string): void {
  for (const name of ['passwd', 'group'])
    writeFileSync(
      join(etc, name),
      (etcFiles[name] ?? '').replace(/^agent:/m, `${user}:`).replace(':agent:', `:${user}:`),
    );
  for (const name of ['hosts', 'hostname', 'nsswitch.conf', 'resolv.conf'])
    writeFileSync(join(etc, name), etcFiles[name] ?? '');
  mkdirSync(join(etc, 'ssl/certs'), { recursive: true });
  writeFileSync(join(etc, 'ssl/certs/ca-certificates.crt'), '');
  for (const [path, target] of Object.entries({ ...certificateLinks, ...imageCertificateLinks })) {
    mkdirSync(join(etc, path, '..'), { recursive: true });
    symlinkSync(target, join(etc, path));
  }
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

/** SUSE's place, and the one that Red Hat's links lead to. */
const imageCertificateLinks: Readonly<Record<string, string>> = {
  'ssl/ca-bundle.pem': 'certs/ca-certificates.crt',
  'pki/ca-trust/extracted/pem/tls-ca-bundle.pem': '../../../../ssl/certs/ca-certificates.crt',
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
