package main

import (
	"io"
	"net"
	"sync"
	"time"
)

const (
	// One listener cannot take the other's streams, and all together stay below what the trusted side
	// allows on the connection. A connection past the bound waits in the kernel's backlog.
	maxTunnelsPerListener = 256
	maxTunnels            = 512
	// HTTP/2 servers end a connection on which too many streams are reset (nghttp2: 1000, then 33 a
	// second). The agent resets at will, so a reset tunnel keeps its place until fewer than resetBurst
	// ended so in the last resetMemory.
	resetBurst  = 256
	resetMemory = 9 * time.Second
	copyBuffer  = 64 << 10
	acceptRetry = 50 * time.Millisecond
)

type listenerTable struct {
	link    *link
	places  chan struct{}
	resets  chan struct{}
	serving map[string]string // address → tunnel; used by the control stream's goroutine only
}

func newListenerTable(l *link) *listenerTable {
	return &listenerTable{l, make(chan struct{}, maxTunnels), make(chan struct{}, resetBurst), map[string]string{}}
}

// listen opens what is not open yet. A second configure may add, never move.
func (t *listenerTable) listen(specs []listenSpec) error {
	for _, spec := range specs {
		if t.serving[spec.Address] == spec.Tunnel {
			continue
		}
		if len(t.serving) == maxListeners {
			return errTooMany
		}
		listener, err := net.Listen("tcp", spec.Address)
		if err != nil {
			return err
		}
		t.serving[spec.Address] = spec.Tunnel
		go t.accept(listener, spec.Tunnel)
	}
	return nil
}

func (t *listenerTable) accept(listener net.Listener, name string) {
	own := make(chan struct{}, maxTunnelsPerListener)
	for {
		own <- struct{}{}
		t.places <- struct{}{}
		conn, err := listener.Accept()
		if err != nil { // out of descriptors, or aborted in the backlog
			time.Sleep(acceptRetry)
		}
		go func() {
			if tcp, ok := conn.(*net.TCPConn); ok && !t.carry(tcp, name) {
				t.resets <- struct{}{}
				time.AfterFunc(resetMemory, func() { <-t.resets })
			}
			<-t.places
			<-own
		}()
	}
}

// carry moves one connection's bytes both ways, and says whether it ended in order.
func (t *listenerTable) carry(conn *net.TCPConn, name string) bool {
	defer conn.Close()
	upward := &tunnelBody{conn: conn, ended: make(chan struct{})}
	downward, err := t.link.open("/v1/tunnel/"+name, upward)
	if err == nil {
		err = copyStream(conn, downward)
		if err != nil {
			downward.Close() // resets the stream, also when it is the agent that went away
		} else if err = conn.CloseWrite(); err == nil {
			<-upward.ended
			err = upward.failure
		}
	}
	if err != nil {
		conn.SetLinger(0) // a reset arrives as a reset, never as an orderly end of cut-off data
		return false
	}
	return true
}

// tunnelBody is what the agent sends. The link's library reads it, and closes it when it has its end, or
// when the stream is reset.
type tunnelBody struct {
	conn    *net.TCPConn
	once    sync.Once
	ended   chan struct{}
	failure error // set before ended is closed
}

func (b *tunnelBody) Read(p []byte) (int, error) {
	n, err := b.conn.Read(p)
	if err != nil {
		b.end(err)
	}
	return n, err
}

func (b *tunnelBody) Close() error {
	b.end(io.ErrClosedPipe)
	return b.conn.SetReadDeadline(time.Unix(1, 0)) // wakes a waiting Read
}

func (b *tunnelBody) end(err error) {
	b.once.Do(func() {
		if err != io.EOF {
			b.failure = err
		}
		close(b.ended)
	})
}

// copyStream hides the writer's shortcut: to splice from a stream is tried for nothing, for each tunnel.
func copyStream(to io.Writer, from io.Reader) error {
	_, err := io.CopyBuffer(struct{ io.Writer }{to}, from, make([]byte, copyBuffer))
	return err
}
