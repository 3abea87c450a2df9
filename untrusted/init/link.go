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

// streamWindow is how much of one stream may wait here unread. The connection's own window stays at the
// library's 1 GiB, so that a stalled stream never holds back another, least of all the control stream.
const streamWindow = 1 << 20

// link is the one HTTP/2 connection out of the sandbox; we are its client.
type link struct {
	conn *http.ClientConn
}

func newLink(conn net.Conn) (*link, error) {
	var taken atomic.Bool
	transport := &http.Transport{
		Protocols:          new(http.Protocols),
		HTTP2:              &http.HTTP2Config{MaxReceiveBufferPerStream: streamWindow},
		DisableCompression: true,
		DialContext: func(context.Context, string, string) (net.Conn, error) {
			if taken.Swap(true) {
				return nil, io.ErrClosedPipe
			}
			return readEagerly(conn), nil
		},
	}
	transport.Protocols.SetUnencryptedHTTP2(true)
	client, err := transport.NewClientConn(context.Background(), "http", "link:80")
	if err != nil {
		return nil, err
	}
	return &link{conn: client}, nil
}

// open starts one stream. The body is sent while the response is read, and closed when it is no longer
// needed; closing the response before its end resets the stream.
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

// eagerConn reads ahead of its user. Node stops reading a connection while a write of its own waits for us, and
// the library's reader can wait for its own writer, which waits for Node: with bytes going both ways all would
// wait for ever. What is held here is bounded by the windows that we granted.
type eagerConn struct {
	net.Conn
	mu      sync.Mutex
	arrived *sync.Cond
	unread  bytes.Buffer
	err     error
}

func readEagerly(conn net.Conn) *eagerConn {
	c := &eagerConn{Conn: conn}
	c.arrived = sync.NewCond(&c.mu)
	go c.pump()
	return c
}

func (c *eagerConn) pump() {
	buffer := make([]byte, copyBuffer)
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
	for c.unread.Len() == 0 && c.err == nil {
		c.arrived.Wait()
	}
	if c.unread.Len() == 0 {
		return 0, c.err
	}
	return c.unread.Read(p)
}
