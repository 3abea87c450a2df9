package main

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
)

func FuzzParseCommand(f *testing.F) {
	for _, seed := range []string{
		`{"type":"configure","listen":[{"address":"127.0.0.1:9090","tunnel":"api"},{"address":"[::1]:1","tunnel":"x"}]}`,
		`{"type":"start","id":"main","argv":["sh"],"env":["A=b"],"cwd":"/workspace","terminal":null,"fd3":null}`,
		`{"type":"start","id":"main","argv":["sh"],"cwd":"/","terminal":{"rows":24,"cols":80},"fd3":"c2VjcmV0"}`,
		`{"type":"signal","id":"main","signal":15}`,
		`{"type":"resize","id":"main","rows":40,"cols":120}`,
		`{"type":"stop"}`, `null`, `[]`, ``, "\x00", `{"type":"start","id":"..","argv":[""],"cwd":""}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, line []byte) {
		c, err := parseCommand(line)
		if c.ID != "" && !isName(c.ID) {
			t.Fatalf("id %q would stand in a path", c.ID)
		}
		if err != nil {
			if errorCode(err) != "EINVAL" {
				t.Fatalf("refused with %s", errorCode(err))
			}
			checkFailureLine(t, c.ID, err)
			return
		}
		for _, spec := range c.Listen {
			if c.Type == "configure" && !isName(spec.Tunnel) {
				t.Fatalf("tunnel %q would stand in a path", spec.Tunnel)
			}
		}
		if c.Type == "start" && (len(c.Argv) == 0 || c.ID == "") {
			t.Fatalf("accepted %+v", c)
		}
		if c.Type == "signal" && c.Signal < 1 {
			t.Fatalf("signal %d", c.Signal)
		}
	})
}

// checkFailureLine holds that no text makes an answer longer than a line may be, or more than one line.
func checkFailureLine(t *testing.T, id string, err error) {
	var sent bytes.Buffer
	if json.NewEncoder(&sent).Encode(failure(id, err)) != nil {
		t.Fatalf("no JSON: %q", sent.Bytes())
	}
	if line := sent.Bytes(); len(line) > 64<<10 || bytes.IndexByte(line, '\n') != len(line)-1 {
		t.Fatalf("not one line: %q", line)
	}
}

func TestNames(t *testing.T) {
	for text, want := range map[string]bool{
		"main": true, "A-z_09": true, strings.Repeat("x", maxNameLength): true,
		"": false, "a/b": false, "..": false, "a b": false, "é": false, "a\n": false, "a%2f": false,
		strings.Repeat("x", maxNameLength+1): false,
	} {
		if isName(text) != want {
			t.Errorf("isName(%q) is not %v", text, want)
		}
	}
}

func TestListenersAreOnLoopback(t *testing.T) {
	for address, want := range map[string]bool{
		"127.0.0.1:9090": true, "[::1]:9090": true, "127.9.9.9:1": true,
		"0.0.0.0:9090": false, "[::]:9090": false, "10.0.0.1:1": false, "localhost:1": false, ":1": false, "": false,
	} {
		line, _ := json.Marshal(event{"type": "configure", "listen": []listenSpec{{address, "api"}}})
		if _, err := parseCommand(line); (err == nil) != want {
			t.Errorf("%q: %v", address, err)
		}
	}
}

func TestProgramsAreSearchedAsExecvpDoes(t *testing.T) {
	env := []string{"PATH=relative:/usr/bin:/bin"}
	if path, err := findProgram("sh", env, "/"); err != nil || !strings.HasSuffix(path, "bin/sh") {
		t.Errorf("sh: %q, %v", path, err)
	}
	if path, err := findProgram("./x", env, "/"); err != nil || path != "./x" {
		t.Errorf("a path is taken as it is: %q, %v", path, err)
	}
	if _, err := findProgram("no-such-program", env, "/"); errorCode(err) != "ENOENT" {
		t.Errorf("no-such-program: %v", err)
	}
	if _, err := findProgram("passwd", []string{"PATH=/etc"}, "/"); errorCode(err) != "EACCES" {
		t.Errorf("a file that may not be executed: %v", err)
	}
}
