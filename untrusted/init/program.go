package main

import (
	"path/filepath"
	"strings"
	"syscall"
)

const executable = 1 // X_OK

// findProgram is execvp's search, in the PATH that the program is to have, not in ours.
func findProgram(name string, env []string, cwd string) (string, error) {
	if strings.Contains(name, "/") {
		return name, nil // execve has the last word, after the change of directory
	}
	result := error(syscall.ENOENT)
	for _, folder := range filepath.SplitList(pathOf(env)) {
		if !filepath.IsAbs(folder) {
			folder = filepath.Join(cwd, folder)
		}
		candidate := filepath.Join(folder, name)
		var info syscall.Stat_t
		if syscall.Stat(candidate, &info) != nil || info.Mode&syscall.S_IFMT != syscall.S_IFREG {
			continue
		}
		if syscall.Access(candidate, executable) == nil {
			return candidate, nil
		}
		result = syscall.EACCES
	}
	return "", result
}

func pathOf(env []string) string {
	for _, entry := range env {
		if value, ok := strings.CutPrefix(entry, "PATH="); ok {
			return value
		}
	}
	return "/usr/local/bin:/usr/bin:/bin"
}
