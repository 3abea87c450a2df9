package main

import (
	"errors"
	"os"
	"slices"
	"strconv"
	"syscall"
	"unsafe"
)

const tiocgptn, tiocsptlck = 0x80045430, 0x40045431

// keys are the signals that are typed, each as a key of the terminal; sessionSignals go to all of its session.
var keys = map[syscall.Signal]int{
	syscall.SIGINT: syscall.VINTR, syscall.SIGQUIT: syscall.VQUIT, syscall.SIGTSTP: syscall.VSUSP}
var sessionSignals = []syscall.Signal{
	syscall.SIGTERM, syscall.SIGHUP, syscall.SIGKILL, syscall.SIGCONT, syscall.SIGWINCH}

// openTerminal opens a pair by its names, so that ttyname finds it.
func openTerminal(size windowSize) (master, slave *os.File, err error) {
	if master, err = os.OpenFile("/dev/ptmx", os.O_RDWR|syscall.O_NOCTTY, 0); err != nil {
		return nil, nil, err
	}
	var unlock, number int32
	if err = errors.Join(ioctl(master, tiocsptlck, unsafe.Pointer(&unlock)),
		ioctl(master, tiocgptn, unsafe.Pointer(&number)), setWindowSize(master, size)); err != nil {
		return master, nil, err
	}
	slave, err = os.OpenFile("/dev/pts/"+strconv.Itoa(int(number)), os.O_RDWR|syscall.O_NOCTTY, 0)
	return master, slave, err
}

func setWindowSize(master *os.File, size windowSize) error {
	winsize := [4]uint16{size.Rows, size.Cols}
	return ioctl(master, syscall.TIOCSWINSZ, unsafe.Pointer(&winsize))
}

func ioctl(file *os.File, request uintptr, argument unsafe.Pointer) error {
	return withFd(file, func(fd uintptr) error {
		if _, _, errno := syscall.Syscall(syscall.SYS_IOCTL, fd, request, uintptr(argument)); errno != 0 {
			return errno
		}
		return nil
	})
}

// resize also tells those who watch: a terminal of gVisor does not.
func (p *process) resize(size windowSize) {
	if p.terminal && setWindowSize(p.ends[0], size) == nil {
		signalSession(p.pid, syscall.SIGWINCH)
	}
}

// signal delivers to the process's group, or to the foreground group of its terminal. gVisor does not tell which
// that is (TIOCGPGRP on the master is ENOTTY), so the three signals that have a key are typed, which its terminal
// then delivers itself; those that end or wake a session go to all of it.
func (p *process) signal(number syscall.Signal) {
	key, hasKey := keys[number]
	switch {
	case p.terminal && hasKey && typeKey(p.ends[0], key):
	case p.terminal && slices.Contains(sessionSignals, number):
		signalSession(p.pid, number)
	default:
		p.kill(number)
	}
}

func typeKey(master *os.File, key int) bool {
	var settings syscall.Termios // the slave's, asked through the master
	err := ioctl(master, syscall.TCGETS, unsafe.Pointer(&settings))
	if err != nil || settings.Lflag&syscall.ISIG == 0 || settings.Cc[key] == 0 {
		return false
	}
	go master.Write(settings.Cc[key : key+1]) // may wait, where nobody reads what was typed before
	return true
}

// signalSession signals each process of a session, whichever group it is in.
func signalSession(session int, number syscall.Signal) {
	entries, _ := os.ReadDir("/proc") // which every sandbox has
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
