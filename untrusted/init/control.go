package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"io"
	"time"
)

const (
	heartbeatInterval = time.Second
	// eventQueue is how many events may wait for a slow trusted side before whoever has one waits too.
	eventQueue = 256
	maxMessage = 512
)

// events is the sending half of the control stream: one JSON object a line.
type events struct {
	lines chan []byte
}

// event is one line of the control stream.
type event map[string]any

func newEvents() *events { return &events{lines: make(chan []byte, eventQueue)} }

func (e *events) send(what event) {
	if line, err := json.Marshal(what); err == nil { // names, numbers and text always marshal
		e.lines <- append(line, '\n')
	}
}

func (e *events) failed(id string, err error) {
	message := err.Error()
	if len(message) > maxMessage {
		message = message[:maxMessage]
	}
	e.send(event{"type": "failed", "id": id, "code": errorCode(err), "message": message})
}

// beat never waits: a heartbeat behind a full queue says nothing that the queue does not.
func (e *events) beat() {
	select {
	case e.lines <- []byte("{\"type\":\"heartbeat\"}\n"):
	default:
	}
}

func (e *events) writeTo(w io.Writer) {
	for line := range e.lines {
		if _, err := w.Write(line); err != nil {
			return // the stream is over, which the reading half sees and ends everything
		}
	}
}

type controller struct {
	link        *link
	events      *events
	processes   *processTable
	listeners   *listenerTable
	loopbackErr error
}

func newController(l *link, processes *processTable, loopbackErr error) *controller {
	return &controller{l, processes.events, processes, newListenerTable(l), loopbackErr}
}

// serve runs the control stream until the trusted side says stop (nil) or the stream ends (an error).
func (c *controller) serve() error {
	body, sink := io.Pipe()
	go c.events.writeTo(sink)
	c.events.send(event{"type": "hello", "version": 1})
	commands, err := c.link.open("/v1/control", body)
	if err != nil {
		return err
	}
	go func() {
		for range time.Tick(heartbeatInterval) {
			c.events.beat()
		}
	}()
	lines := bufio.NewReaderSize(commands, maxCommandLine)
	for {
		line, err := lines.ReadSlice('\n')
		if errors.Is(err, bufio.ErrBufferFull) {
			return errors.New("a command is longer than 1 MiB")
		}
		if err != nil {
			return errors.New("control stream ended")
		}
		parsed, err := parseCommand(line)
		clear(line) // it may have held what fd3 carries
		if err != nil {
			c.events.failed(parsed.ID, err)
			continue
		}
		if parsed.Type == "stop" {
			return nil
		}
		c.execute(parsed)
	}
}

func (c *controller) execute(parsed command) {
	switch parsed.Type {
	case "configure":
		err := c.loopbackErr
		if err == nil {
			err = c.listeners.listen(parsed.Listen)
		}
		if err != nil {
			c.events.failed("", err)
			return
		}
		c.events.send(event{"type": "configured"})
	case "start":
		if err := c.processes.start(parsed); err != nil {
			c.events.failed(parsed.ID, err)
		}
	case "signal":
		c.processes.signal(parsed.ID, parsed.Signal)
	case "resize":
		c.processes.resize(parsed.ID, parsed.windowSize)
	}
}
