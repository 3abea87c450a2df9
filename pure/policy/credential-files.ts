/**
 * Files that hold credentials by their name alone; hidden in every workspace unless the policy shows them [R48].
 * Names are globs over the last segment, paths over the end of the relative path.
 */
export const credentialFiles: {
  readonly names: readonly string[];
  readonly paths: readonly string[];
  readonly except: readonly string[];
} = {
  names: [
    ...['.env', '.env.*', '*.env', '.envrc.private', '.npmrc', '.yarnrc.yml', '.pypirc', '.netrc', '_netrc'],
    ...[
      '.git-credentials',
      '.pgpass',
      '.my.cnf',
      '.htpasswd',
      '.vault-token',
      '.dockercfg',
      '.boto',
      '.s3cfg',
    ],
    ...['id_rsa', 'id_dsa', 'id_ecdsa', 'id_ed25519', 'id_ecdsa_sk', 'id_ed25519_sk'],
    ...['*.key', '*.pem', '*.p12', '*.pfx', '*.jks', '*.keystore', '*.ppk', '*.kdbx', '*.age', '*.ovpn'],
    ...[
      'kubeconfig',
      'credentials.json',
      'service-account*.json',
      'serviceAccount*.json',
      'client_secret*.json',
    ],
    ...[
      'terraform.tfstate',
      'terraform.tfstate.backup',
      '*.tfvars',
      'secrets.yml',
      'secrets.yaml',
      'secrets.json',
    ],
    ...['master.key', 'auth.json', 'nuget.config', '.terraformrc', 'application-credentials*.json'],
  ],
  paths: [
    '.aws/credentials',
    '.docker/config.json',
    '.kube/config',
    '.config/gh/hosts.yml',
    ...['.cargo/credentials', '.cargo/credentials.toml', '.gem/credentials', '.ivy2/.credentials'],
    ...['.sbt/.credentials', '.m2/settings.xml', '.m2/settings-security.xml', '.gradle/gradle.properties'],
  ],
  except: [
    '.env.example',
    '.env.sample',
    '.env.template',
    '.env.dist',
    '.env.defaults',
    'ca-certificates.pem',
    'cacert.pem',
  ],
};

const glob = (pattern: string): RegExp =>
  new RegExp(
    `^${pattern
      .split(/(\*\*\/?|\*)/)
      .map((part) => {
        if (part === '**/') return '(?:.*/)?';
        if (part === '**') return '.*';
        return part === '*' ? '[^/]*' : part.replace(/[.+?^${}()|[\]\\]/g, '\\$&');
      })
      .join('')}$`,
    'su',
  );

const names = credentialFiles.names.map(glob);
const except = credentialFiles.except.map(glob);

/** `path` relative to the workspace, '/' between segments. `show`: the policy's globs over the whole relative path. */
export function isCredentialFile(path: string, show: readonly string[]): boolean {
  const name = path.slice(path.lastIndexOf('/') + 1);
  const listed =
    (names.some((pattern) => pattern.test(name)) && !except.some((pattern) => pattern.test(name))) ||
    credentialFiles.paths.some((end) => path === end || path.endsWith(`/${end}`));
  return listed && !show.some((pattern) => glob(pattern).test(path));
}
