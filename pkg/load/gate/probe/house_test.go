package probe

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"

	"tracker/pkg/load/leaktest"
	"tracker/pkg/load/null"
	"tracker/pkg/load/rpcload"
)

// beNull in the environment makes this program a server that does nothing.
const beNull = "PROBE_TEST_NULL"

func TestMain(m *testing.M) {
	if os.Getenv(beNull) != "" {
		os.Exit(serveNull())
	}
	code := leaktest.Run(m)
	_ = os.RemoveAll(workshop())
	os.Exit(code)
}

func serveNull() int {
	s, err := null.Listen(null.Config{})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	fmt.Printf("ready tcp=%s udp=%s\n", s.Addr(), s.UDP())
	if err := s.Run(context.Background()); err != nil {
		return 1
	}
	return 0
}

// nullCommand starts this program as a server that does nothing.
func nullCommand(t testing.TB) *exec.Cmd {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), beNull+"=1")
	return cmd
}

// workshop is where what is built for all tests lies.
var workshop = sync.OnceValue(func() string {
	dir, err := os.MkdirTemp("", "probe-")
	if err != nil {
		panic(err)
	}
	return dir
})

// trackerd is the server as it is built, once for all tests.
var trackerd = sync.OnceValues(func() (path string, err error) {
	path = filepath.Join(workshop(), "trackerd")
	out, err := exec.Command("go", "build", "-o", path, "tracker/cmd/trackerd").CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("build trackerd: %w: %s", err, out)
	}
	return path, nil
})

// start starts a trackerd for a test, a process of its own.
func start(t testing.TB, args ...string) *rpcload.Own {
	t.Helper()
	path, err := trackerd()
	if err != nil {
		t.Fatal(err)
	}
	s, err := rpcload.Launch{Path: path, Args: args}.Start(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}
