package main

import (
	"errors"
	"os"
	"strconv"
	"syscall"
	"unsafe"
)

const (
	tiocgptn   = 0x80045430
	tiocsptlck = 0x40045431
)

// openTerminal opens a pair by its names, so that ttyname finds it.
func (s *stdio) openTerminal(size windowSize) (err error) {
	if s.terminal, err = os.OpenFile("/dev/ptmx", os.O_RDWR|syscall.O_NOCTTY, 0); err != nil {
		return err
	}
	var unlock, number int32
	if err = errors.Join(onTerminal(s.terminal, tiocsptlck, unsafe.Pointer(&unlock)),
		onTerminal(s.terminal, tiocgptn, unsafe.Pointer(&number)), setWindowSize(s.terminal, size)); err != nil {
		return err
	}
	slave, err := os.OpenFile("/dev/pts/"+strconv.Itoa(int(number)), os.O_RDWR|syscall.O_NOCTTY, 0)
	s.child = []*os.File{slave, slave, slave}
	return err
}

func setWindowSize(master *os.File, size windowSize) error {
	winsize := [4]uint16{size.Rows, size.Cols}
	return onTerminal(master, syscall.TIOCSWINSZ, unsafe.Pointer(&winsize))
}

func onTerminal(master *os.File, request uintptr, argument unsafe.Pointer) error {
	raw, err := master.SyscallConn()
	if err != nil {
		return err
	}
	var result error
	if err := raw.Control(func(fd uintptr) { result = ioctl(fd, request, argument) }); err != nil {
		return err
	}
	return result
}

// signalTerminal delivers to the foreground group. gVisor does not tell which that is (TIOCGPGRP on the master
// is ENOTTY), so the three signals that have a key are typed, which its terminal then delivers itself; those
// that end or wake a session go to all of it. It says false where the process's own group is meant.
func signalTerminal(p *process, number syscall.Signal) bool {
	switch number {
	case syscall.SIGINT, syscall.SIGQUIT, syscall.SIGTSTP:
		return typeKey(p.terminal, number)
	case syscall.SIGTERM, syscall.SIGHUP, syscall.SIGKILL, syscall.SIGCONT, syscall.SIGWINCH:
		signalSession(p.pid, number)
		return true
	}
	return false
}

func typeKey(master *os.File, number syscall.Signal) bool {
	var settings syscall.Termios // the slave's, asked through the master
	err := onTerminal(master, syscall.TCGETS, unsafe.Pointer(&settings))
	key := settings.Cc[map[syscall.Signal]int{
		syscall.SIGINT: syscall.VINTR, syscall.SIGQUIT: syscall.VQUIT, syscall.SIGTSTP: syscall.VSUSP,
	}[number]]
	if err != nil || settings.Lflag&syscall.ISIG == 0 || key == 0 {
		return false
	}
	go master.Write([]byte{key}) // may wait, where nobody reads what was typed before
	return true
}

// signalSession signals each process of a session, whichever group it is in.
func signalSession(session int, number syscall.Signal) {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		_ = syscall.Kill(-session, number)
		return
	}
	for _, entry := range entries {
		pid, err := strconv.Atoi(entry.Name())
		if err != nil || pid <= 1 {
			continue
		}
		if sid, _, _ := syscall.RawSyscall(syscall.SYS_GETSID, uintptr(pid), 0, 0); int(sid) == session {
			_ = syscall.Kill(pid, number) // gone meanwhile
		}
	}
}
