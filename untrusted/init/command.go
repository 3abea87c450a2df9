package main

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"strings"
	"syscall"
)

const (
	maxCommandLine = 1 << 20
	maxListeners   = 8
	maxNameLength  = 64
)

type listenSpec struct {
	Address string `json:"address"`
	Tunnel  string `json:"tunnel"`
}

type windowSize struct {
	Rows uint16 `json:"rows"`
	Cols uint16 `json:"cols"`
}

// command is the union of all commands.
type command struct {
	Type     string       `json:"type"`
	ID       string       `json:"id"`
	Listen   []listenSpec `json:"listen"`
	Argv     []string     `json:"argv"`
	Env      []string     `json:"env"`
	Cwd      string       `json:"cwd"`
	Terminal *windowSize  `json:"terminal"`
	Fd3      *[]byte      `json:"fd3"`
	Signal   int          `json:"signal"`
	windowSize
}

// parseCommand gives a command whose members may be used as they are. An id comes back, for the answer, only
// if it is a name.
func parseCommand(line []byte) (command, error) {
	var c command
	err := json.Unmarshal(line, &c)
	if !isName(c.ID) {
		if c.ID = ""; err == nil && c.Type != "configure" && c.Type != "stop" {
			err = fmt.Errorf("id is not a name")
		}
	}
	if err == nil {
		err = c.check()
	}
	if err != nil {
		return command{ID: c.ID}, fmt.Errorf("%v: %w", err, syscall.EINVAL)
	}
	return c, nil
}

func (c *command) check() error {
	switch c.Type {
	case "configure":
		for _, spec := range c.Listen {
			address, err := netip.ParseAddrPort(spec.Address)
			if err != nil || !address.Addr().IsLoopback() || !isName(spec.Tunnel) {
				return fmt.Errorf("not a loopback address with a named tunnel")
			}
		}
	case "start":
		if len(c.Argv) == 0 || c.Argv[0] == "" || !strings.HasPrefix(c.Cwd, "/") {
			return fmt.Errorf("argv is empty or cwd is not absolute")
		}
	case "signal":
		if c.Signal < 1 { // 0 and below mean other things to kill
			return fmt.Errorf("no such signal")
		}
	case "resize", "stop":
	default:
		return fmt.Errorf("unknown command")
	}
	return nil
}

// isName admits what may stand in a path of the link without being escaped.
func isName(text string) bool {
	return text != "" && len(text) <= maxNameLength && strings.Trim(text,
		"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_") == ""
}
