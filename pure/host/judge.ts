import { limits, type Guarantee, type HostReport } from '../contracts/index.ts';
import { controllers, describeFacts, neededTools, type Attempt, type HostFacts } from './facts.ts';

/** The floor has no off switch but these two, by their full names [R24]. */
export const waivable = ['apparmor', 'cgroup-limits'] as const;

type Finding = Omit<Guarantee, 'waivable' | 'state'> & { readonly state: 'held' | 'missing' | 'absent-ok' };
const held = (detail: string): Pick<Finding, 'state' | 'detail' | 'todo'> => ({
  state: 'held',
  detail,
  todo: null,
});
const missing = (detail: string, todo: string): Pick<Finding, 'state' | 'detail' | 'todo'> => ({
  state: 'missing',
  detail,
  todo,
});

/** What the facts mean for each guarantee. Fit: none is missing; a waiver counts only for what may be waived [R24]. */
export function judgeHost(facts: HostFacts, waived: readonly string[]): HostReport {
  const guarantees = findings(facts).map((finding): Guarantee => {
    const mayBeWaived = waivable.some((name) => name === finding.id);
    const isWaived = finding.state === 'missing' && mayBeWaived && waived.includes(finding.id);
    return { ...finding, waivable: mayBeWaived, state: isWaived ? 'waived' : finding.state };
  });
  return {
    facts: describeFacts(facts),
    guarantees,
    fit: guarantees.every(({ state }) => state !== 'missing'),
  };
}

const findings = (facts: HostFacts): readonly Finding[] => [
  { id: 'tools', title: 'System tools', ...tools(facts) },
  { id: 'user-namespaces', title: 'A user namespace for each sandbox', ...userNamespaces(facts) },
  { id: 'sandbox-kernel', title: 'A kernel of its own for each sandbox', ...sandboxKernel(facts) },
  { id: 'seccomp', title: 'System call filters', ...seccomp(facts) },
  { id: 'confinement', title: 'Confinement of trusted processes', ...confinement(facts) },
  { id: 'staged-workspace', title: 'Staged workspaces', ...overlay(facts) },
  { id: 'cgroup-limits', title: 'Limits in the kernel', ...cgroupLimits(facts) },
  { id: 'disk-limit', title: 'Disk limit of a workspace', ...diskLimit(facts) },
  { id: 'disk-space', title: 'Disk space', ...diskSpace(facts) },
  { id: 'apparmor', title: 'AppArmor', ...apparmor(facts) },
];

const reason = (attempt: Attempt): string => (attempt.works ? '' : attempt.said);

function tools(facts: HostFacts): Pick<Finding, 'state' | 'detail' | 'todo'> {
  const without = neededTools.filter((name) => !facts.tools[name].works);
  if (without.length === 0) return held('setpriv, unshare and mount have the options that the driver needs');
  return missing(
    without.map((name) => `${name}: ${reason(facts.tools[name])}`).join('; '),
    'Install util-linux 2.38 or later.',
  );
}

function userNamespaces(facts: HostFacts): Pick<Finding, 'state' | 'detail' | 'todo'> {
  for (const attempt of [facts.userNamespaces, facts.sandboxNamespaces]) {
    if (attempt.works) continue;
    return missing(
      `this host does not let the driver make them: ${attempt.said}`,
      facts.apparmor.restrictsUserNamespaces
        ? 'AppArmor restricts them here: as root, `sysctl kernel.apparmor_restrict_unprivileged_userns=0`, or run Glovebox as root.'
        : 'As root, `sysctl user.max_user_namespaces=15000` (and on Debian `sysctl kernel.unprivileged_userns_clone=1`).',
    );
  }
  return held(
    facts.uid === 0
      ? 'each sandbox has a private range: runsc\u2019s own processes are not root on the host'
      : `uid ${facts.uid} is uid 65534 inside, and nobody else exists there`,
  );
}

function sandboxKernel(facts: HostFacts): Pick<Finding, 'state' | 'detail' | 'todo'> {
  if ('missing' in facts.runsc)
    return missing(facts.runsc.missing, 'Run `glovebox` from its folder once: its set-up gets runsc.');
  const { chosen, failed } = facts.platform;
  if (chosen !== null)
    return held(`gVisor (${chosen.name}) without a network; a whole sandbox was started in ${chosen.ms} ms`);
  return missing(
    `gVisor starts no sandbox here: ${failed.map(({ name, said }) => `${name}: ${said}`).join('; ') || 'no platform'}`,
    'systrap needs ptrace and seccomp, kvm needs /dev/kvm; in a container or a virtual machine allow one of them.',
  );
}

