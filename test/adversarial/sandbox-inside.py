"""What an attacker tries from inside a sandbox. Each attempt prints one line: its name, then what came of it."""

import ctypes, errno, os, socket, struct, sys

libc = ctypes.CDLL(None, use_errno=True)
NR = {"unshare": 272, "setns": 308, "clone": 56, "clone3": 435, "mount": 165, "umount2": 166, "chroot": 161,
      "pivot_root": 155, "ptrace": 101, "bpf": 321, "keyctl": 250, "io_uring_setup": 425, "userfaultfd": 323,
      "perf_event_open": 298, "init_module": 175, "kexec_load": 246, "open_tree": 428, "fsopen": 430, "move_mount": 429,
      "pidfd_getfd": 438, "process_vm_readv": 310, "personality": 135, "iopl": 172, "swapon": 167, "reboot": 169,
      "add_key": 248, "open_by_handle_at": 304, "memfd_secret": 447, "seccomp": 317}


def call(name, *args):
    ctypes.set_errno(0)
    result = libc.syscall(NR[name], *args)
    if name in ("clone", "clone3") and result == 0:
        os._exit(0)
    return "worked" if result >= 0 else errno.errorcode.get(ctypes.get_errno(), str(ctypes.get_errno()))


def attempt(name, action):
    try:
        result = action()
    except OSError as error:
        result = errno.errorcode.get(error.errno, str(error.errno))
    except Exception as error:
        result = type(error).__name__
    print(f"{name}\t{result}", flush=True)


def opened(path, flags=os.O_RDONLY):
    os.close(os.open(path, flags))
    return "worked"


def sock(family, kind, protocol=0):
    socket.socket(family, kind, protocol).close()
    return "worked"


def connect(address, family=socket.AF_INET, kind=socket.SOCK_STREAM):
    with socket.socket(family, kind) as s:
        s.settimeout(3)
        s.connect(address)
        if kind == socket.SOCK_DGRAM:
            s.send(b"x")
    return "worked"


def namespaces():
    for flag, name in ((0x10000000, "user"), (0x00020000, "mount"), (0x40000000, "net"), (0x20000000, "pid"),
                       (0x08000000, "ipc"), (0x04000000, "uts"), (0x02000000, "cgroup"), (0x80, "time")):
        attempt(f"unshare {name}", lambda: call("unshare", flag))
        if name != "time":
            attempt(f"clone {name}", lambda: call("clone", flag | 17, 0, 0, 0, 0))
        block = ctypes.create_string_buffer(struct.pack("11Q", flag, 0, 0, 0, 0 if name == "time" else 17, *[0] * 6))
        attempt(f"clone3 {name}", lambda: call("clone3", block, 88))
    attempt("clone with high bits", lambda: call("clone", ctypes.c_ulong(0x1_1000_0011), 0, 0, 0, 0))
    attempt("setns", lambda: call("setns", os.open("/proc/self/ns/user", os.O_RDONLY), 0))


def calls():
    empty = ctypes.create_string_buffer(4096)
    attempt("mount tmpfs", lambda: call("mount", b"none", b"/tmp", b"tmpfs", 0, 0))
    attempt("mount bind", lambda: call("mount", b"/etc", b"/tmp", 0, 4096, 0))
    attempt("remount root", lambda: call("mount", 0, b"/", 0, 32 | 4096, 0))
    attempt("remount usr", lambda: call("mount", 0, b"/usr", 0, 32 | 4096, 0))
    attempt("umount", lambda: call("umount2", b"/etc", 2))
    attempt("chroot", lambda: call("chroot", b"/tmp"))
    attempt("pivot_root", lambda: call("pivot_root", b"/tmp", b"/tmp"))
    for name in ("ptrace", "bpf", "keyctl", "io_uring_setup", "userfaultfd", "perf_event_open", "init_module", "kexec_load",
                 "open_tree", "fsopen", "move_mount", "pidfd_getfd", "process_vm_readv", "iopl", "swapon", "reboot", "add_key",
                 "open_by_handle_at", "memfd_secret"):
        attempt(name, lambda: call(name, 1, empty, 0, 0, 0, 0))
    attempt("personality", lambda: call("personality", 0x0400000))
    for kind, mode in (("block", 0o60000), ("char", 0o20000)):
        attempt(f"mknod {kind}", lambda: os.mknod(f"/tmp/{kind}", mode | 0o666, os.makedev(8, 0)) or "worked")
        attempt(f"mknod {kind} in workspace", lambda: os.mknod(f"/workspace/{kind}", mode | 0o666, os.makedev(8, 0)) or "worked")
    attempt("setuid 0", lambda: os.setuid(0) or "worked")
    attempt("setgroups", lambda: os.setgroups([0]) or "worked")


