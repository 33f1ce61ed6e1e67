package main

import (
	"context"
	"fmt"
	"os"
	"strings"

	"github.com/spf13/pflag"

	"tracker/pkg/client"
)

// targetFlags say what to measure.
type targetFlags struct {
	addr      string
	udp       string
	token     string
	tokenFile string
	mine      bool

	loopback bool // found by connect
}

func (t *targetFlags) flags(f *pflag.FlagSet) {
	f.StringVar(&t.addr, "server", "127.0.0.1:4810", "server to measure, `HOST:PORT`")
	alsoAddr(f)
	f.StringVar(&t.udp, "udp", "", "send datagrams to `HOST:PORT` instead of where the enrolments say")
	f.StringVar(&t.token, "token", "", "admin `token` (TRACK_TOKEN)")
	f.StringVar(&t.tokenFile, "token-file", "", "`file` that holds it (TRACK_TOKEN_FILE)")
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

// connect checks that the target may be measured and that it answers.
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
	if _, err := conn.Status(ctx); err != nil {
		return nil, err
	}
	return conn, nil
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
