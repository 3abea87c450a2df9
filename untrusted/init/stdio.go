package main

import (
	"errors"
	"io"
	"os"
	"syscall"
	"time"
)

const (
	pipeSize   = 256 << 10
	fSetPipeSz = 1031
	// drainLimit bounds what is still read of a pipe whose time is over, and which somebody may still be
	// filling: no pipe here holds more.
	drainLimit = 1 << 20
)

// stdio is both ends of what a process has as its descriptors 0 to 3.
type stdio struct {
	child    []int // by descriptor number of the child
	terminal *os.File
	input    *os.File
	output   *os.File
	failure  *os.File
	extra    *os.File
	contents []byte // for extra
}

func openStdio(size *windowSize, contents *[]byte) (s *stdio, err error) {
	s = &stdio{}
	defer func() {
		if err != nil {
			s.closeChildSide()
			s.closeOwnSide()
		}
	}()
	if size != nil {
		err = s.openTerminal(*size)
	} else {
		err = errors.Join(s.pipe(&s.input, true), s.pipe(&s.output, false), s.pipe(&s.failure, false))
	}
	if err == nil && contents != nil {
		s.contents = *contents
		err = s.pipe(&s.extra, true)
	}
	return s, err
}

func (s *stdio) openTerminal(size windowSize) error {
	master, slave, err := openTerminal(size)
	if err != nil {
		return err
	}
	s.terminal = master
	s.child = []int{slave, slave, slave}
	return nil
}

// pipe makes the child's next descriptor. Only our end is non-blocking: programs do not expect it of theirs.
func (s *stdio) pipe(own **os.File, childReads bool) error {
	var ends [2]int
	if err := syscall.Pipe2(ends[:], syscall.O_CLOEXEC); err != nil {
		return err
	}
	ours, theirs := ends[0], ends[1]
	if childReads {
		ours, theirs = theirs, ours
	}
	s.child = append(s.child, theirs)
	// A smaller pipe, where this is refused, is only slower.
	_, _, _ = syscall.Syscall(syscall.SYS_FCNTL, uintptr(ours), fSetPipeSz, pipeSize)
	err := syscall.SetNonblock(ours, true)
	*own = os.NewFile(uintptr(ours), "pipe")
	return err
}

func (s *stdio) childFiles() []uintptr {
	files := make([]uintptr, len(s.child))
	for i, fd := range s.child {
		files[i] = uintptr(fd)
	}
	return files
}

func (s *stdio) closeChildSide() {
	for i, fd := range s.child {
		if i == 0 || fd != s.child[i-1] {
			_ = syscall.Close(fd)
		}
	}
}

func (s *stdio) closeOwnSide() {
	for _, file := range []*os.File{s.terminal, s.input, s.output, s.failure, s.extra} {
		file.Close() // a nil file only answers ErrInvalid
	}
}

// carry opens the streams of a started process. A stream that the trusted side refuses closes its pipe, and
// the process meets what it would meet with any reader or writer that went away.
func (s *stdio) carry(l *link, id string) {
	path := "/v1/stdio/" + id + "/"
	if s.extra != nil {
		go feed(s.extra, s.contents)
	}
	if s.terminal != nil {
		go s.carryTerminal(l, path+"terminal")
		return
	}
	remaining := make(chan struct{}, 2)
	for name, file := range map[string]*os.File{"stdout": s.output, "stderr": s.failure} {
		go func() {
			carryOutput(l, path+name, file)
			remaining <- struct{}{}
		}()
	}
	go func() {
		defer s.input.Close()
		typed, err := l.open(path+"stdin", nil)
		if err != nil {
			return
		}
		go func() { // a process whose outputs have both ended reads no more
			<-remaining
			<-remaining
			typed.Close()
		}()
		_ = copyStream(s.input, typed)
		typed.Close()
	}()
}

func feed(pipe *os.File, contents []byte) {
	defer pipe.Close()
	_, _ = pipe.Write(contents) // a reader that went away has had what it wanted
	clear(contents)
}

func carryOutput(l *link, path string, file *os.File) {
	body := &outputBody{file: file, closed: make(chan struct{})}
	answer, err := l.open(path, body)
	if err != nil {
		file.Close()
		return
	}
	_, _ = io.Copy(io.Discard, answer)
	<-body.closed
}

// carryTerminal never resets the stream once it runs: output that the other side has not read yet would go
// with it. After the end of our half we take, and drop, what is still typed until the other half ends.
func (s *stdio) carryTerminal(l *link, path string) {
	defer s.terminal.Close()
	body := &outputBody{file: s.terminal, closed: make(chan struct{})}
	typed, err := l.open(path, body)
	if err != nil {
		return
	}
	if copyStream(s.terminal, typed) != nil {
		_, _ = io.Copy(io.Discard, typed)
	}
	<-body.closed
}

// exited gives what still holds the process's streams open its last two seconds.
func (s *stdio) exited() {
	end := time.Now().Add(lingering)
	for _, file := range []*os.File{s.output, s.failure, s.terminal} {
		_ = file.SetReadDeadline(end) // closed, or not there: nothing to end
	}
	for _, file := range []*os.File{s.input, s.extra} {
		_ = file.SetWriteDeadline(end)
	}
}

// outputBody reads a process's output to its end or, when the deadline set at its exit has passed, takes what
// is in the pipe at that moment and ends.
type outputBody struct {
	file    *os.File
	closed  chan struct{}
	expired bool
	drained int
}

func (b *outputBody) Read(p []byte) (int, error) {
	if !b.expired {
		n, err := b.file.Read(p)
		if !errors.Is(err, os.ErrDeadlineExceeded) {
			return n, endOfOutput(err)
		}
		b.expired = true
		_ = b.file.SetReadDeadline(time.Time{})
	}
	return b.drain(p)
}

func (b *outputBody) drain(p []byte) (n int, err error) {
	raw, err := b.file.SyscallConn()
	if err != nil || b.drained >= drainLimit {
		return 0, io.EOF
	}
	if rawErr := raw.Read(func(fd uintptr) bool {
		n, err = syscall.Read(int(fd), p)
		return true // one try, whatever it gave
	}); rawErr != nil || err != nil || n <= 0 {
		return 0, io.EOF
	}
	b.drained += n
	return n, nil
}

func (b *outputBody) Close() error {
	select {
	case <-b.closed:
		return nil
	default:
		close(b.closed)
	}
	return b.file.Close()
}

// endOfOutput: a terminal whose last user has gone answers EIO.
func endOfOutput(err error) error {
	if errors.Is(err, syscall.EIO) || errors.Is(err, os.ErrClosed) {
		return io.EOF
	}
	return err
}
