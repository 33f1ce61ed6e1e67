//go:build unix

package build

import (
	"bufio"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// A build that is given up ends together with what it started: the Go command here starts
// a compiler that would run for ever, and tells through a pipe that it does.
func TestGivenUpInTheMiddleItLeavesNothing(t *testing.T) {
	dir := house(t)
	tools := t.TempDir()
	pipe := filepath.Join(tools, "pipe")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	put(t, tools, "go", "#!/bin/sh\nsh -c 'echo $$ >\"$0\"; exec sleep 3600' '"+pipe+"'\nexit 1\n")
	if err := os.Chmod(filepath.Join(tools, "go"), 0o755); err != nil {
		t.Fatal(err)
	}

	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	done := make(chan error, 1)
	go func() {
		_, _, err := Revision(ctx, dir, "HEAD", t.TempDir(), Options{Go: filepath.Join(tools, "go")})
		done <- err
	}()
	f, err := os.Open(pipe) // waits until the other end is there
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	line, err := bufio.NewReader(f).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	child, err := strconv.Atoi(strings.TrimSpace(line))
	if err != nil {
		t.Fatal(err)
	}
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("error is %v, want that it was cancelled", err)
	}
	if err := syscall.Kill(child, 0); !errors.Is(err, syscall.ESRCH) && !zombie(child) {
		_ = syscall.Kill(child, syscall.SIGKILL)
		t.Errorf("process %d that the build started goes on", child)
	}
	nothingIsLeft(t, dir)
}

// zombie says whether a process has ended and only waits to be asked how.
func zombie(pid int) bool {
	stat, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return true
	}
	_, after, _ := strings.Cut(string(stat), ") ")
	return strings.HasPrefix(after, "Z")
}
