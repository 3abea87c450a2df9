package main

import (
	"io"
	"net"
	"time"
)

const (
	// One listener cannot take the other's streams, and both together stay below what the trusted side
	// allows on the connection. A connection past the bound waits in the kernel's backlog.
	maxTunnels = 256 // of one listener
	// HTTP/2 servers end a connection on which too many streams are reset (nghttp2: 1000, then 33 a
	// second). The agent resets at will, so a reset tunnel keeps its place until fewer than resetBurst
	// ended so in the last resetMemory.
	resetBurst  = 256
	resetMemory = 9 * time.Second
	acceptRetry = 50 * time.Millisecond
)

var resets = make(chan struct{}, resetBurst)

// listen takes the connections that the agent makes.
func listen(l *link, specs []listenSpec) error {
	for _, spec := range specs {
		listener, err := net.Listen("tcp", spec.Address)
		if err != nil {
			return err
		}
		go accept(listener, l, "/v1/tunnel/"+spec.Tunnel)
	}
	return nil
}

func accept(listener net.Listener, l *link, path string) {
	places := make(chan struct{}, maxTunnels)
	for {
		places <- struct{}{}
		conn, err := listener.Accept()
		if err != nil { // out of descriptors, or aborted in the backlog
			time.Sleep(acceptRetry)
		}
		go func() {
			if tcp, ok := conn.(*net.TCPConn); ok && carryTunnel(l, path, tcp) != nil {
				resets <- struct{}{}
				time.AfterFunc(resetMemory, func() { <-resets })
			}
			<-places
		}()
	}
}

// carryTunnel moves one connection's bytes both ways. A reset arrives as a reset, either way, never as an orderly end
// of cut-off data.
func carryTunnel(l *link, path string, conn *net.TCPConn) error {
	defer conn.Close()
	stop := func() error { return conn.SetReadDeadline(time.Unix(1, 0)) }
	err := l.carry(path, conn, stop, func(down io.Reader) error {
		if _, err := io.Copy(conn, down); err != nil {
			return err
		}
		return conn.CloseWrite()
	})
	if err != nil {
		conn.SetLinger(0)
	}
	return err
}
