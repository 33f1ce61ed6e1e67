package broadcast

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"tracker/pkg/load"
	"tracker/pkg/load/peers/codec"
)

// The versions that tools/peers builds, by which they are found in the cache.
const (
	natsServer = "nats-server-v2.15.2"
	natsBench  = "nats-bench-v1.55.0"
)

// NATS is a nats-server with core NATS only.
type NATS struct{ *server }

var natsSettings = []string{`write_deadline: "10s"`, "max_pending: 64MB", "max_connections: 25000", `ping_interval: "2m"`}

// Cache is where scripts/peers puts what it builds.
func Cache() string {
	dir, err := os.UserCacheDir()
	if err != nil {
		dir = os.TempDir()
	}
	return filepath.Join(dir, "trackbench")
}

// FindNATS finds the program: in the cache, else in PATH.
func FindNATS() (string, error) { return findBuilt(natsServer, "nats-server") }

func findBuilt(version, name string) (string, error) {
	built := filepath.Join(Cache(), version)
	if st, err := os.Stat(built); err == nil && !st.IsDir() {
		return built, nil
	}
	path, err := exec.LookPath(name)
	if err != nil {
		return "", absent(name, "scripts/peers builds it, and so does --build")
	}
	return path, nil
}

// Build builds what comes as Go modules, from tools/peers of the repository around dir,
// into the cache. What is there already is left alone.
func Build(ctx context.Context, dir string) error {
	module, err := findModule(dir)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(Cache(), 0o755); err != nil {
		return err
	}
	for version, pkg := range map[string]string{
		natsServer: "github.com/nats-io/nats-server/v2", natsBench: "github.com/nats-io/nats.go/examples/nats-bench",
	} {
		path := filepath.Join(Cache(), version)
		if _, err := os.Stat(path); err == nil {
			continue
		}
		cmd := exec.CommandContext(ctx, "go", "build", "-o", path, pkg)
		cmd.Dir = module
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("build %s: %w: %s", pkg, err, strings.TrimSpace(string(out)))
		}
	}
	return nil
}

// findModule looks for tools/peers in dir and above it.
func findModule(dir string) (string, error) {
	at, err := filepath.Abs(dir)
	for err == nil {
		module := filepath.Join(at, "tools", "peers")
		if _, err := os.Stat(filepath.Join(module, "go.mod")); err == nil {
			return module, nil
		}
		up := filepath.Dir(at)
		if up == at {
			err = errors.New("there is no tools/peers above " + dir + "; run this in the repository")
		}
		at = up
	}
	return "", err
}

// StartNATS starts one; ErrAbsent if there is none.
func StartNATS(ctx context.Context, seats load.Seats) (*NATS, error) {
	program, err := FindNATS()
	if err != nil {
		return nil, err
	}
	s, err := launch(ctx, seats, "nats-server", func(dir, port string) ([]string, error) {
		path, err := write(dir, "nats.conf", append([]string{"listen: 127.0.0.1:" + port}, natsSettings...))
		// It talks to standard error only. The shell becomes it.
		return []string{"sh", "-c", `exec "$0" "$@" 2>&1`, program, "-c", path}, err
	}, func(l string) bool { return strings.Contains(l, "Server is ready") })
	if err != nil {
		return nil, err
	}
	s.facts = Facts{Settings: append([]string{"GOMAXPROCS=1"}, natsSettings...), Promise: "at most once; who reads too slowly is disconnected, and publishers are held up before"}
	s.facts.Version = strings.TrimPrefix(said(ctx, program, "--version"), "nats-server: ")
	return &NATS{s}, nil
}

func (*NATS) Name() string { return "nats" }

func (*NATS) View(ctx context.Context, l *Line) error {
	ear := &codec.NATS{Subject: channel}
	l.Ear = ear
	hello := codec.AppendNATSSubscribe(codec.AppendNATSConnect(nil, "viewer"), channel)
	return l.Greet(ctx, codec.AppendNATSPing(hello), func() bool { return ear.Pongs > 0 })
}

func (*NATS) Publish(ctx context.Context, l *Line, _ int) (Mouth, error) {
	ear := &codec.NATS{}
	l.Ear = ear
	hello := codec.AppendNATSPing(codec.AppendNATSConnect(nil, "publisher"))
	return mouth{salt: l.Salt, append: func(dst []byte, _ uint64, payload []byte) []byte {
		return codec.AppendNATSPublish(dst, channel, payload)
	}}, l.Greet(ctx, hello, func() bool { return ear.Pongs > 0 })
}
