//go:build amd64 || arm64

package main

import (
	"fmt"
	"runtime"
	"syscall"
	"unsafe"
)

// What package syscall does not have. The numbers of calls are the same everywhere from 424 on.
const (
	sysClone3            = 435
	sysCloseRange        = 436
	closeRangeCloexec    = 4
	prSetDumpable        = 4
	prSetNoNewPrivs      = 38
	seccompSetModeFilter = 1
	seccompFlagTsync     = 1
	seccompRetAllow      = 0x7fff0000
	seccompRetErrno      = 0x00050000

	// namespaceFlags: CLONE_NEW{NS,CGROUP,UTS,IPC,USER,PID,NET}. CLONE_NEWTIME shares its bit with clone's
	// exit signal, so it is tested in unshare alone.
	namespaceFlags = 0x00020000 | 0x02000000 | 0x04000000 | 0x08000000 | 0x10000000 | 0x20000000 | 0x40000000
	cloneNewtime   = 0x00000080
)

var machine = map[string]struct{ audit, setns, seccomp uint32 }{
	"amd64": {0xc000003e, 308, 317},
	"arm64": {0xc00000b7, 268, 277},
}[runtime.GOARCH]

// refusals are every call that makes or enters a namespace. clone3 takes its flags from memory, which a filter
// cannot read, so it does not exist here (ENOSYS): libraries then fall back to clone, which EPERM, the only
// answer an OCI filter can give in gVisor, would keep them from.
var refusals = []struct {
	call  uint32
	flags uint32 // of the first argument: refused if it has any of them, or always if none is named here
	errno syscall.Errno
}{
	{sysClone3, 0, syscall.ENOSYS},
	{machine.setns, 0, syscall.EPERM},
	{syscall.SYS_UNSHARE, namespaceFlags | cloneNewtime, syscall.EPERM},
	{syscall.SYS_CLONE, namespaceFlags, syscall.EPERM},
}

// lockDown restricts this process and, by inheritance, every process of the sandbox. It is done once, for all
// threads (TSYNC), which costs a start of the agent nothing [R23].
func lockDown() error {
	// Every inherited descriptor: a child gets 0, 1, 2 and, where asked for, 3.
	_, _, errno := syscall.Syscall(sysCloseRange, linkFd, uintptr(^uint32(0)), closeRangeCloexec)
	if errno != 0 {
		return fmt.Errorf("close-on-exec: %w", errno)
	}
	// The agent has our uid: a dumpable init it could take the link out of, with pidfd_getfd or ptrace.
	for _, option := range [][2]uintptr{{prSetNoNewPrivs, 1}, {prSetDumpable, 0}} {
		if _, _, errno := syscall.Syscall6(syscall.SYS_PRCTL, option[0], option[1], 0, 0, 0, 0); errno != 0 {
			return fmt.Errorf("prctl %d: %w", option[0], errno)
		}
	}
	filter := namespaceFilter()
	program := syscall.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}
	thread, _, errno := syscall.Syscall(uintptr(machine.seccomp), seccompSetModeFilter, seccompFlagTsync,
		uintptr(unsafe.Pointer(&program)))
	if errno != 0 || thread != 0 { // thread: one that could not be brought under the filter
		return fmt.Errorf("inner seccomp filter refused by thread %d: %w", thread, errno)
	}
	return nil
}

func namespaceFilter() []syscall.SockFilter {
	const (
		load    = syscall.BPF_LD | syscall.BPF_W | syscall.BPF_ABS
		equal   = syscall.BPF_JMP | syscall.BPF_JEQ | syscall.BPF_K
		atLeast = syscall.BPF_JMP | syscall.BPF_JGE | syscall.BPF_K
		anyBit  = syscall.BPF_JMP | syscall.BPF_JSET | syscall.BPF_K
		ret     = syscall.BPF_RET | syscall.BPF_K
		deny    = seccompRetErrno | uint32(syscall.EPERM)
		// Offsets into struct seccomp_data: the low half of an argument comes first (both machines are
		// little-endian).
		call, arch, firstArgument = 0, 4, 16
		x32Start                  = 0x40000000
	)
	filter := []syscall.SockFilter{
		// Another architecture's numbers mean other calls.
		{Code: load, K: arch}, {Code: equal, K: machine.audit, Jt: 1}, {Code: ret, K: deny},
		{Code: load, K: call}, {Code: atLeast, K: x32Start, Jf: 1}, {Code: ret, K: deny},
	}
	for _, r := range refusals {
		refused := syscall.SockFilter{Code: anyBit, K: r.flags, Jf: 1}
		if r.flags == 0 {
			refused.Code = atLeast // 0, which every argument is
		}
		filter = append(filter, []syscall.SockFilter{
			{Code: load, K: call}, {Code: equal, K: r.call, Jf: 3},
			{Code: load, K: firstArgument}, refused, {Code: ret, K: seccompRetErrno | uint32(r.errno)},
		}...)
	}
	return append(filter, syscall.SockFilter{Code: ret, K: seccompRetAllow})
}