def files():
    for path in ("/proc/1/mem", "/proc/1/environ", "/proc/1/root/etc/passwd", "/proc/1/fd/3", "/proc/kcore", "/proc/kmsg",
                 "/dev/mem", "/dev/kmsg", "/dev/sda", "/dev/vda", "/dev/kvm", "/dev/fuse", "/dev/loop0", "/dev/net/tun",
                 "/etc/shadow", "/run/docker.sock", "/var/run/docker.sock", "/root", "/home/agent/../../root/.ssh"):
        attempt(f"read {path}", lambda: opened(path))
    for path in ("/proc/sys/kernel/core_pattern", "/proc/sysrq-trigger", "/sys/kernel/uevent_helper", "/usr/bin/env",
                 "/etc/passwd", "/opt/glovebox/init", "/etc/ssl/certs/ca-certificates.crt", "/new-at-root"):
        attempt(f"write {path}", lambda: opened(path, os.O_WRONLY | (os.O_CREAT if "new" in path else 0)))
    def inherited():
        more = []
        for fd in range(3, 4096):
            try:
                os.fstat(fd)
                more.append(str(fd))
            except OSError:
                pass
        return ",".join(more) or "none"
    attempt("inherited descriptors", inherited)
    status = dict(line.split(":\t", 1) for line in open("/proc/self/status").read().splitlines() if ":\t" in line)
    for key in ("CapInh", "CapPrm", "CapEff", "CapBnd"):
        attempt(key, lambda: status.get(key, "?"))
    attempt("NoNewPrivs", lambda: str(libc.prctl(39, 0, 0, 0, 0)))
    attempt("uid", lambda: f"{os.getuid()} {os.getgid()} {os.getgroups()}")


def network(host_port):
    attempt("interfaces", lambda: ",".join(name for _, name in socket.if_nameindex()))
    attempt("raw icmp", lambda: sock(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP))
    attempt("raw tcp", lambda: sock(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_TCP))
    attempt("packet", lambda: sock(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3)))
    attempt("packet dgram", lambda: sock(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(3)))
    def tun():
        import fcntl
        with open("/dev/net/tun", "r+b", buffering=0) as device:
            fcntl.ioctl(device, 0x400454CA, struct.pack("16sH22x", b"gb0", 0x1001))
        return "worked"
    attempt("tun interface", tun)
    attempt("vsock", lambda: sock(40, socket.SOCK_STREAM))
    attempt("host loopback", lambda: connect(("127.0.0.1", host_port)))
    attempt("host loopback v6", lambda: connect(("::1", host_port), socket.AF_INET6))
    for address in ("1.1.1.1", "169.254.169.254", "10.0.0.1", "192.168.0.1"):
        attempt(f"tcp {address}", lambda: connect((address, 80)))
        attempt(f"udp {address}", lambda: connect((address, 53), kind=socket.SOCK_DGRAM))
    attempt("name", lambda: socket.getaddrinfo("example.com", 80) and "worked")
    attempt("abstract socket", lambda: connect("\0gb-host-abstract", socket.AF_UNIX))
    attempt("workspace socket", lambda: connect("/workspace/.git/fsmonitor--daemon.ipc", socket.AF_UNIX))
    attempt("workspace fifo", lambda: opened("/workspace/host-fifo", os.O_WRONLY | os.O_NONBLOCK))


def controls():
    attempt("control fork", lambda: "worked" if os.waitpid(os.fork() or os._exit(0), 0) else "")
    import threading
    thread = threading.Thread(target=lambda: None)
    attempt("control thread", lambda: (thread.start(), thread.join()) and "worked")
    attempt("control read", lambda: opened("/etc/passwd"))
    attempt("control write", lambda: opened("/workspace/made", os.O_WRONLY | os.O_CREAT))
    def own_socket():
        with socket.socket(socket.AF_UNIX) as server, socket.socket(socket.AF_UNIX) as client:
            server.bind("/workspace/own.sock")
            server.listen()
            client.connect("/workspace/own.sock")
            return "worked"
    attempt("control own socket", own_socket)
    def loopback():
        with socket.create_server(("127.0.0.1", 0)) as server:
            return connect(server.getsockname())
    attempt("control loopback", loopback)


{"namespaces": namespaces, "calls": calls, "files": files, "network": lambda: network(int(sys.argv[2])), "controls": controls}[sys.argv[1]]()
