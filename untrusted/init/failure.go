package main

import (
	"errors"
	"fmt"
	"syscall"
)

var (
	errTooMany = fmt.Errorf("too many at once: %w", syscall.EAGAIN)
	errInUse   = fmt.Errorf("id is in use: %w", syscall.EEXIST)
)

var errorNames = map[syscall.Errno]string{
	syscall.E2BIG: "E2BIG", syscall.EACCES: "EACCES", syscall.EADDRINUSE: "EADDRINUSE", syscall.EAGAIN: "EAGAIN",
	syscall.EEXIST: "EEXIST", syscall.EINVAL: "EINVAL", syscall.EISDIR: "EISDIR", syscall.ELOOP: "ELOOP",
	syscall.EMFILE: "EMFILE", syscall.ENOENT: "ENOENT", syscall.ENOEXEC: "ENOEXEC", syscall.ENOMEM: "ENOMEM",
	syscall.ENOTDIR: "ENOTDIR", syscall.EPERM: "EPERM", syscall.ETXTBSY: "ETXTBSY",
}

// errorCode is the name by which the trusted side tells failures apart.
func errorCode(err error) string {
	var errno syscall.Errno
	if !errors.As(err, &errno) {
		return "EFAILED"
	}
	if name, ok := errorNames[errno]; ok {
		return name
	}
	return fmt.Sprintf("E%d", int(errno))
}
