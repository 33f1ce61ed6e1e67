package rpcload

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"syscall"
	"time"

	"tracker/pkg/client"
	"tracker/pkg/rpc"
	"tracker/pkg/track"
)

// Target is a server and how its certificate is known.
type Target struct {
	Addr        string // HOST:PORT
	TLS         bool   // 1.3
	Fingerprint string // of the only certificate to accept, as "sha256:HEX"
	CAFile      string // of the only authorities to accept; empty: the system's
}

const patience = 10 * time.Second

// Dialer makes what Config.Dial wants. Its errors wrap client.ErrUnreachable or
// client.ErrUntrusted.
func (t Target) Dialer() (func(ctx context.Context) (net.Conn, error), error) {
	d := net.Dialer{Timeout: patience}
	plain := func(ctx context.Context) (net.Conn, error) {
		nc, err := d.DialContext(ctx, "tcp", t.Addr)
		if err != nil {
			return nil, &unreachable{t.Addr, err}
		}
		return nc, nil
	}
	if !t.TLS {
		return plain, nil
	}
	cfg, err := t.trust()
	if err != nil {
		return nil, err
	}
	return func(ctx context.Context) (net.Conn, error) {
		nc, err := plain(ctx)
		if err != nil {
			return nil, err
		}
		c := tls.Client(nc, cfg)
		ctx, cancel := context.WithTimeout(ctx, patience)
		defer cancel()
		if err := c.HandshakeContext(ctx); err != nil {
			_ = nc.Close()
			var bad *tls.CertificateVerificationError
			if errors.As(err, &bad) {
				err = fmt.Errorf("%w: %w", client.ErrUntrusted, err)
			}
			return nil, fmt.Errorf("tls with %s: %w", t.Addr, err)
		}
		return c, nil
	}, nil
}

func (t Target) trust() (*tls.Config, error) {
	host, _, err := net.SplitHostPort(t.Addr)
	if err != nil {
		return nil, fmt.Errorf("server %q: %v: %w", t.Addr, err, track.ErrInvalid)
	}
	cfg := &tls.Config{ServerName: host, MinVersion: tls.VersionTLS13}
	if t.Fingerprint != "" {
		cfg.InsecureSkipVerify = true // the one certificate is known
		cfg.VerifyConnection = func(cs tls.ConnectionState) error {
			if got := client.FingerprintOf(cs.PeerCertificates[0].Raw); !strings.EqualFold(got, t.Fingerprint) {
				return fmt.Errorf("it shows the certificate %s, want %s: %w", got, t.Fingerprint, client.ErrUntrusted)
			}
			return nil
		}
	}
	if t.CAFile != "" {
		pem, err := os.ReadFile(t.CAFile)
		if err != nil {
			return nil, fmt.Errorf("read authorities: %w", err)
		}
		cfg.RootCAs = x509.NewCertPool()
		if !cfg.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("authorities %q: no PEM certificate in it: %w", t.CAFile, track.ErrInvalid)
		}
	}
	return cfg, nil
}

// unreachable is an error of the line.
type unreachable struct {
	addr string
	err  error
}

func (u *unreachable) Error() string {
	why := u.err
	var number syscall.Errno
	if errors.As(u.err, &number) {
		why = number
	}
	return fmt.Sprintf("cannot reach %s: %v", u.addr, why)
}

func (u *unreachable) Unwrap() []error { return []error{client.ErrUnreachable, u.err} }

// worded is an error of the layer with the word of the house for it beside.
type worded struct {
	error
	word error
}

func (w *worded) Unwrap() []error { return []error{w.error, w.word} }

// inWords lets those who know only the house's words see what a server's status means.
func inWords(err error) error {
	switch rpc.StatusOf(err) {
	case rpc.Unauthenticated, rpc.PermissionDenied:
		return &worded{err, track.ErrDenied}
	case rpc.Unavailable, rpc.DeadlineExceeded:
		return &worded{err, client.ErrUnreachable}
	case rpc.Unimplemented:
		return &worded{err, track.ErrNotFound}
	}
	return err
}
