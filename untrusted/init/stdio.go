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
	// lingering is how long output may stay open behind an exited process, held by a child of its own.
	lingering = 2 * time.Second
	// drainLimit bounds what is still read of a pipe whose time is over, and which somebody may still be
	// filling: no pipe here holds more.
	drainLimit = 1 << 20
)

// openStdio makes what a process has as its descriptors 0 to 2 or 3: our ends, and theirs. What it has made is
// for the caller to close, also after an error (a file that was not opened, or twice, answers with an error).
func openStdio(size *windowSize, extra bool) (ours, theirs []*os.File, err error) {
	if size != nil {
		var master, slave *os.File
		master, slave, err = openTerminal(*size)
		ours, theirs = []*os.File{master, master, master}, []*os.File{slave, slave, slave}
	}
	for fd := len(theirs); err == nil && (fd < 3 || fd == 3 && extra); fd++ {
		var own, their *os.File
		if own, their, err = os.Pipe(); err != nil {
			break
		}
		if fd == 0 || fd == 3 { // what a process reads
			own, their = their, own
		}
		ours, theirs = append(ours, own), append(theirs, their)
		// A smaller pipe, where this is refused, is only slower. Asking for its number makes the child's
		// end, and only that, a blocking one, as programs expect.
		_, _, _ = syscall.Syscall(syscall.SYS_FCNTL, their.Fd(), fSetPipeSz, pipeSize)
	}
	return ours, theirs, err
}

// expireStdio gives what still holds an exited process's streams open its last two seconds.
func (p *process) expireStdio() {
	for _, file := range p.ends {
		_ = file.SetDeadline(time.Now().Add(lingering)) // fails where there is nothing to end
	}
}

// carry opens the streams of a started process. A stream that the trusted side refuses closes its pipe, and
// the process meets what it would meet with any reader or writer that went away.
func (p *process) carry(l *link, id string, contents []byte) {
	path := "/v1/stdio/" + id + "/"
	if contents != nil {
		go func() {
			defer p.ends[3].Close()
			_, _ = p.ends[3].Write(contents) // a reader that went away has had what it wanted
			clear(contents)
		}()
	}
	if p.terminal {
		go carryOutput(l, path+"terminal", p.ends[0], p.ends[0])
		return
	}
	var outputs sync.WaitGroup
	outputs.Go(func() { carryOutput(l, path+"stdout", p.ends[1], io.Discard) })
	outputs.Go(func() { carryOutput(l, path+"stderr", p.ends[2], io.Discard) })
	go func() {
		defer p.ends[0].Close()
		typed, err := l.open(path+"stdin", http.NoBody)
		if err != nil {
			return
		}
		defer typed.Close()
		go func() { // a process whose outputs have both ended reads no more
			outputs.Wait()
			typed.Close()
		}()
		// Not by the file's own ReadFrom, which takes 32 KB at a time: a call costs more here than what it copies.
		_, _ = io.CopyBuffer(struct{ io.Writer }{p.ends[0]}, typed, make([]byte, pipeSize))
	}()
}

// carryOutput never resets a stream: output that the other side has not read yet would go with it. What comes
// down when nobody takes it any more is dropped until the other side ends its half.
func carryOutput(l *link, path string, file *os.File, typed io.Writer) {
	_ = l.carry(path, &output{file: file}, file.Close, func(down io.Reader) error {
		if _, err := io.Copy(typed, down); err != nil {
			_, _ = io.Copy(io.Discard, down)
		}
		return nil
	})
}

// output reads a process's output to its end or, when the deadline set at its exit has passed, takes what is in
// the pipe at that moment and ends.
type output struct {
	file    *os.File
	drained int
}

func (o *output) Read(p []byte) (int, error) {
	n, err := o.file.Read(p)
	if errors.Is(err, os.ErrDeadlineExceeded) && o.drained < drainLimit {
		err = withFd(o.file, func(fd uintptr) (err error) {
			n, err = syscall.Read(int(fd), p)
			return err
		})
		o.drained += n
	}
	if err != nil || n <= 0 {
		return 0, io.EOF // however it ended: a terminal whose last user has gone answers EIO
	}
	return n, nil
}

// withFd lends the descriptor of a file, whatever its deadline.
func withFd(file *os.File, use func(fd uintptr) error) (err error) {
	raw, rawErr := file.SyscallConn()
	if rawErr == nil {
		rawErr = raw.Control(func(fd uintptr) { err = use(fd) })
	}
	return errors.Join(rawErr, err)
}
