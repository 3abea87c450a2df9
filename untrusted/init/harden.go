package main

import (
	"net"
	"os"
	"syscall"
	"unsafe"
)

// caughtSignals are taken off their default so that a stray one does not end the sandbox, and caught rather
// than ignored because exec resets a caught signal and keeps an ignored one.
var caughtSignals = []os.Signal{
	syscall.SIGCHLD, syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP, syscall.SIGQUIT, syscall.SIGUSR1,
	syscall.SIGUSR2, syscall.SIGPIPE, syscall.SIGALRM, syscall.SIGTSTP, syscall.SIGTTIN, syscall.SIGTTOU,
}

const (
	prSetDumpable       = 4
	prSetChildSubreaper = 36
	prSetNoNewPrivs     = 38

	seccompSetModeFilter = 1
	seccompFlagTsync     = 1
	seccompRetAllow      = 0x7fff0000
	seccompRetErrno      = 0x00050000

	// Offsets into struct seccomp_data: the low half of an argument comes first (both ports are
	// little-endian).
	offNr, offArch, offArg0 = 0, 4, 16

	closeRangeCloexec = 4

	// namespaceFlags: CLONE_NEW{NS,CGROUP,UTS,IPC,USER,PID,NET}. CLONE_NEWTIME shares its bit with clone's
	// exit signal, so it is tested in unshare alone.
	namespaceFlags = 0x00020000 | 0x02000000 | 0x04000000 | 0x08000000 | 0x10000000 | 0x20000000 | 0x40000000
	cloneNewtime   = 0x00000080
)

// closeOnExecFrom marks every inherited descriptor: a child gets 0, 1, 2 and, where asked for, 3.
func closeOnExecFrom(first int) error {
	_, _, errno := syscall.Syscall(sysCloseRange, uintptr(first), uintptr(^uint32(0)), closeRangeCloexec)
	if errno != 0 {
		return errno
	}
	return nil
}

// lockDown filters this process and, by inheritance, every process of the sandbox. It is installed once on
// all threads (TSYNC), which costs a start of the agent nothing [R23].
func lockDown() error {
	if err := prctl(prSetNoNewPrivs, 1); err != nil {
		return err
	}
	// The agent has our uid: without this it could take the link out of us with pidfd_getfd or ptrace.
	if err := prctl(prSetDumpable, 0); err != nil {
		return err
	}
	if err := prctl(prSetChildSubreaper, 1); err != nil {
		return err
	}
	filter := namespaceFilter()
	program := syscall.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}
	thread, _, errno := syscall.Syscall(sysSeccomp, seccompSetModeFilter, seccompFlagTsync,
		uintptr(unsafe.Pointer(&program)))
	if errno != 0 {
		return errno
	}
	if thread != 0 { // the thread that could not be brought under the filter
		return syscall.EAGAIN
	}
	return nil
}

// namespaceFilter refuses new namespaces by every call that makes or enters one. clone3 takes its flags from
// memory, which a filter cannot read, so it does not exist here (ENOSYS): libraries then fall back to clone,
// which EPERM, the only answer an OCI filter can give in gVisor, would keep them from.
func namespaceFilter() []syscall.SockFilter {
	const (
		load     = syscall.BPF_LD | syscall.BPF_W | syscall.BPF_ABS
		equal    = syscall.BPF_JMP | syscall.BPF_JEQ | syscall.BPF_K
		atLeast  = syscall.BPF_JMP | syscall.BPF_JGE | syscall.BPF_K
		anyBit   = syscall.BPF_JMP | syscall.BPF_JSET | syscall.BPF_K
		ret      = syscall.BPF_RET | syscall.BPF_K
		x32Start = 0x40000000
	)
	deny := uint32(seccompRetErrno | uint32(syscall.EPERM))
	return []syscall.SockFilter{
		{Code: load, K: offArch},
		{Code: equal, K: auditArch, Jt: 1},
		{Code: ret, K: deny}, // another architecture's numbers mean other calls
		{Code: load, K: offNr},
		{Code: atLeast, K: x32Start, Jt: 9}, // → deny
		{Code: equal, K: sysClone3, Jt: 9},  // → absent
		{Code: equal, K: sysSetns, Jt: 7},   // → deny
		{Code: equal, K: sysUnshare, Jt: 2}, // → its flags
		{Code: equal, K: sysClone, Jt: 3},   // → its flags
		{Code: ret, K: seccompRetAllow},
		{Code: load, K: offArg0}, // unshare
		{Code: anyBit, K: namespaceFlags | cloneNewtime, Jt: 2, Jf: 4},
		{Code: load, K: offArg0}, // clone
		{Code: anyBit, K: namespaceFlags, Jt: 0, Jf: 2},
		{Code: ret, K: deny},
		{Code: ret, K: seccompRetErrno | uint32(syscall.ENOSYS)}, // absent
		{Code: ret, K: seccompRetAllow},
	}
}

func prctl(option, value uintptr) error {
	if _, _, errno := syscall.Syscall6(syscall.SYS_PRCTL, option, value, 0, 0, 0, 0); errno != 0 {
		return errno
	}
	return nil
}

// raiseLoopback sets the loopback interface up where the sandbox came without it.
func raiseLoopback() error {
	if lo, err := net.InterfaceByName("lo"); err == nil && lo.Flags&net.FlagUp != 0 {
		return nil
	}
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_DGRAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer syscall.Close(fd)
	request := struct { // struct ifreq
		name  [16]byte
		flags uint16
		_     [22]byte
	}{name: [16]byte{'l', 'o'}}
	if err := ioctl(uintptr(fd), syscall.SIOCGIFFLAGS, unsafe.Pointer(&request)); err != nil {
		return err
	}
	request.flags |= syscall.IFF_UP
	return ioctl(uintptr(fd), syscall.SIOCSIFFLAGS, unsafe.Pointer(&request))
}

func ioctl(fd, request uintptr, argument unsafe.Pointer) error {
	if _, _, errno := syscall.Syscall(syscall.SYS_IOCTL, fd, request, uintptr(argument)); errno != 0 {
		return errno
	}
	return nil
}
