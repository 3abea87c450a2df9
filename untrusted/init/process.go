package main

import (
	"fmt"
	"os"
	"sync"
	"syscall"
	"time"
)

const (
	maxProcesses = 64
	// lingering is how long output may stay open behind an exited process, held by a child of its own.
	lingering = 2 * time.Second
)

type process struct {
	id       string
	pid      int // also its process group and its session
	terminal *os.File
	stdio    *stdio
}

// processTable holds what the trusted side started and has not exited. Its lock spans fork and registration,
// and reaping and removal, so that no exit is missed and no signal goes to a process id used again.
type processTable struct {
	link   *link
	events *events
	mu     sync.Mutex
	byID   map[string]*process
}

func newProcessTable(l *link) *processTable {
	return &processTable{link: l, events: newEvents(), byID: map[string]*process{}}
}

func (t *processTable) start(c command) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.byID[c.ID] != nil {
		return errInUse
	}
	if len(t.byID) == maxProcesses {
		return errTooMany
	}
	if err := syscall.Access(c.Cwd, 1); err != nil {
		return fmt.Errorf("working directory %s: %w", c.Cwd, err)
	}
	path, err := findProgram(c.Argv[0], c.Env, c.Cwd)
	if err != nil {
		return fmt.Errorf("%s: %w", c.Argv[0], err)
	}
	streams, err := openStdio(c.Terminal, c.Fd3)
	if err != nil {
		return err
	}
	pid, err := syscall.ForkExec(path, c.Argv, &syscall.ProcAttr{
		Dir:   c.Cwd,
		Env:   c.Env,
		Files: streams.childFiles(),
		Sys:   &syscall.SysProcAttr{Setsid: true, Setctty: c.Terminal != nil, Ctty: 0},
	})
	closeAll(streams.child...)
	if err != nil {
		closeAll(streams.own()...)
		return fmt.Errorf("%s: %w", c.Argv[0], err)
	}
	t.byID[c.ID] = &process{c.ID, pid, streams.terminal, streams}
	t.events.send(event{"type": "started", "id": c.ID, "pid": pid})
	streams.carry(t.link, c.ID)
	return nil
}

// reap waits for every child, ours and adopted.
func (t *processTable) reap(signals <-chan os.Signal) {
	for range signals {
		for t.reapOne() {
		}
	}
}

func (t *processTable) reapOne() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	var status syscall.WaitStatus
	pid, err := syscall.Wait4(-1, &status, syscall.WNOHANG, nil)
	if err == syscall.EINTR {
		return true
	}
	if err != nil || pid <= 0 {
		return false
	}
	for id, p := range t.byID {
		if p.pid == pid {
			delete(t.byID, id)
			p.stdio.exited()
			t.events.send(exitOf(id, status))
			break
		}
	}
	return true
}

func exitOf(id string, status syscall.WaitStatus) event {
	if status.Signaled() {
		return event{"type": "exited", "id": id, "code": nil, "signal": int(status.Signal())}
	}
	return event{"type": "exited", "id": id, "code": status.ExitStatus(), "signal": nil}
}

// signal does nothing for a process that is gone: its exit is on its way to whoever asked.
func (t *processTable) signal(id string, number int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	p := t.byID[id]
	if p == nil {
		return
	}
	if p.terminal != nil && signalTerminal(p, syscall.Signal(number)) {
		return
	}
	p.kill(syscall.Signal(number))
}

func (t *processTable) resize(id string, size windowSize) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if p := t.byID[id]; p != nil && p.terminal != nil && setWindowSize(p.terminal, size) == nil {
		signalSession(p.pid, syscall.SIGWINCH)
	}
}

// kill signals the group. ESRCH is the only failure (the uid is ours), and means that it is gone already.
func (p *process) kill(number syscall.Signal) { _ = syscall.Kill(-p.pid, number) }

func (t *processTable) killAll() {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, p := range t.byID {
		p.kill(syscall.SIGKILL)
	}
	if os.Getpid() == 1 { // elsewhere, in tests, -1 would be every process of the machine
		_ = syscall.Kill(-1, syscall.SIGKILL)
	}
}
