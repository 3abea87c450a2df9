package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"
)

const heartbeatInterval = time.Second

// sandbox is what the commands of the control stream act on. One goroutine, that of serve, uses it: nothing
// comes between fork and registration, or between reaping and removal, so that no exit is missed and no signal
// goes to a process id used again.
type sandbox struct {
	link      *link
	events    *io.PipeWriter
	processes map[string]*process
	// refused is why the listeners are not there: nothing is started without its way out.
	refused error
}

// serve runs the control stream until the trusted side says stop (nil) or the stream ends (an error).
func serve(l *link) error {
	body, events := io.Pipe()
	s := &sandbox{link: l, events: events, processes: map[string]*process{}}
	commands := make(chan command)
	ended := make(chan error, 1)
	go func() { ended <- s.receive(body, commands) }()
	s.send(event{"type": "hello", "version": 1})
	// All of them: a stray one must not end the sandbox. Caught rather than ignored, because exec resets a
	// caught signal and keeps an ignored one. Before any child exists, so that none can end unnoticed, and
	// while the link opens, because the threads that this takes are slow to make in gVisor.
	signals := make(chan os.Signal, 64)
	signal.Notify(signals)
	for beat := time.Tick(heartbeatInterval); ; {
		select {
		case c := <-commands:
			s.execute(c)
		case <-signals:
			s.reap()
		case <-beat:
			s.send(event{"type": "heartbeat"})
		case err := <-ended:
			for _, p := range s.processes { // as PID 1 our end is that of all the others too
				p.kill(syscall.SIGKILL)
			}
			return err
		}
	}
}

// send waits for a slow trusted side, and so does whoever reports to it. A stream that is over takes nothing
// more, which its reading half sees, and ends everything.
func (s *sandbox) send(what event) { _ = json.NewEncoder(s.events).Encode(what) }

func (s *sandbox) receive(body io.ReadCloser, commands chan<- command) error {
	stream, err := s.link.open("/v1/control", body)
	if err != nil {
		return err
	}
	lines := bufio.NewReaderSize(stream, maxCommandLine)
	for {
		line, err := lines.ReadSlice('\n')
		if errors.Is(err, bufio.ErrBufferFull) {
			return errors.New("a command is longer than 1 MiB")
		}
		if err != nil {
			return errors.New("control stream ended")
		}
		c, err := parseCommand(line)
		clear(line) // it may have held what fd3 carries
		switch {
		case err != nil:
			s.send(failure(c.ID, err))
		case c.Type == "stop":
			return nil
		default:
			commands <- c
		}
	}
}

func (s *sandbox) execute(c command) {
	var err error
	p := s.processes[c.ID]
	switch {
	case c.Type == "configure":
		if err = listen(s.link, c.Listen); err == nil {
			s.send(event{"type": "configured"})
		}
		s.refused = err
	case c.Type == "renew" && s.link.me != nil:
		s.send(s.link.me.next(c.Chain))
	case c.Type == "start" && s.refused != nil:
		err = s.refused
	case c.Type == "start":
		err = s.start(c)
	case p == nil: // its exit is on its way to whoever asked
	case c.Type == "signal":
		p.signal(syscall.Signal(c.Signal))
	case c.Type == "resize":
		p.resize(c.windowSize)
	}
	if err != nil {
		s.send(failure(c.ID, err))
	}
}
