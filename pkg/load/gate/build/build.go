// Package build makes the two binaries that a gate compares, and refuses two that differ
// in more than their source.
//
//	revision ─► worktree, for the while ─┐
//	                                     ├─► go build, one way for all ─► file ─► Inspect ─┐
//	working tree ────────────────────────┘                                                ├─► Compare
//	                           a file that somebody gives ────────────────────► Inspect ──┘
//
// Builds hold nothing of where and when they were made, so that equal sources give equal
// bytes. The user's checkout is only read.
package build

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"time"
)

// Options say how binaries are built. Those that are to be compared want the same.
type Options struct {
	Package  string            // "" is ./cmd/trackerd
	Go       string            // the Go command; "" looks for it in PATH
	Flags    []string          // more flags of go build
	Progress func(line string) // is told what is being done; may be nil
}

func (o Options) what() string {
	if o.Package == "" {
		return "./cmd/trackerd"
	}
	return o.Package
}

func (o Options) say(format string, args ...any) {
	if o.Progress != nil {
		o.Progress(fmt.Sprintf(format, args...))
	}
}

// Revision builds a revision of the repository that dir lies in, and returns the file
// that it made in out, and the full name of the commit. What it checks out for that is
// removed before it returns, however it does.
func Revision(ctx context.Context, dir, rev, out string, o Options) (file, commit string, err error) {
	file, commit, err = revision(ctx, dir, rev, out, o)
	if err != nil {
		return "", "", fmt.Errorf("build revision %q: %w", rev, err)
	}
	return file, commit, nil
}

func revision(ctx context.Context, dir, rev, out string, o Options) (file, commit string, err error) {
	r, err := openRepo(ctx, dir)
	if err != nil {
		return "", "", err
	}
	if commit, err = r.resolve(ctx, rev); err != nil {
		return "", "", err
	}
	o.say("checking out %s", short(commit))
	w, err := r.checkOut(ctx, commit)
	if err != nil {
		return "", "", err
	}
	defer func() { err = errors.Join(err, w.remove()) }()
	if _, err := os.Stat(filepath.Join(w.root, filepath.FromSlash(o.what()))); err != nil {
		return "", "", hint(fmt.Errorf("%s has no %s", short(commit), o.what()), "name a later revision, one that has the program")
	}
	file, err = o.build(ctx, w.root, out, short(commit))
	return file, commit, err
}

// Tree builds the working tree that dir lies in as it is, saved changes and all. The
// commit is that of its HEAD, with "+dirty" behind it if the tree holds anything else,
// and "" if there is no repository.
func Tree(ctx context.Context, dir, out string, o Options) (file, commit string, err error) {
	return tree(ctx, dir, out, "tree", o)
}

// WithFault is Tree of a server that can be told to be slow. Its tag takes the place of
// other tags.
func WithFault(ctx context.Context, dir, out string, o Options) (file, commit string, err error) {
	// It is compared with itself only, so it may know where it was built: what has been
	// built for tests need not be built again.
	o.Flags = append(o.Flags[:len(o.Flags):len(o.Flags)], "-trimpath=false", "-tags="+FaultTag)
	return tree(ctx, dir, out, "fault", o)
}

func tree(ctx context.Context, dir, out, name string, o Options) (file, commit string, err error) {
	root, err := moduleRoot(dir)
	if err != nil {
		return "", "", fmt.Errorf("build the working tree: %w", err)
	}
	if r, err := openRepo(ctx, dir); err == nil {
		commit = r.state(ctx)
	}
	if file, err = o.build(ctx, root, out, name); err != nil {
		return "", "", fmt.Errorf("build the working tree: %w", err)
	}
	return file, commit, nil
}

// moduleRoot is the directory of the go.mod that dir belongs to.
func moduleRoot(dir string) (string, error) {
	at, err := filepath.Abs(dir)
	if err != nil {
		return "", err
	}
	for {
		if _, err := os.Stat(filepath.Join(at, "go.mod")); err == nil {
			return at, nil
		}
		up := filepath.Dir(at)
		if up == at {
			return "", hint(fmt.Errorf("%q is not in a Go module", dir), "run it in the source of the server, or give two binaries by --base and --head")
		}
		at = up
	}
}

// build builds the program of the module in root as the file trackerd-NAME.
func (o Options) build(ctx context.Context, root, out, name string) (string, error) {
	tool := o.Go
	if tool == "" {
		tool = "go"
	}
	tool, err := exec.LookPath(tool)
	if err != nil {
		return "", hint(fmt.Errorf("there is no Go: %w", err), "https://go.dev/doc/install; or give two binaries by --base and --head")
	}
	out, err = filepath.Abs(out)
	if err != nil {
		return "", err
	}
	if err := os.MkdirAll(out, 0o755); err != nil {
		return "", err
	}
	file := filepath.Join(out, "trackerd-"+name)
	if runtime.GOOS == "windows" {
		file += ".exe"
	}
	o.say("building %s of %s", o.what(), name)
	begun := time.Now()
	// -trimpath and -buildvcs=false keep the place and the commit out of the file: see the
	// package. What comes later wins, so Flags can ask for something else.
	args := append([]string{"build", "-trimpath", "-buildvcs=false", "-o", file}, o.Flags...)
	cmd := command(ctx, root, tool, append(args, o.what())...)
	// The Go that is here builds both, whatever their go.mod would fetch, and each is built
	// from its own go.mod: a workspace around the tree does not reach the other one.
	cmd.Env = append(cmd.Environ(), "GOTOOLCHAIN=local", "GOWORK=off")
	told, err := cmd.CombinedOutput()
	if err != nil {
		return "", goFailed(ctx, err, told)
	}
	o.say("built %s in %s", name, time.Since(begun).Round(100*time.Millisecond))
	return file, nil
}

func goFailed(ctx context.Context, err error, told []byte) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return hint(fmt.Errorf("go build: %w%s", err, tail(told)), "it has to build by itself first: go build ./cmd/trackerd in a checkout of it")
}

// tail is the end of what a command said, indented: enough to know what is wrong.
func tail(told []byte) string {
	const most = 20
	lines := strings.Split(string(bytes.TrimSpace(told)), "\n")
	if lines[0] == "" {
		return ""
	}
	if cut := len(lines) - most; cut > 0 {
		lines = append([]string{fmt.Sprintf("(%d lines before)", cut)}, lines[cut:]...)
	}
	return ":\n\t" + strings.Join(lines, "\n\t")
}

// command is a process whose children end with it when ctx does, and which Ctrl-C in a
// terminal does not reach by another way.
func command(ctx context.Context, dir, name string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir = dir
	cmd.WaitDelay = 10 * time.Second
	interruptible(cmd)
	return cmd
}
