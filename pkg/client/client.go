// Package client is the far bank: everything that talks to a server over its wires
// and nothing that looks inside one.
//
//	Conn    questions and commands over HTTP       Dial, then one method a question
//	Watch   what moves, over a WebSocket           Conn.Watch, then Watch.Next
//	Beacon  one reference device, over UDP         sends fixes the way a device must
//	Fleet   thousands of devices over few sockets  for replaying and measuring
//
// A Conn is safe for concurrent use and needs no closing beyond CloseIdle. Every call
// takes a context; what fails comes back as an *Error with the server's words, which
// wraps one of track.Err…, or as an error that is ErrUnreachable.
package client

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"time"

	"tracker/pkg/track"
)

// Config says which server, and as whom.
type Config struct {
	// Server is HOST:PORT, HOST, or a URL. Without a scheme a loopback host is spoken
	// to in the clear and any other over TLS; without a port it is 4810.
	Server string
	Token  string
	TLS    TLSConfig

	// Timeout bounds each question that is not a stream. 0 = 30 s.
	Timeout time.Duration
	// UserAgent names the program to the server. Empty = "tracker-client".
	UserAgent string
}

// DefaultPort is where a server listens unless told otherwise.
const DefaultPort = "4810"

// Conn speaks to one server.
type Conn struct {
	cfg    Config
	base   url.URL // scheme and host
	guess  bool    // the scheme is our guess, and may turn out to be wrong
	secure atomic.Bool
	dial   *dialer
	http   *http.Client
}

