package client

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"tracker/pkg/track"
)

// dialer opens the connections to one server, whatever is spoken on them.
type dialer struct {
	cfg     TLSConfig
	scheme  string // as in parseServer
	server  string // HOST:PORT
	host    string
	roots   *x509.CertPool // nil = the system's
	net     net.Dialer
	guess   bool // whether TLS is spoken is our guess, and may turn out to be wrong
	overTLS atomic.Bool
	mu      sync.Mutex // one decision about a new server at a time
}

func newDialer(base url.URL, cfg TLSConfig) (*dialer, error) {
	d := &dialer{cfg: cfg, scheme: base.Scheme, server: base.Host, host: base.Hostname(), net: net.Dialer{Timeout: 10 * time.Second}}
	d.overTLS.Store(base.Scheme == "tls" || base.Scheme == "wss" || base.Scheme == "https")
	if cfg.Fingerprint != "" {
		if _, err := parseFingerprint(cfg.Fingerprint); err != nil {
			return nil, err
		}
	}
	if cfg.CAFile != "" {
		pem, err := os.ReadFile(cfg.CAFile)
		if err != nil {
			return nil, fmt.Errorf("read authorities: %w", err)
		}
		d.roots = x509.NewCertPool()
		if !d.roots.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("authorities %q: no PEM certificate in it: %w", cfg.CAFile, track.ErrInvalid)
		}
	}
	return d, nil
}

func (d *dialer) plain(ctx context.Context, network, addr string) (net.Conn, error) {
	return d.net.DialContext(ctx, network, addr)
}

// secure opens a TLS connection. Who answered is judged after the handshake, when it
// has shown that it holds the key of its certificate.
func (d *dialer) secure(ctx context.Context, network, addr string) (net.Conn, error) {
	raw, err := d.net.DialContext(ctx, network, addr)
	if err != nil {
		return nil, err
	}
	c := tls.Client(raw, &tls.Config{
		ServerName:         d.host,
		MinVersion:         tls.VersionTLS12,
		InsecureSkipVerify: true, // judge does it, below
	})
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	err = c.HandshakeContext(ctx)
	if err == nil {
		err = d.judge(c.ConnectionState())
	}
	if err != nil {
		_ = raw.Close()
		return nil, err
	}
	return c, nil
}

// open is plain or secure, as is right for the server.
func (d *dialer) open(ctx context.Context) (net.Conn, error) {
	if d.overTLS.Load() {
		return d.secure(ctx, "tcp", d.server)
	}
	return d.plain(ctx, "tcp", d.server)
}

// mustSecure tells whether a refusal was that of a port that speaks only TLS, when
// plain text was our own guess: then the same question is worth asking again.
func (d *dialer) mustSecure(refusal error) bool {
	var e *Error
	return errors.As(refusal, &e) && e.plainOnTLS && d.guess && d.overTLS.CompareAndSwap(false, true)
}

// errClosed is what a Conn says after its end.
func (d *dialer) errClosed() error {
	return fmt.Errorf("connection to %s: %w", d.server, track.ErrClosed)
}

// within bounds a call by the life of the Conn, whose end is no end of the caller's.
func (d *dialer) within(ctx, life context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancelCause(ctx)
	stop := context.AfterFunc(life, func() { cancel(d.errClosed()) })
	return ctx, func() {
		stop()
		cancel(nil)
	}
}

// What is said of a port that speaks only TLS.
const tlsOnly = "this port speaks TLS only"

func (d *dialer) tlsHint() string {
	if d.scheme == "http" {
		return "put https:// before the server's address"
	}
	return "put wss:// before the server's address"
}

// plainScheme is that of the same transport without TLS; frames alone have none.
func (d *dialer) plainScheme() string {
	if d.scheme == "https" {
		return "http"
	}
	return "ws"
}

// lineError turns what net and net/http say into words that end where a person can
// do something.
func (d *dialer) lineError(ctx context.Context, err error) error {
	var op *url.Error
	if errors.As(err, &op) {
		err = op.Err
	}
	if ctx.Err() != nil && errors.Is(context.Cause(ctx), track.ErrClosed) {
		return context.Cause(ctx)
	}
	if ctx.Err() != nil && errors.Is(context.Cause(ctx), context.Canceled) {
		return context.Canceled
	}
	if errors.Is(err, ErrUntrusted) {
		return err
	}
	var dialing *net.OpError
	switch {
	case errors.As(err, &dialing) && dialing.Op == "dial":
		err = dialing.Err
	case errors.Is(err, context.DeadlineExceeded):
		err = errors.New("no answer in time")
	case errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF):
		err = errors.New("it hung up")
	case strings.Contains(err.Error(), "HTTP response to HTTPS client"), strings.Contains(err.Error(), "first record does not look like a TLS handshake"):
		err = fmt.Errorf("it does not speak TLS; try %s://%s", d.plainScheme(), d.server)
	}
	var sys interface{ Unwrap() error }
	if errors.As(err, &sys) && strings.HasPrefix(err.Error(), "connect: ") {
		err = sys.Unwrap()
	}
	return &unreachable{server: d.server, err: err}
}
