import { toolTrust } from '../pure/compile/index.ts';

/** docs/tools.md, made from the one table of what tools read. */
export const toolsDocument = (): string =>
  [
    '# Tools in a sandbox',
    '',
    'A sandbox has no network but the egress proxy, which ends TLS with an authority of the session’s own. Tools find both without being',
    'told: by these variables of every command’s environment, and by the system’s bundle of authorities, which is',
    '`/etc/ssl/certs/ca-certificates.crt` and the names that other systems give it. A policy’s `env` and `--env` come after them. Made from',
    '`pure/compile/tool-trust.ts` by `npm run docs`; a test compares the two.',
    '',
    'What is left to the program: aiohttp needs `trust_env=True` and urllib3 a `ProxyManager`, since both read no proxy variable by',
    'themselves; Node before 22.21 needs an agent for `fetch` and `https` (npm, pnpm and the presets’ agents have one); Java needs',
    '`-Dhttps.proxyHost=127.0.0.1 -Dhttps.proxyPort=3128` and a trust store with the session’s authority (`keytool -importcert`), since it',
    'reads neither the variables nor the bundle; Chromium needs the authority in its NSS store (`certutil -d sql:$HOME/.pki/nssdb -A -t C,,`).',
    '',
    '| variable | value | read by | why |',
    '| --- | --- | --- | --- |',
    ...toolTrust.map(
      ({ variable, value, tools, reason }) => `| \`${variable}\` | \`${value}\` | ${tools} | ${reason} |`,
    ),
    '',
  ].join('\n');
