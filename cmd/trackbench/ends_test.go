package main

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"tracker/cmd/internal/clitest"
	"tracker/pkg/load"
)

// try runs the program in this process.
func try(t *testing.T, ctx context.Context, stderr io.Writer, args ...string) (code int, out string) {
	t.Helper()
	for _, name := range []string{"HOME", "XDG_STATE_HOME"} {
		t.Setenv(name, t.TempDir())
	}
	var stdout bytes.Buffer
	b := &bench{out: &stdout, err: stderr}
	return b.main(ctx, args), stdout.String()
}

// A target that answers, and is something else, is told apart from one that is not there
// and from a server that fails.
func TestATargetThatIsNoTrackerdIsRefused(t *testing.T) {
	page := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, "<html>It works!</html>")
	}))
	t.Cleanup(page.Close)
	missing := httptest.NewServer(http.NotFoundHandler())
	t.Cleanup(missing.Close)
	empty := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "{}") }))
	t.Cleanup(empty.Close)
	for name, addr := range map[string]string{
		"a page": page.Listener.Addr().String(), "not found": missing.Listener.Addr().String(), "empty JSON": empty.Listener.Addr().String(),
		"chatter": chatter(t, "+PONG\r\n"), "silence": chatter(t, ""),
	} {
		for _, cmd := range []string{"ingest", "rpc"} {
			var stderr bytes.Buffer
			code, _ := try(t, t.Context(), &stderr, cmd, "--server", addr, "--duration", "100ms", "--token", "x")
			if code != exitUnreachable {
				t.Errorf("%s of %s ended with %d: %s", cmd, name, code, &stderr)
			}
		}
	}
}

// Who takes connections and never says a word is told so, and soon: the handshake of each
// connection would wait for half a minute.
func TestATargetThatSaysNothing(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0") // the system takes connections; nobody accepts them
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	var stderr bytes.Buffer
	code, _ := try(t, t.Context(), &stderr, "fanout", "--server", l.Addr().String(), "--duration", "100ms", "--token", "x")
	if code != exitUnreachable || !strings.Contains(stderr.String(), "says nothing") {
		t.Errorf("code %d: %s", code, &stderr)
	}
}

// chatter answers each connection with the same words, and hangs up.
func chatter(t *testing.T, words string) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			_, _ = c.Read(make([]byte, 4096))
			_, _ = io.WriteString(c, words)
			_ = c.Close()
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		wg.Wait()
	})
	return l.Addr().String()
}

// onLine calls a function when something is said; it may be written to from anywhere.
type onLine struct {
	mu   sync.Mutex
	text strings.Builder
	want string
	then func()
}

func (w *onLine) Write(b []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.text.Write(b)
	if strings.Contains(w.text.String(), w.want) {
		w.then()
	}
	return len(b), nil
}

func (w *onLine) String() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.text.String()
}

// Who interrupts a run keeps what it has measured: files that can be read, and that say
// what they are.
func TestAnInterruptedRunWritesWholeFiles(t *testing.T) {
	d, err := clitest.Start(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = d.Stop() })
	for _, cmd := range [][]string{{"ingest", "--watch", "--rate", "200"}, {"rpc", "--depth", "16"}, {"rpc", "--rate", "1k"}} {
		dir := t.TempDir()
		ctx, cancel := context.WithCancel(t.Context())
		stderr := &onLine{want: "0.3s ", then: cancel}
		code, out := try(t, ctx, stderr, append(cmd, "--server", d.TCP, "--token-file", filepath.Join(d.Data, "admin.token"), "--warmup", "0s",
			"--duration", "1h", "--interval", "100ms", "--out", "json="+dir+"/r.json", "--out", "hlog="+dir+"/r.hlog", "--out", "hgrm="+dir+"/hgrm")...)
		if code != exitInterrupted || !strings.Contains(out, "PARTIAL") {
			t.Errorf("%v: code %d, said %s%s", cmd, code, out, stderr)
		}
		b, err := os.ReadFile(dir + "/r.json")
		if err != nil {
			t.Fatal(err)
		}
		var res load.Result
		if err := json.Unmarshal(b, &res); err != nil || !res.Partial || res.Counts.Sent == 0 || res.Counts.Accepted != res.Counts.Sent {
			t.Errorf("%v: %v, %+v", cmd, err, res.Counts)
		}
		for _, name := range []string{"/r.hlog", "/hgrm/response.hgrm"} {
			if b, err := os.ReadFile(dir + name); err != nil || !bytes.HasSuffix(b, []byte("\n")) {
				t.Errorf("%s: %v", name, err)
			}
		}
		if entries, _ := os.ReadDir(dir); len(entries) != 3 {
			t.Errorf("%v", entries)
		}
	}
}

// No file tells a secret of the command line.
func TestAResultTellsNoSecrets(t *testing.T) {
	d, err := clitest.Start(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = d.Stop() })
	token, err := os.ReadFile(filepath.Join(d.Data, "admin.token"))
	if err != nil {
		t.Fatal(err)
	}
	secret := strings.TrimSpace(string(token))
	code, out := try(t, t.Context(), io.Discard, "rpc", "--server", d.TCP, "--token", secret, "--warmup", "0s", "--duration", "50ms", "--json", "--label", "who=me")
	if code != exitDone {
		t.Fatalf("code %d: %s", code, out)
	}
	if strings.Contains(out, secret) || !strings.Contains(out, "REDACTED") {
		t.Errorf("the result holds the token, or not its place: %s", out)
	}
}
