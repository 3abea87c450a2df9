package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"syscall"
)

const (
	maxCommandLine = 1 << 20
	maxNameLength  = 64
	maxMessage     = 512
)

type (
	listenSpec struct{ Address, Tunnel string }
	windowSize struct{ Rows, Cols uint16 }
)

// command is the union of all commands. Go matches the names of members whatever their case.
type command struct {
	Type, ID   string
	Listen     []listenSpec
	Argv, Env  []string
	Cwd        string
	Terminal   *windowSize
	Fd3        []byte // nil: no descriptor 3
	Signal     int
	Chain      [][]byte
	windowSize // of a resize
}

// parseCommand gives a command whose members may be used as they are. An id comes back, for the answer, only
// if it is a name.
func parseCommand(line []byte) (command, error) {
	var c command
	err := json.Unmarshal(line, &c)
	if !isName(c.ID) {
		c.ID = ""
	}
	if err == nil && !c.valid() {
		err = errors.New("not a command, or not with what it needs")
	}
	if err != nil {
		return command{ID: c.ID}, fmt.Errorf("%v: %w", err, syscall.EINVAL)
	}
	return c, nil
}

func (c *command) valid() bool {
	switch c.Type {
	case "configure":
		return !slices.ContainsFunc(c.Listen, func(spec listenSpec) bool {
			address, err := netip.ParseAddrPort(spec.Address)
			return err != nil || !address.Addr().IsLoopback() || !isName(spec.Tunnel)
		})
	case "start":
		return c.ID != "" && len(c.Argv) > 0 && c.Argv[0] != "" && strings.HasPrefix(c.Cwd, "/")
	case "signal":
		return c.ID != "" && c.Signal > 0 // 0 and below mean other things to kill
	case "resize":
		return c.ID != ""
	}
	return c.Type == "stop" || c.Type == "renew"
}

// isName admits what may stand in a path of the link without being escaped.
func isName(text string) bool {
	return text != "" && len(text) <= maxNameLength && strings.Trim(text,
		"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_") == ""
}

// event is one line of what we answer and report.
type event map[string]any

func failure(id string, err error) event {
	message := err.Error()
	message = message[:min(len(message), maxMessage)]
	return event{"type": "failed", "id": id, "code": errorCode(err), "message": message}
}

var errorNames = map[syscall.Errno]string{
	syscall.E2BIG: "E2BIG", syscall.EACCES: "EACCES", syscall.EADDRINUSE: "EADDRINUSE", syscall.EAGAIN: "EAGAIN",
	syscall.EEXIST: "EEXIST", syscall.EINVAL: "EINVAL", syscall.EISDIR: "EISDIR", syscall.ELOOP: "ELOOP",
	syscall.EMFILE: "EMFILE", syscall.ENOENT: "ENOENT", syscall.ENOEXEC: "ENOEXEC", syscall.ENOMEM: "ENOMEM",
	syscall.ENOTDIR: "ENOTDIR", syscall.EPERM: "EPERM", syscall.ETXTBSY: "ETXTBSY",
}

// errorCode is the name by which the trusted side tells failures apart.
func errorCode(err error) string {
	var errno syscall.Errno
	if errors.As(err, &errno) && errorNames[errno] != "" {
		return errorNames[errno]
	}
	return "EFAILED"
}