/** systrap and the inner filter both need to return an error, and to trap. */
function seccomp(facts: HostFacts): Pick<Finding, 'state' | 'detail' | 'todo'> {
  const without = ['errno', 'trap', 'kill_process'].filter(
    (action) => !facts.seccompActions.includes(action),
  );
  if (without.length === 0) return held('inside the sandbox, and around its kernel');
  return missing(
    `the kernel does not offer ${without.join(', ')}`,
    'Use a kernel with CONFIG_SECCOMP_FILTER.',
  );
}

function confinement(facts: HostFacts): Pick<Finding, 'state' | 'detail' | 'todo'> {
  if (facts.jailNamespaces.works)
    return held(
      'sidecars and the bus see no state folder, no home and no other process (mount namespace, not Landlock)',
    );
  return missing(
    `no namespaces for sidecars and the bus: ${reason(facts.jailNamespaces)}`,
    'Allow mount, PID and IPC namespaces: `sysctl user.max_mnt_namespaces user.max_pid_namespaces`.',
  );
}

function overlay(facts: HostFacts): Pick<Finding, 'state' | 'detail' | 'todo'> {
  if (facts.overlay.works)
    return held('an agent\u2019s changes lie in a layer of their own until somebody applies them');
  return missing(
    `overlayfs does not mount: ${reason(facts.overlay)}`,
    facts.uid === 0
      ? 'Load the overlay module, and keep the state folder on ext4, xfs or btrfs.'
      : 'Use a kernel of 5.11 or later, and keep the state folder on ext4, xfs or btrfs.',
  );
}

function cgroupLimits(facts: HostFacts): Pick<Finding, 'state' | 'detail' | 'todo'> {
  const states = controllers.map((name) => ({ name, found: facts.cgroups.controllers[name] }));
  const without = states.flatMap(({ name, found }) =>
    'missing' in found ? [{ name, why: found.missing }] : [],
  );
  if (without.length === 0) return held(`memory, cpu and processes, by cgroups (${facts.cgroups.layout})`);
  return missing(
    `not limited by the kernel: ${without.map(({ name }) => name).join(', ')}. ${[...new Set(without.map(({ why }) => why))].join('; ')}`,
    facts.uid !== 0 && facts.cgroups.layout === 'v2'
      ? 'Start it with `systemd-run --user --scope -p Delegate=yes glovebox up`, or give the limits up: `glovebox doctor --waive cgroup-limits`.'
      : 'Run Glovebox as root on a host with memory, cpu and pids cgroups, or give the limits up: `glovebox doctor --waive cgroup-limits`.',
  );
}

function diskLimit(facts: HostFacts): Pick<Finding, 'state' | 'detail' | 'todo'> {
  if (facts.sizedDisk === null)
    return {
      state: 'absent-ok',
      detail: `an ordinary user cannot mount a sized file system: changes are measured every ${limits.sandboxDiskWatch.value} ms, and a session that exceeds its tier ends`,
      todo: null,
    };
  if (facts.sizedDisk.works) return held('a file system of the tier\u2019s size holds the changes');
  return missing(
    `no sized file system can be made: ${facts.sizedDisk.said}`,
    'Install e2fsprogs (mkfs.ext4) and allow loop devices (`modprobe loop`).',
  );
}

function diskSpace(facts: HostFacts): Pick<Finding, 'state' | 'detail' | 'todo'> {
  const { folder, freeBytes } = facts.disk;
  // Without space for its record no operation may happen [R42].
  if (freeBytes >= limits.hostDiskFree.value) return held('enough for the audit trail and a session');
  return missing(
    `${Math.floor(freeBytes / 2 ** 20)} MiB are free in ${folder}`,
    `Free ${Math.ceil(limits.hostDiskFree.value / 2 ** 20)} MiB there.`,
  );
}

function apparmor(facts: HostFacts): Pick<Finding, 'state' | 'detail' | 'todo'> {
  if (!facts.apparmor.enabled)
    return missing(
      'this kernel has no AppArmor, or it is disabled',
      'Boot with `apparmor=1 security=apparmor` where the kernel has it, or give this layer up: `glovebox doctor --waive apparmor`.',
    );
  if (facts.apparmor.profile.works)
    return held('runsc\u2019s processes run under the profile glovebox-sandbox');
  return missing(
    `the profile glovebox-sandbox is not in force: ${facts.apparmor.profile.said}`,
    'As root: `apparmor_parser -r deploy/apparmor/glovebox-sandbox`.',
  );
}
