package main

import (
	"errors"
	"io"
	"net/http"
	"os"
	"sync"
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

// stdio is what a process has as its descriptors 0 to 3 (child, in that order), and our ends of it.
type stdio struct {
	child                                   []*os.File
	terminal, input, output, failure, extra *os.File
	contents                                []byte // for extra
}

func openStdio(size *windowSize, contents *[]byte) (s *stdio, err error) {
	s = &stdio{}
	if size != nil {
		err = s.openTerminal(*size)
	} else {
		err = errors.Join(s.pipe(&s.input, true), s.pipe(&s.output, false), s.pipe(&s.failure, false))
	}
	if err == nil && contents != nil {
		s.contents = *contents
		err = s.pipe(&s.extra, true)
	}
	if err != nil {
		closeAll(s.child...)
		closeAll(s.own()...)
	}
	return s, err
}

// pipe makes the child's next descriptor. Asking for its number makes the child's end, and only that, a
// blocking one, as programs expect.
func (s *stdio) pipe(own **os.File, childReads bool) error {
	reads, writes, err := os.Pipe()
	if err != nil {
		return err
	}
	*own = reads
	theirs := writes
	if childReads {
		*own, theirs = writes, reads
	}
	s.child = append(s.child, theirs)
	// A smaller pipe, where this is refused, is only slower.
	_, _, _ = syscall.Syscall(syscall.SYS_FCNTL, theirs.Fd(), fSetPipeSz, pipeSize)
	return nil
}

func (s *stdio) own() []*os.File {
	return []*os.File{s.terminal, s.input, s.output, s.failure, s.extra}
}

func (s *stdio) childFiles() (files []uintptr) {
	for _, file := range s.child {
		files = append(files, file.Fd())
	}
	return files
}

// closeAll may meet a file twice or one that was never opened, which Close answers with an error.
func closeAll(files ...*os.File) {
	for _, file := range files {
		_ = file.Close()
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
		typed, err := l.open(path+"stdin", http.NoBody)
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
		_ = file.SetReadDeadline(end) // fails where there is nothing to end
	}
	for _, file := range []*os.File{s.input, s.extra} {
		_ = file.SetWriteDeadline(end)
	}
}

// outputBody reads a process's output to its end or, when the deadline set at its exit has passed, takes what
// is in the pipe at that moment and ends.
type outputBody struct {
	file    *os.File
	once    sync.Once
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
	b.once.Do(func() { close(b.closed) })
	return b.file.Close()
}

// endOfOutput: a terminal whose last user has gone answers EIO.
func endOfOutput(err error) error {
	if errors.Is(err, syscall.EIO) || errors.Is(err, os.ErrClosed) {
		return io.EOF
	}
	return err
}
