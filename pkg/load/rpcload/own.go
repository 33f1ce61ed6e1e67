package rpcload

import (
	"context"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"tracker/pkg/client"
	"tracker/pkg/load"
)

// Own is a trackerd that was started to be measured, in a directory of its own, and
// that Close ends and removes.
type Own struct {
	*load.Child
	Target Target // plain; with TLS set it is the same server over TLS
	UDP    string // where it takes datagrams
	Token  []byte // of its administrator
	dir    string
}

// Launch says how a server is started.
type Launch struct {
	Path  string // of the trackerd
	Seats load.Seats
	Args  []string // more flags of its serve
	Env   []string // NAME=VALUE, on top of ours and of GOMAXPROCS=1, one thread of Go code
}

// Start starts the server on free ports of loopback.
func (l Launch) Start(ctx context.Context) (*Own, error) {
	dir, err := os.MkdirTemp("", "trackbench-")
	if err != nil {
		return nil, err
	}
	o := &Own{dir: dir}
	if err := o.start(ctx, &l); err != nil {
		return nil, errors.Join(err, o.Close())
	}
	return o, nil
}

func (o *Own) start(ctx context.Context, l *Launch) error {
	data := filepath.Join(o.dir, "data")
	args := append([]string{"serve", "--data", data, "--listen", "127.0.0.1:0", "--udp", "127.0.0.1:0", "--log-level", "warn"}, l.Args...)
	cmd := l.Seats.Command(context.WithoutCancel(ctx), l.Seats.Server, l.Path, args...) // Close ends it
	cmd.Env = append(cmd.Env, l.Env...)
	ready, cancel := context.WithTimeout(ctx, 2*patience)
	defer cancel()
	var err error
	o.Child, err = load.StartChild(ready, cmd, "trackerd", func(line string) bool {
		n, _ := fmt.Sscanf(line, "ready tcp=%s udp=%s", &o.Target.Addr, &o.UDP)
		return n == 2
	})
	if err != nil {
		return err
	}
	if o.Token, err = os.ReadFile(filepath.Join(data, "admin.token")); err != nil {
		return fmt.Errorf("the token of our own trackerd: %w", err)
	}
	o.Token = []byte(strings.TrimSpace(string(o.Token)))
	cert, err := os.ReadFile(filepath.Join(data, "tls", "cert.pem"))
	if err != nil {
		return fmt.Errorf("the certificate of our own trackerd: %w", err)
	}
	if block, _ := pem.Decode(cert); block != nil {
		o.Target.Fingerprint = client.FingerprintOf(block.Bytes)
	}
	return nil
}

// Close ends the server and removes its directory.
func (o *Own) Close() error {
	if o == nil {
		return nil
	}
	return errors.Join(o.Stop(), os.RemoveAll(o.dir))
}
