package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
)

const (
	// streamWindow is how much of one stream may wait here unread. The connection's own window stays at the
	// library's 1 GiB, so that a stalled stream never holds back another, least of all the control stream.
	streamWindow = 1 << 20
	readAhead    = 256 << 10
)

// link is the one HTTP/2 connection out of the sandbox; we are its client.
type link struct {
	conn *http.ClientConn
	me   *identity // nil: the link is inherited, and is the identity
}

func newLink(conn net.Conn, me *identity) (*link, error) {
	eager := &eagerConn{Conn: conn}
	eager.arrived.L = &eager.mu
	go eager.pump()
	transport := &http.Transport{
		Protocols:          new(http.Protocols),
		HTTP2:              &http.HTTP2Config{MaxReceiveBufferPerStream: streamWindow},
		DisableCompression: true,
		DialContext: func(context.Context, string, string) (net.Conn, error) {
			return eager, nil // once: a ClientConn is one connection
		},
	}
	transport.Protocols.SetUnencryptedHTTP2(true)
	client, err := transport.NewClientConn(context.Background(), "http", "link:80")
	return &link{client, me}, err
}

// open starts one stream. The body is sent while the response is read, and closed when it is no longer
// needed, also after an error; closing the response before its end resets the stream.
func (l *link) open(path string, body io.ReadCloser) (io.ReadCloser, error) {
	request, err := http.NewRequest(http.MethodPost, "http://link"+path, body)
	if err != nil {
		return nil, err
	}
	response, err := l.conn.RoundTrip(request)
	if err != nil {
		return nil, err
	}
	if response.StatusCode != http.StatusOK {
		response.Body.Close()
		return nil, fmt.Errorf("%s answered %d", path, response.StatusCode)
	}
	return response.Body, nil
}

// carry runs one stream until both its halves have ended: source goes up, takeDown takes what comes down. stop
// ends a Read of source that waits. An error means that a half did not end in order.
func (l *link) carry(path string, source io.Reader, stop func() error, takeDown func(io.Reader) error) error {
	up := &upward{source: source, stop: stop, closed: make(chan struct{}, 1)}
	down, err := l.open(path, up)
	if err != nil {
		return err
	}
	if err := takeDown(down); err != nil {
		down.Close()
		return err
	}
	<-up.closed
	if !up.complete.Load() {
		return io.ErrUnexpectedEOF
	}
	return nil
}

// upward is the half of a stream that leads out of the sandbox. The library reads it, and closes it when it has
// its end, or when the stream is reset.
type upward struct {
	source   io.Reader
	stop     func() error
	complete atomic.Bool
	closed   chan struct{}
}

func (u *upward) Read(p []byte) (int, error) {
	n, err := u.source.Read(p)
	if err == io.EOF {
		u.complete.Store(true)
	}
	return n, err
}

func (u *upward) Close() error {
	select {
	case u.closed <- struct{}{}:
	default: // not for the first time
	}
	return u.stop()
}

// eagerConn reads ahead of its user. Node stops reading a connection while a write of its own waits for us, and
// the library's reader can wait for its own writer, which waits for Node: with bytes going both ways all would
// wait for ever. What is held here is bounded by the windows that we granted.
type eagerConn struct {
	net.Conn
	mu      sync.Mutex
	arrived sync.Cond // on mu
	unread  bytes.Buffer
	err     error
}

func (c *eagerConn) pump() {
	buffer := make([]byte, readAhead)
	for c.err == nil {
		n, err := c.Conn.Read(buffer)
		c.mu.Lock()
		c.unread.Write(buffer[:n])
		c.err = err
		c.mu.Unlock()
		c.arrived.Signal()
	}
}

func (c *eagerConn) Read(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for c.unread.Len() == 0 {
		if c.err != nil {
			return 0, c.err
		}
		c.arrived.Wait()
	}
	return c.unread.Read(p)
}