// Dial checks cfg and makes a Conn. It sends nothing: the first call does.
func Dial(cfg Config) (*Conn, error) {
	base, err := parseServer(cfg.Server)
	if err != nil {
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
	c := &Conn{cfg: cfg, base: base, dial: d, guess: !strings.Contains(cfg.Server, "://")}
	c.secure.Store(base.Scheme == "https")
	c.http = &http.Client{
		Transport: &http.Transport{
			DialContext:         d.plain,
			DialTLSContext:      d.secure,
			DisableCompression:  true,
			MaxIdleConnsPerHost: 4,
			IdleConnTimeout:     30 * time.Second,

			ExpectContinueTimeout: 2 * time.Second,
		},
		// A redirect would carry the token to another place.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	return c, nil
}

func (c *Conn) scheme() string {
	if c.secure.Load() {
		return "https"
	}
	return "http"
}

// mustSecure tells whether a refusal was that of a port that speaks only TLS, when
// plain text was our own guess: then the same question is worth asking again.
func (c *Conn) mustSecure(refusal error) bool {
	var e *Error
	return errors.As(refusal, &e) && e.plainOnTLS && c.guess && c.secure.CompareAndSwap(false, true)
}

// Server is the address that the Conn speaks to, as HOST:PORT.
func (c *Conn) Server() string { return c.base.Host }

// CloseIdle closes the connections that no call is using.
func (c *Conn) CloseIdle() { c.http.CloseIdleConnections() }

// parseServer reads what a person typed for a server.
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
		scheme = "http"
	case scheme == "":
		scheme = "https"
	case scheme != "http" && scheme != "https":
		return bad("want http:// or https://")
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

	plainOnTLS bool // the answer of a TLS port to plain text
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
	case "invalid", "too_large":
		return track.ErrInvalid
	case "unauthenticated", "denied":
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

// lineError turns what net and net/http say into words that end where a person can
// do something.
func (c *Conn) lineError(ctx context.Context, err error) error {
	var op *url.Error
	if errors.As(err, &op) {
		err = op.Err
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
		err = fmt.Errorf("it does not speak TLS; try http://%s", c.base.Host)
	}
	var sys interface{ Unwrap() error }
	if errors.As(err, &sys) && strings.HasPrefix(err.Error(), "connect: ") {
		err = sys.Unwrap()
	}
	return &unreachable{server: c.base.Host, err: err}
}

// askFirst is the size of a body, in bytes, above which a client asks whether to send
// it.
const askFirst = 16 << 10

// maxReply bounds what one answer that is not a stream may weigh.
const maxReply = 64 << 20

// call asks one question: body and reply are JSON, either may be nil.
func (c *Conn) call(ctx context.Context, method, path string, query url.Values, body, reply any) error {
	ctx, cancel := context.WithTimeout(ctx, c.cfg.Timeout)
	defer cancel()
	resp, err := c.send(ctx, method, path, query, body, "application/json")
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(io.LimitReader(resp.Body, maxReply+1))
	if err != nil {
		return c.lineError(ctx, err)
	}
	if len(b) > maxReply {
		return fmt.Errorf("the answer of %s is larger than %d MiB", c.base.Host, maxReply>>20)
	}
	if reply == nil {
		return nil
	}
	if err := json.Unmarshal(b, reply); err != nil {
		return fmt.Errorf("the answer of %s is not what was expected: %v (is it a tracker server?)", c.base.Host, err)
	}
	return nil
}

// ask is call with a reply of its own.
func ask[T any](ctx context.Context, c *Conn, method, path string, query url.Values, body any) (T, error) {
	var reply T
	err := c.call(ctx, method, path, query, body, &reply)
	return reply, err
}

// send asks and returns an answer that is a success; the caller closes its body.
func (c *Conn) send(ctx context.Context, method, path string, query url.Values, body any, accept string) (*http.Response, error) {
	resp, err := c.sendOnce(ctx, method, path, query, body, accept)
	if err != nil && c.mustSecure(err) {
		return c.sendOnce(ctx, method, path, query, body, accept)
	}
	return resp, err
}

func (c *Conn) sendOnce(ctx context.Context, method, path string, query url.Values, body any, accept string) (*http.Response, error) {
	var r io.Reader
	if body != nil {
		b, err := json.Marshal(body)
		if err != nil {
			return nil, err
		}
		r = bytes.NewReader(b)
	}
	u := c.scheme() + "://" + c.base.Host + path
	if len(query) > 0 {
		u += "?" + query.Encode()
	}
	req, err := http.NewRequestWithContext(ctx, method, u, r)
	if err != nil {
		return nil, err
	}
	c.setHeaders(req.Header)
	req.Header.Set("Accept", accept)
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	if req.ContentLength > askFirst {
		req.Header.Set("Expect", "100-continue") // a refusal then comes before all of it was sent
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, c.lineError(ctx, err)
	}
	if resp.StatusCode/100 == 2 {
		return resp, nil
	}
	defer resp.Body.Close()
	return nil, readError(resp.StatusCode, resp.Body)
}

func (c *Conn) setHeaders(h http.Header) {
	if c.cfg.Token != "" {
		h.Set("Authorization", "Bearer "+c.cfg.Token)
	}
	h.Set("User-Agent", c.cfg.UserAgent)
}

// problem is how every error looks on every wire of the API.
type problem struct {
	Error struct {
		Code    string `json:"code"`
		Message string `json:"message"`
		Hint    string `json:"hint"`
		Request string `json:"request"`
	} `json:"error"`
}

func (p *problem) asError(status int) *Error {
	return &Error{Status: status, Code: p.Error.Code, Message: p.Error.Message, Hint: p.Error.Hint, Request: p.Error.Request}
}

func readError(status int, body io.Reader) error {
	var p problem
	b, _ := io.ReadAll(io.LimitReader(body, 64<<10))
	_ = json.Unmarshal(b, &p) // a proxy in between may answer in its own words
	e := p.asError(status)
	e.plainOnTLS = status == http.StatusBadRequest && bytes.HasPrefix(b, []byte("this port speaks TLS"))
	if e.plainOnTLS {
		e.Message, e.Hint = "this port speaks TLS only", "put https:// before the server's address"
	}
	return e
}
