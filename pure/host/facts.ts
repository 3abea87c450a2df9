/** What was found on a host, by really trying. Judged by `judgeHost`, which is the only one to say what follows. */
export type Attempt = { readonly works: true } | { readonly works: false; readonly said: string };

export const controllers = ['memory', 'cpu', 'pids'] as const;
export type Controller = (typeof controllers)[number];
/** What the driver calls, and with which options; an older util-linux lacks some. */
export const neededTools = ['setpriv', 'unshare', 'mount'] as const;
export type NeededTool = (typeof neededTools)[number];
export const platforms = ['systrap', 'kvm'] as const;
export type Platform = (typeof platforms)[number];

export interface HostFacts {
  readonly kernel: string;
  readonly uid: number;
  readonly userNamespaces: Attempt;
  /** The namespaces that the driver makes for a sandbox of this user, with its own recipe. */
  readonly sandboxNamespaces: Attempt;
  /** The namespaces that trusted processes are confined in. */
  readonly jailNamespaces: Attempt;
  readonly overlay: Attempt;
  readonly cgroups: {
    readonly layout: 'v1' | 'v2' | 'hybrid' | 'none';
    /** Per controller: which version limits it here, or why none does. */
    readonly controllers: Readonly<
      Record<Controller, { readonly version: 1 | 2 } | { readonly missing: string }>
    >;
  };
  readonly runsc: { readonly path: string; readonly version: string } | { readonly missing: string };
  /** A whole sandbox was started on it, up to the first word of its init. `chosen` null: on none. */
  readonly platform: {
    readonly chosen: { readonly name: Platform; readonly ms: number } | null;
    readonly failed: readonly { readonly name: Platform; readonly said: string }[];
  };
  readonly apparmor: {
    readonly enabled: boolean;
    /** A program was started under the profile. */
    readonly profile: Attempt;
    /** Ubuntu's restriction of user namespaces to programs with a profile. */
    readonly restrictsUserNamespaces: boolean;
  };
  readonly landlock: boolean;
  /** The actions that the kernel offers to a filter; empty: it has none. */
  readonly seccompActions: readonly string[];
  readonly tools: Readonly<Record<NeededTool, Attempt>>;
  /** A file system of a size of its own, made and mounted; null: an ordinary user cannot, a watch holds the limit. */
  readonly sizedDisk: Attempt | null;
  readonly disk: { readonly folder: string; readonly freeBytes: number };
}

const said = (attempt: Attempt, yes = 'yes'): string => (attempt.works ? yes : `no (${attempt.said})`);

/** For a person, in the order of reading. */
export function describeFacts(facts: HostFacts): Record<string, string> {
  const { cgroups, platform, apparmor } = facts;
  const held = controllers.flatMap((name) => {
    const found = cgroups.controllers[name];
    return 'version' in found ? [`${name} (v${found.version})`] : [];
  });
  return {
    kernel: facts.kernel,
    user: facts.uid === 0 ? 'root' : `uid ${facts.uid}`,
    'user namespaces': said(facts.userNamespaces),
    'sandbox namespaces': said(facts.sandboxNamespaces),
    overlay: said(facts.overlay),
    cgroups: `${cgroups.layout}, writable: ${held.length === 0 ? 'none' : held.join(', ')}`,
    gVisor: 'missing' in facts.runsc ? facts.runsc.missing : `${facts.runsc.version}, ${facts.runsc.path}`,
    'gVisor platform': [
      ...(platform.chosen === null
        ? ['none']
        : [`${platform.chosen.name}, started in ${platform.chosen.ms} ms`]),
      ...platform.failed.map((one) => `not ${one.name} (${one.said})`),
    ].join('; '),
    AppArmor: apparmor.enabled
      ? `enabled, profile ${profileName} ${apparmor.profile.works ? 'loaded' : 'not loaded'}`
      : 'not in this kernel, or disabled',
    Landlock: `${facts.landlock ? 'yes' : 'no'}; not used: trusted processes are confined by a mount namespace`,
    seccomp: facts.seccompActions.length === 0 ? 'no' : facts.seccompActions.join(' '),
    'util-linux': neededTools.map((name) => `${name} ${said(facts.tools[name], 'ok')}`).join(', '),
    'sized disk': facts.sizedDisk === null ? 'not for an ordinary user' : said(facts.sizedDisk),
    'free disk': `${(facts.disk.freeBytes / 2 ** 30).toFixed(1)} GiB in ${facts.disk.folder}`,
  };
}

export const profileName = 'glovebox-sandbox';
