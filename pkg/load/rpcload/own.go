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
	Token  []byte // of its administrator
	dir    string
}

// StartOwn starts the trackerd at path on a free port of loopback.
func StartOwn(ctx context.Context, seats load.Seats, path string) (*Own, error) {
	dir, err := os.MkdirTemp("", "trackbench-")
	if err != nil {
		return nil, err
	}
	o := &Own{dir: dir}
	if err := o.start(ctx, seats, path); err != nil {
		return nil, errors.Join(err, o.Close())
	}
	return o, nil
}

func (o *Own) start(ctx context.Context, seats load.Seats, path string) error {
	data := filepath.Join(o.dir, "data")
	cmd := seats.Command(context.WithoutCancel(ctx), seats.Server, path, // Close ends it
		"serve", "--data", data, "--listen", "127.0.0.1:0", "--udp", "127.0.0.1:0", "--log-level", "warn")
	ready, cancel := context.WithTimeout(ctx, 2*patience)
	defer cancel()
	var err error
	o.Child, err = load.StartChild(ready, cmd, "trackerd", func(line string) bool {
		var udp string
		n, _ := fmt.Sscanf(line, "ready tcp=%s udp=%s", &o.Target.Addr, &udp)
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
