/**
 * The seccomp filter of every sandbox: deny by default, and a strict subset of what container runtimes allow a process
 * without capabilities [R23].
 *
 * Left out of that default on purpose: ptrace, process_vm_*, process_madvise, kcmp and pidfd_getfd (init has the agent's
 * uid, and its descriptors are the link), io_uring_* and the obsolete or kernel-keyring calls, memfd_secret,
 * name_to_handle_at and fanotify, personality with anything but its query and the default, clock setting, swap of LDT.
 *
 * clone3 takes its flags from memory, which no filter can read, so it is denied altogether: that is what makes a new
 * user namespace impossible by any call. runsc answers EPERM whatever errnoRet says, which breaks pthread_create, so
 * init installs a second filter that answers ENOSYS: of two filters that return an errno, the newest one's counts.
 */
const allowed: readonly string[] = [
  // processes and threads
  ...['execve', 'execveat', 'exit', 'exit_group', 'fork', 'vfork', 'wait4', 'waitid', 'waitpid'],
  ...['getpid', 'getppid', 'gettid', 'getpgid', 'getpgrp', 'setpgid', 'getsid', 'setsid', 'set_tid_address'],
  ...[
    'set_robust_list',
    'get_robust_list',
    'set_thread_area',
    'get_thread_area',
    'arch_prctl',
    'prctl',
    'rseq',
  ],
  ...['futex', 'futex_waitv', 'membarrier', 'restart_syscall', 'seccomp', 'capget', 'capset', 'pidfd_open'],
  ...['pidfd_send_signal', 'getcpu', 'ioprio_get', 'ioprio_set', 'getpriority', 'setpriority'],
  ...['sched_getaffinity', 'sched_setaffinity', 'sched_getattr', 'sched_setattr', 'sched_getparam'],
  ...['sched_setparam', 'sched_getscheduler', 'sched_setscheduler', 'sched_get_priority_max'],
  ...['sched_get_priority_min', 'sched_rr_get_interval', 'sched_yield'],
  // users: without capabilities these change nothing that is not the agent's already
  ...['getuid', 'geteuid', 'getgid', 'getegid', 'getresuid', 'getresgid', 'getgroups'],
  ...[
    'setuid',
    'setgid',
    'setreuid',
    'setregid',
    'setresuid',
    'setresgid',
    'setgroups',
    'setfsuid',
    'setfsgid',
  ],
  // signals
  ...['kill', 'tkill', 'tgkill', 'pause', 'alarm', 'rt_sigaction', 'rt_sigpending', 'rt_sigprocmask'],
  ...[
    'rt_sigqueueinfo',
    'rt_sigreturn',
    'rt_sigsuspend',
    'rt_sigtimedwait',
    'rt_tgsigqueueinfo',
    'sigaltstack',
  ],
  ...['signalfd', 'signalfd4'],
  // memory
  ...[
    'brk',
    'mmap',
    'munmap',
    'mprotect',
    'mremap',
    'msync',
    'madvise',
    'mincore',
    'mlock',
    'mlock2',
    'mlockall',
  ],
  ...[
    'munlock',
    'munlockall',
    'memfd_create',
    'remap_file_pages',
    'pkey_alloc',
    'pkey_free',
    'pkey_mprotect',
  ],
  ...['shmat', 'shmctl', 'shmdt', 'shmget', 'semctl', 'semget', 'semop', 'semtimedop'],
  ...['msgctl', 'msgget', 'msgrcv', 'msgsnd', 'mq_getsetattr', 'mq_notify', 'mq_open', 'mq_timedreceive'],
  ...['mq_timedsend', 'mq_unlink'],
  // files
  ...[
    'open',
    'openat',
    'openat2',
    'creat',
    'close',
    'close_range',
    'read',
    'readv',
    'pread64',
    'preadv',
    'preadv2',
  ],
  ...['write', 'writev', 'pwrite64', 'pwritev', 'pwritev2', 'lseek', 'sendfile', 'splice', 'tee', 'vmsplice'],
  ...[
    'copy_file_range',
    'fallocate',
    'fadvise64',
    'readahead',
    'truncate',
    'ftruncate',
    'flock',
    'fcntl',
    'ioctl',
  ],
  ...[
    'dup',
    'dup2',
    'dup3',
    'pipe',
    'pipe2',
    'stat',
    'fstat',
    'lstat',
    'newfstatat',
    'statx',
    'statfs',
    'fstatfs',
  ],
  ...['access', 'faccessat', 'faccessat2', 'getdents', 'getdents64', 'getcwd', 'chdir', 'fchdir', 'umask'],
  ...[
    'mkdir',
    'mkdirat',
    'rmdir',
    'link',
    'linkat',
    'unlink',
    'unlinkat',
    'symlink',
    'symlinkat',
    'readlink',
  ],
  ...['readlinkat', 'rename', 'renameat', 'renameat2', 'mknod', 'mknodat', 'chmod', 'fchmod', 'fchmodat'],
  ...['chown', 'fchown', 'fchownat', 'lchown', 'utime', 'utimes', 'utimensat', 'futimesat'],
  ...[
    'fsync',
    'fdatasync',
    'sync',
    'syncfs',
    'sync_file_range',
    'getxattr',
    'lgetxattr',
    'fgetxattr',
    'setxattr',
  ],
  ...['lsetxattr', 'fsetxattr', 'listxattr', 'llistxattr', 'flistxattr', 'removexattr', 'lremovexattr'],
  ...['fremovexattr', 'inotify_init', 'inotify_init1', 'inotify_add_watch', 'inotify_rm_watch'],
  ...['io_setup', 'io_submit', 'io_getevents', 'io_pgetevents', 'io_cancel', 'io_destroy'],
  ...['landlock_create_ruleset', 'landlock_add_rule', 'landlock_restrict_self'],
  // waiting
  ...['poll', 'ppoll', 'select', 'pselect6', 'epoll_create', 'epoll_create1', 'epoll_ctl', 'epoll_wait'],
  ...['epoll_pwait', 'epoll_pwait2', 'eventfd', 'eventfd2'],
  // sockets: there is no interface but loopback to use them on
  ...['socketpair', 'bind', 'listen', 'accept', 'accept4', 'connect', 'getsockname', 'getpeername'],
  ...[
    'sendto',
    'sendmsg',
    'sendmmsg',
    'recvfrom',
    'recvmsg',
    'recvmmsg',
    'setsockopt',
    'getsockopt',
    'shutdown',
  ],
  // time
  ...['time', 'times', 'gettimeofday', 'clock_gettime', 'clock_getres', 'clock_nanosleep', 'nanosleep'],
  ...['getitimer', 'setitimer', 'timer_create', 'timer_delete', 'timer_getoverrun', 'timer_gettime'],
  ...['timer_settime', 'timerfd_create', 'timerfd_gettime', 'timerfd_settime'],
  // the system
  ...['uname', 'sysinfo', 'getrandom', 'getrusage', 'getrlimit', 'setrlimit', 'prlimit64'],
];

