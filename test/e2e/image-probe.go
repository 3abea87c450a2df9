// What the tests put into an image: it says what it finds inside, as JSON.
package main

import (
	"encoding/json"
	"os"
)

func main() {
	cwd, _ := os.Getwd()
	text := func(path string) string { data, _ := os.ReadFile(path); return string(data) }
	writeErr := ""
	if err := os.WriteFile("/written", nil, 0o600); err != nil {
		writeErr = err.Error()
	}
	_ = os.WriteFile("/workspace/made.txt", []byte("made in an image"), 0o644)
	var suid os.FileMode
	if info, err := os.Stat("/bin/suid"); err == nil {
		suid = info.Mode() & os.ModeSetuid
	}
	_, usr := os.Stat("/usr/bin/env")
	_ = json.NewEncoder(os.Stdout).Encode(map[string]any{
		"uid": os.Getuid(), "gid": os.Getgid(), "cwd": cwd, "env": os.Environ(), "args": os.Args,
		"passwd": text("/etc/passwd"), "note": text("/etc/note"), "gone": text("/etc/gone"),
		"write": writeErr, "suid": suid != 0, "host": usr == nil, "project": text("/workspace/read-me.txt"),
		"trust": []int{len(text("/etc/ssl/certs/ca-certificates.crt")), len(text("/etc/pki/tls/certs/ca-bundle.crt")),
			len(text("/etc/ssl/cert.pem")), len(text("/etc/ssl/ca-bundle.pem"))},
	})
}
