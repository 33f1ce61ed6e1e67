package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"tracker/pkg/client"
	"tracker/pkg/load"
	"tracker/pkg/track"
)

// targetFlags say what to measure.
type targetFlags struct {
	addr      string
	udp       string
	token     string
	tokenFile string
	pid       int
	mine      bool

	loopback bool   // found by connect
	version  string // of the server, likewise
}

func (t *targetFlags) flags(f *pflag.FlagSet) {
	f.StringVar(&t.addr, "server", "127.0.0.1:4810", "server to measure, `HOST:PORT` (TRACK_SERVER)")
	alsoAddr(f)
	f.StringVar(&t.udp, "udp", "", "send datagrams to `HOST:PORT` instead of where the enrolments say")
	f.StringVar(&t.token, "token", "", "admin `token` (TRACK_TOKEN)")
	f.StringVar(&t.tokenFile, "token-file", "", "`file` that holds it (TRACK_TOKEN_FILE)")
	f.IntVar(&t.pid, "server-pid", 0, "process `id` of the server, to tell what it uses (default: found by its port, on this machine)")
	f.BoolVar(&t.mine, "i-own-this-target", false, "measure a target that is not this machine")
}

// alsoAddr lets --addr mean --server, as it was called at first.
func alsoAddr(f *pflag.FlagSet) {
	f.SetNormalizeFunc(func(_ *pflag.FlagSet, name string) pflag.NormalizedName {
		if name == "addr" {
			name = "server"
		}
		return pflag.NormalizedName(name)
	})
}

// connect checks that the target may be measured, that it answers, and that it is what
// we measure.
func (t *targetFlags) connect(ctx context.Context) (*client.Conn, error) {
	token, err := t.secret()
	if err != nil {
		return nil, err
	}
	conn, err := client.Dial(client.Config{Server: t.addr, Token: token, UserAgent: "trackbench/" + version})
	if err != nil {
		return nil, fail(exitUsage, "", "--server: %w", err)
	}
	t.loopback = loopback(conn.Server()) && (t.udp == "" || loopback(t.udp))
	if !t.loopback && !t.mine {
		return nil, refuse(t.addr)
	}
	if t.version, err = t.identify(ctx, conn.Server()); err != nil {
		return nil, err
	}
	status, err := conn.Status(ctx)
	if err != nil {
		return nil, stranger(t.addr, err)
	}
	t.version = status.Version
	return conn, nil
}

// glimpse is how long a server of this machine may take to say what it is.
const glimpse = 5 * time.Second

// identify asks a server of this machine what it is, so that a web server which is none
// of ours is told at once and not when our handshake with it times out. Of what does not
// speak HTTP in the clear it says nothing: the real connection will.
func (t *targetFlags) identify(ctx context.Context, addr string) (version string, err error) {
	if !loopback(addr) {
		return "", nil
	}
	ctx, cancel := context.WithTimeout(ctx, glimpse)
	defer cancel()
	rq, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+addr+"/", nil)
	if err != nil {
		return "", fail(exitUsage, "", "--server: %w", err)
	}
	rq.Close = true
	answer, err := http.DefaultTransport.RoundTrip(rq)
	var slow net.Error
	switch {
	case errors.As(err, &slow) && slow.Timeout():
		return "", fail(exitUnreachable, "is it a trackerd, and is it stopped? --server wants the HOST:PORT where it serves its API", "%s takes connections and says nothing", addr)
	case err != nil:
		return "", nil
	}
	defer func() { _ = answer.Body.Close() }()
	var who struct{ Service, Version string }
	if err := json.NewDecoder(io.LimitReader(answer.Body, 4096)).Decode(&who); err != nil || who.Service != "tracker" {
		return "", stranger(addr, fmt.Errorf("it is a web server that answers %s", answer.Status))
	}
	return who.Version, nil
}

// stranger says so of a target that answers, and not as a trackerd does.
func stranger(addr string, err error) error {
	var answer *client.Error
	switch {
	case errors.Is(err, client.ErrUnreachable), errors.Is(err, client.ErrUntrusted), errors.Is(err, track.ErrDenied), errors.Is(err, context.Canceled):
		return err
	case errors.As(err, &answer) && answer.Code != "":
		return err // it speaks as one of ours
	}
	return fail(exitUnreachable, "--server wants the HOST:PORT where trackerd serves its API", "%s answers, and is no trackerd: %w", addr, err)
}

// target is what a header and a result say of it.
func (t *targetFlags) target(addr string) load.Target {
	return load.Target{Addr: addr, UDP: t.udp, Kind: "trackerd", Version: t.version}
}

// process is that of the server, nil if it is not on this machine or nobody tells.
func (t *targetFlags) process() *load.Process {
	if t.pid != 0 {
		return &load.Process{PID: t.pid}
	}
	if !t.loopback {
		return nil
	}
	return load.ListenerAt(t.addr)
}

// machine describes this machine for a header.
func machine() *load.Env {
	v := load.ReadVitals()
	e := load.Describe(v, v)
	return &e
}

// refuse keeps a load tool from being pointed at somebody else's machine.
func refuse(host string) error {
	return fail(exitUsage, "--i-own-this-target says that it is yours to load", "%s is not this machine", host)
}

func (t *targetFlags) secret() (string, error) {
	path := t.tokenFile
	switch {
	case t.token != "":
		return t.token, nil
	case path == "" && os.Getenv("TRACK_TOKEN") != "":
		return os.Getenv("TRACK_TOKEN"), nil
	case path == "":
		path = os.Getenv("TRACK_TOKEN_FILE")
	}
	if path == "" {
		return "", nil
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return "", fail(exitUsage, "a first start of trackerd writes admin.token in its data directory", "%w", fmt.Errorf("read the token: %w", err))
	}
	return strings.TrimSpace(string(b)), nil
}
