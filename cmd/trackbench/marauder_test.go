package main

import (
	"bytes"
	"context"
	"encoding/binary"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"tracker/pkg/rpc"
	"tracker/pkg/server"
	"tracker/pkg/wire/trk"
)

// A server that sends everything, behind a line that loses one update of them all: the
// run ends with 5 and names who missed what of whom.
func TestMarauderNamesTheOneThatIsLost(t *testing.T) {
	addr, token := trackerd(t)
	line := lossy(t, addr, 7, 3)
	var stderr bytes.Buffer
	code, out := try(t, t.Context(), &stderr, "marauder", "--server", line, "--token", token,
		"-n", "5", "-m", "4", "-s", "100ms", "--quiet", "--calibrate", "off", "--drain", "300ms", "--max-elapsed", "0")
	if code != exitIncorrect {
		t.Fatalf("it ended with %d: %s%s", code, out, &stderr)
	}
	for _, want := range []string{"lost", "marauder-00000", " of marauder-00000", "want update"} {
		if !strings.Contains(stderr.String(), want) {
			t.Errorf("%q is not in %s", want, &stderr)
		}
	}
}

// trackerd is a whole server in this process.
func trackerd(t *testing.T) (addr, token string) {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "data")
	ready := make(chan struct{})
	s, err := server.Open(t.Context(), server.Config{
		Data: dir, Listen: "127.0.0.1:0", UDP: "127.0.0.1:0",
		Ready: func(a, _ net.Addr) { addr = a.String(); close(ready) },
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	<-ready
	b, err := os.ReadFile(filepath.Join(dir, "admin.token"))
	if err != nil {
		t.Fatal(err)
	}
	return addr, strings.TrimSpace(string(b))
}

// lossy passes on everything between clients and a server of rpc, but for one event of
// the watches of one connection.
func lossy(t *testing.T, to string, conn, event int) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		for n := 1; ; n++ {
			near, err := l.Accept()
			if err != nil {
				return
			}
			far, err := net.Dial("tcp", to)
			if err != nil {
				near.Close()
				continue
			}
			lose := -1
			if n == conn {
				lose = event
			}
			wg.Go(func() { defer far.Close(); _, _ = io.Copy(far, near) })
			wg.Go(func() { defer near.Close(); frames(near, far, lose) })
		}
	})
	t.Cleanup(func() { l.Close(); wg.Wait() })
	return l.Addr().String()
}

// frames passes frames on, and leaves out event number lose.
func frames(to io.Writer, from io.Reader, lose int) {
	var h [rpc.HeaderSize]byte
	for {
		if _, err := io.ReadFull(from, h[:]); err != nil {
			return
		}
		body := make([]byte, binary.LittleEndian.Uint32(h[:])&(1<<24-1))
		if _, err := io.ReadFull(from, body); err != nil {
			return
		}
		if rpc.Kind(h[3]&15) == rpc.KindEvent && binary.LittleEndian.Uint16(h[8:]) == trk.WatchOpenEvent {
			if lose--; lose == 0 {
				continue
			}
		}
		if _, err := to.Write(append(h[:], body...)); err != nil {
			return
		}
	}
}
