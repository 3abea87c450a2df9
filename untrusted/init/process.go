package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

const executable = 1 // X_OK

type process struct {
	pid int // also its process group and its session
	// ends are ours of the pipes behind its descriptors, by their numbers; the first three of a terminal are
	// its master.
	ends     []*os.File
	terminal bool
}

func (s *sandbox) start(c command) error {
	if s.processes[c.ID] != nil {
		return fmt.Errorf("id is in use: %w", syscall.EEXIST)
	}
	if err := syscall.Access(c.Cwd, executable); err != nil {
		return fmt.Errorf("working directory %s: %w", c.Cwd, err)
	}
	path, err := findProgram(c.Argv[0], c.Env, c.Cwd)
	if err != nil {
		return fmt.Errorf("%s: %w", c.Argv[0], err)
	}
	ours, theirs, err := openStdio(c.Terminal, c.Fd3 != nil)
	attr := syscall.ProcAttr{Dir: c.Cwd, Env: c.Env, Sys: &syscall.SysProcAttr{Setsid: true, Setctty: c.Terminal != nil}}
	for _, file := range theirs {
		defer file.Close()
		attr.Files = append(attr.Files, file.Fd())
	}
	p := &process{ends: ours, terminal: c.Terminal != nil}
	if err == nil {
		p.pid, err = syscall.ForkExec(path, c.Argv, &attr)
	}
	if err != nil {
		for _, file := range ours {
			file.Close()
		}
		return fmt.Errorf("%s: %w", c.Argv[0], err)
	}
	s.processes[c.ID] = p
	s.send(event{"type": "started", "id": c.ID, "pid": p.pid})
	p.carry(s.link, c.ID, c.Fd3)
	return nil
}

// findProgram is execvp's search, in the PATH that the program is to have, not in ours.
func findProgram(name string, env []string, cwd string) (string, error) {
	if strings.Contains(name, "/") {
		return name, nil // execve has the last word, after the change of directory
	}
	path := "/usr/local/bin:/usr/bin:/bin"
	for _, entry := range env {
		if value, ok := strings.CutPrefix(entry, "PATH="); ok {
			path = value
			break
		}
	}
	result := error(syscall.ENOENT)
	for _, folder := range filepath.SplitList(path) {
		if !filepath.IsAbs(folder) {
			folder = filepath.Join(cwd, folder)
		}
		candidate := filepath.Join(folder, name)
		if info, err := os.Stat(candidate); err != nil || !info.Mode().IsRegular() {
			continue
		}
		if syscall.Access(candidate, executable) == nil {
			return candidate, nil
		}
		result = syscall.EACCES
	}
	return "", result
}

// reap waits for every child that has ended, ours and adopted.
func (s *sandbox) reap() {
	for {
		var status syscall.WaitStatus
		pid, err := syscall.Wait4(-1, &status, syscall.WNOHANG, nil)
		if err != nil || pid <= 0 {
			return
		}
		for id, p := range s.processes {
			if p.pid != pid {
				continue
			}
			delete(s.processes, id)
			p.expireStdio()
			exited := event{"type": "exited", "id": id, "code": status.ExitStatus(), "signal": nil}
			if status.Signaled() {
				exited["code"], exited["signal"] = nil, int(status.Signal())
			}
			s.send(exited)
		}
	}
}

// kill signals the group. ESRCH is the only failure (the uid is ours), and means that it is gone already.
func (p *process) kill(number syscall.Signal) { _ = syscall.Kill(-p.pid, number) }
