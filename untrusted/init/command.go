package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"strings"
)

// Bounds on what one command may ask for. The trusted side keeps far below them; they are here so that no
// input, however odd, makes init panic or grow without end.
const (
	maxCommandLine = 1 << 20
	maxListeners   = 8
	maxNameLength  = 64
	maxArguments   = 4096
	maxSignal      = 64
	maxDimension   = 4096
)

type listenSpec struct {
	Address string `json:"address"`
	Tunnel  string `json:"tunnel"`
}

type windowSize struct {
	Rows uint16 `json:"rows"`
	Cols uint16 `json:"cols"`
}

// command is the union of all commands; parseCommand has checked the members that its type uses.
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

func parseCommand(line []byte) (command, error) {
	var c command
	if err := json.Unmarshal(line, &c); err != nil {
		return command{ID: c.ID}, err
	}
	return c, c.check()
}

func (c *command) check() error {
	if c.Type != "configure" && c.Type != "stop" && !isName(c.ID) {
		c.ID = "" // it comes back in the answer
		return errors.New("id is not a name")
	}
	switch c.Type {
	case "configure":
		return checkListeners(c.Listen)
	case "start":
		return c.checkStart()
	case "signal":
		if c.Signal < 1 || c.Signal > maxSignal {
			return errors.New("no such signal")
		}
	case "resize":
		return c.windowSize.check()
	case "stop":
	default:
		return errors.New("unknown command")
	}
	return nil
}

func checkListeners(listen []listenSpec) error {
	if len(listen) > maxListeners {
		return fmt.Errorf("more than %d listeners", maxListeners)
	}
	for _, spec := range listen {
		address, err := netip.ParseAddrPort(spec.Address)
		if err != nil {
			return err
		}
		if !address.Addr().IsLoopback() || address.Addr().Zone() != "" {
			return errors.New("listeners are on loopback only")
		}
		if !isName(spec.Tunnel) {
			return errors.New("tunnel is not a name")
		}
	}
	return nil
}

func (c *command) checkStart() error {
	if len(c.Argv) == 0 || len(c.Argv) > maxArguments || len(c.Env) > maxArguments {
		return errors.New("argv or env is empty or too long")
	}
	if c.Argv[0] == "" || !strings.HasPrefix(c.Cwd, "/") {
		return errors.New("argv[0] is empty or cwd is not absolute")
	}
	for _, text := range append(append([]string{c.Cwd}, c.Argv...), c.Env...) {
		if strings.IndexByte(text, 0) >= 0 {
			return errors.New("argv, env or cwd contains a NUL")
		}
	}
	if c.Terminal != nil {
		return c.Terminal.check()
	}
	return nil
}

func (w windowSize) check() error {
	if w.Rows < 1 || w.Rows > maxDimension || w.Cols < 1 || w.Cols > maxDimension {
		return errors.New("terminal size out of range")
	}
	return nil
}

// isName admits what may stand in a path of the link without being escaped.
func isName(text string) bool {
	if len(text) == 0 || len(text) > maxNameLength {
		return false
	}
	for _, char := range []byte(text) {
		switch {
		case char >= 'a' && char <= 'z', char >= 'A' && char <= 'Z', char >= '0' && char <= '9':
		case char == '-' || char == '_':
		default:
			return false
		}
	}
	return true
}
