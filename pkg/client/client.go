// Package client is the far bank: everything that talks to a server over its wires
// and nothing that looks inside one.
//
//	Conn    questions, commands, reports           Dial, then one method a question
//	Watch   what moves                             Conn.Watch, then Watch.Next
//	Beacon  one reference device, over UDP         sends fixes the way a device must
//	Fleet   thousands of devices over few sockets  for replaying and measuring
//	Volley  the same, sealed ahead                 for measuring what the server does
//
// A Conn asks in one of three ways, as the server's address says. What comes back is
// the same on all of them, failures included:
//
//	HOST:PORT           frames of rpc over TCP or TLS     one connection for everything
//	ws:// and wss://    frames of rpc over a WebSocket    one connection for everything
//	http:// and https:// JSON over HTTP                   and a WebSocket for each Watch
//
// A Conn is safe for concurrent use and connects by itself, again when it must. Every
// call takes a context; what fails comes back as an *Error with the server's words,
// which wraps one of track.Err…, or as an error that is ErrUnreachable.
package client

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"tracker/pkg/seal"
	"tracker/pkg/track"
)

// Config says which server, and as whom.
type Config struct {
	// Server is HOST:PORT, HOST, or a URL of ws, wss, http or https. Without a scheme a
	// loopback host is spoken to in the clear, unless it wants TLS, and any other over
	// TLS; without a port it is 4810.
	Server string
	Token  string
	TLS    TLSConfig
	// Device is who asks instead of the bearer of a token: it proves that it has the
	// device's key. A device may Report, and watch the maps that it has joined. Not over http and https.
	Device seal.Enrolment

	// Timeout bounds each question that is not a stream. 0 = 30 s.
	Timeout time.Duration
	// UserAgent names the program to the server. Empty = "tracker-client".
	UserAgent string
}

// DefaultPort is where a server listens unless told otherwise.
const DefaultPort = "4810"

// Conn speaks to one server.
type Conn struct {
	line *dialer
	wire transport
	life context.Context // ends with Close
	end  context.CancelFunc
}

// Dial checks cfg and makes a Conn. It sends nothing: the first call does.
func Dial(cfg Config) (*Conn, error) {
	base, err := parseServer(cfg.Server)
	if err != nil {
		return nil, err
	}
	if err := checkDevice(&cfg, base); err != nil {
		return nil, err
	}
	if cfg.Timeout == 0 {
		cfg.Timeout = 30 * time.Second
	}
	if cfg.UserAgent == "" {
		cfg.UserAgent = "tracker-client"
	}
	d, err := newDialer(base, cfg.TLS)
	if err != nil {
		return nil, err
	}
	d.guess = !strings.Contains(cfg.Server, "://")
	c := &Conn{line: d}
	c.life, c.end = context.WithCancel(context.Background())
	if base.Scheme == "http" || base.Scheme == "https" {
		c.wire = newHTTP(c.life, cfg, d)
	} else {
		c.wire = newRPC(c.life, cfg, d)
	}
	return c, nil
}

// checkDevice tells whether a device may ask in this way.
func checkDevice(cfg *Config, base url.URL) error {
	switch {
	case cfg.Device.Device == 0:
		return nil
	case cfg.Token != "":
		return fmt.Errorf("a device and a token: want one of them: %w", track.ErrInvalid)
	case base.Scheme == "http" || base.Scheme == "https":
		return noReports(base.Scheme, base.Host)
	}
	return nil
}

// Server is the address that the Conn speaks to, as HOST:PORT.
func (c *Conn) Server() string { return c.line.server }

// CloseIdle closes the connections that no call and no watch is using. Those in use
// close when that is over. The Conn stays good.
func (c *Conn) CloseIdle() { c.wire.closeIdle() }

// Close ends every call and watch and closes every connection. What is asked
// afterwards fails with track.ErrClosed.
func (c *Conn) Close() {
	c.end()
	c.wire.close()
}

// parseServer reads what a person typed for a server. What has no scheme gets one of
// ours, tcp or tls.
func parseServer(s string) (url.URL, error) {
	bad := func(why string) (url.URL, error) {
		return url.URL{}, fmt.Errorf("server %q: %s: %w", s, why, track.ErrInvalid)
	}
	scheme, rest, explicit := strings.Cut(s, "://")
	if !explicit {
		scheme, rest = "", s
	}
	rest = strings.TrimSuffix(rest, "/")
	if rest == "" || strings.ContainsAny(rest, "/?#@ ") {
		return bad("want HOST:PORT, such as 127.0.0.1:4810")
	}
	host, port, err := net.SplitHostPort(rest)
	if err != nil {
		host, port = strings.Trim(rest, "[]"), DefaultPort
		if strings.Contains(host, ":") && net.ParseIP(host) == nil {
			return bad("want HOST:PORT, such as [::1]:4810")
		}
	}
	if host == "" || port == "" {
		return bad("host or port is empty")
	}
	switch {
	case scheme == "" && isLoopback(host):
		scheme = "tcp"
	case scheme == "":
		scheme = "tls"
	case scheme != "http" && scheme != "https" && scheme != "ws" && scheme != "wss":
		return bad("want HOST:PORT, or a URL of ws, wss, http or https")
	}
	return url.URL{Scheme: scheme, Host: net.JoinHostPort(host, port)}, nil
}

func isLoopback(host string) bool {
	if strings.EqualFold(host, "localhost") {
		return true
	}
	ip := net.ParseIP(host)
	return ip != nil && ip.IsLoopback()
}

// ErrUnreachable says that no answer came: wrong address, nobody there, or a line cut.
var ErrUnreachable = errors.New("cannot reach the server")

// Error is what a server answered instead of what was asked for.
type Error struct {
	Status  int    // HTTP status
	Code    string // "not_found", …: see the error table in the API document
	Message string // one sentence for a person
	Hint    string // what to do next, may be empty
	Request string // what to look for in the server's log

	plainOnTLS bool      // the answer of a TLS port to plain text
	serverTime time.Time // if the answer was that our clock is wrong
}

func (e *Error) Error() string {
	switch {
	case e.Message == "":
		return fmt.Sprintf("the server answered %d %s", e.Status, http.StatusText(e.Status))
	case e.Code == "internal":
		return fmt.Sprintf("%s (request %s)", e.Message, e.Request)
	}
	return e.Message
}

// Unwrap gives the word of track that the code stands for.
func (e *Error) Unwrap() error {
	switch e.Code {
	case "invalid", "too_large", "clock_ahead":
		return track.ErrInvalid
	case "unauthenticated", "denied", "revoked", "proof_time":
		return track.ErrDenied
	case "not_found":
		return track.ErrNotFound
	case "exists":
		return track.ErrExists
	case "rate_limited", "unavailable":
		return track.ErrUnavailable
	}
	return nil
}

// unreachable marks an error of the line.
type unreachable struct {
	server string
	err    error
}

func (u *unreachable) Error() string        { return fmt.Sprintf("cannot reach %s: %v", u.server, u.err) }
func (u *unreachable) Unwrap() error        { return u.err }
func (u *unreachable) Is(target error) bool { return target == ErrUnreachable }
