// How many processors it uses is said by the specification: it reads no cgroup for that, at every start.
//go:debug containermaxprocs=0
//go:debug updatemaxprocs=0

// Command init is PID 1 of the sandbox. It carries bytes and makes no decision: whoever can make it do
// something (the trusted side over the link, the agent over loopback) may already do that thing without it.
package main

import (
	"fmt"
	"io"
	"net"
	"os"
)

const (
	// linkFd is where the trusted side put the one connection that leads out of the sandbox.
	linkFd = 3
	// goByte is what the trusted side writes when it is ready. Until then whoever holds the other end may
	// still hand it on; a byte of ours would be lost with it.
	goByte = 'G'
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "glovebox-init:", err)
		os.Exit(1)
	}
}

func run() error {
	if err := lockDown(); err != nil {
		return fmt.Errorf("lock down: %w", err)
	}
	conn, me, err := connect(os.Args[1:])
	if err != nil {
		return fmt.Errorf("no link: %w", err)
	}
	var first [1]byte
	if _, err := io.ReadFull(conn, first[:]); err != nil {
		return fmt.Errorf("link closed before it was used: %w", err)
	}
	if first[0] != goByte {
		return fmt.Errorf("link began with 0x%02x", first[0])
	}
	link, err := newLink(conn, me)
	if err != nil {
		return fmt.Errorf("link: %w", err)
	}
	return serve(link)
}

// connect takes the link that was inherited or, with a join file, makes it.
func connect(arguments []string) (net.Conn, *identity, error) {
	if len(arguments) > 0 {
		me, err := dialGateway(arguments[0])
		return me.conn, me, err
	}
	// Off its number: a child's own descriptor 3 (`fd3`) goes there.
	file := os.NewFile(linkFd, "link")
	defer file.Close()
	conn, err := net.FileConn(file) // a close-on-exec duplicate
	return conn, nil, err
}