export interface OciSeccompArg {
  readonly index: number;
  readonly value: number;
  readonly valueTwo?: number;
  readonly op: 'SCMP_CMP_EQ' | 'SCMP_CMP_NE' | 'SCMP_CMP_MASKED_EQ';
}

export interface OciSeccompRule {
  readonly names: readonly string[];
  readonly action: 'SCMP_ACT_ALLOW';
  readonly args?: readonly OciSeccompArg[];
}

export interface OciSeccomp {
  readonly defaultAction: 'SCMP_ACT_ERRNO';
  readonly architectures: readonly string[];
  readonly syscalls: readonly OciSeccompRule[];
}

/** CLONE_NEWNS, NEWCGROUP, NEWUTS, NEWIPC, NEWUSER, NEWPID and NEWNET together (linux/sched.h). */
export const cloneNamespaceFlags = 0x7e020000;
const afVsock = 40;
const perLinux = 0;
const personalityQuery = 0xffffffff;

/** The rules as a list of its own, so that the guard can compare a spec's filter with it. */
export const floorSeccomp: OciSeccomp = {
  defaultAction: 'SCMP_ACT_ERRNO',
  architectures: ['SCMP_ARCH_X86_64', 'SCMP_ARCH_AARCH64'],
  syscalls: [
    { names: allowed, action: 'SCMP_ACT_ALLOW' },
    {
      names: ['clone'],
      action: 'SCMP_ACT_ALLOW',
      args: [{ index: 0, value: cloneNamespaceFlags, valueTwo: 0, op: 'SCMP_CMP_MASKED_EQ' }],
    },
    {
      names: ['socket'],
      action: 'SCMP_ACT_ALLOW',
      args: [{ index: 0, value: afVsock, op: 'SCMP_CMP_NE' }],
    },
    {
      names: ['personality'],
      action: 'SCMP_ACT_ALLOW',
      args: [{ index: 0, value: perLinux, op: 'SCMP_CMP_EQ' }],
    },
    {
      names: ['personality'],
      action: 'SCMP_ACT_ALLOW',
      args: [{ index: 0, value: personalityQuery, op: 'SCMP_CMP_EQ' }],
    },
  ],
};
