package client

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"tracker/pkg/rpc"
	"tracker/pkg/track"
	"tracker/pkg/wire/trk"
)

// stub is a server of the bare protocol that answers one question, by its own rules.
type stub struct {
	t      testing.TB
	addr   string
	tls    *tls.Config // TLS only, and plain text is told so; nil: plain text
	answer func(ctx context.Context) (string, error)
	hello  func(h *rpc.Hello) error
	grace  time.Duration // 0: a tenth of a second

	conns atomic.Int64 // accepted so far
	mu    sync.Mutex
	open  map[net.Conn]bool
	stop  func() // as a server that ends; start begins again at the same address
}

func newStub(t testing.TB, change func(*stub)) *stub {
	t.Helper()
	s := &stub{t: t, addr: "127.0.0.1:0", open: map[net.Conn]bool{}, answer: func(context.Context) (string, error) { return "stub", nil }}
	if change != nil {
		change(s)
	}
	s.start()
	t.Cleanup(func() { s.stop() })
	return s
}

func (s *stub) start() {
	s.t.Helper()
	ln, err := net.Listen("tcp", s.addr)
	if err != nil {
		s.t.Fatal(err)
	}
	s.addr = ln.Addr().String()
	srv := rpc.NewServer(rpc.Config{Grace: cmp.Or(s.grace, 100*time.Millisecond), Authenticate: func(_ context.Context, h *rpc.Hello, _ net.Addr) (any, error) {
		if s.hello != nil {
			return nil, s.hello(h)
		}
		return nil, nil
	}})
	trk.RegisterStatus(srv, s, nil)
	trk.RegisterDevices(srv, stubDevices{DevicesServer: nil, s: s}, nil)
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			s.conns.Add(1)
			wg.Go(func() { s.serve(ctx, srv, c) })
		}
	})
	stopped := false
	s.stop = func() {
		if !stopped {
			stopped = true
			_ = ln.Close()
			cancel()
			wg.Wait()
		}
	}
}

func (s *stub) serve(ctx context.Context, srv *rpc.Server, c net.Conn) {
	s.mu.Lock()
	s.open[c] = true
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		delete(s.open, c)
		s.mu.Unlock()
	}()
	if s.tls == nil {
		srv.ServeConn(ctx, c)
		return
	}
	first := make([]byte, 1)
	if _, err := io.ReadFull(c, first); err != nil {
		_ = c.Close()
		return
	}
	if first[0] != 0x16 {
		sayTLS(c)
		return
	}
	srv.ServeConn(ctx, tls.Server(&unread{c, first}, s.tls))
}

// sayTLS answers plain text as the port of the house does.
func sayTLS(c net.Conn) {
	_, _ = c.Write(rpc.AppendGoAway(nil, &rpc.Error{Status: rpc.FailedPrecondition, Reason: "tls", Message: "this port speaks TLS: use it"}))
	_, _ = io.Copy(io.Discard, c) // closed with bytes unread, it would take its words back
	_ = c.Close()
}

// unread is a connection of which a little was read already.
type unread struct {
	net.Conn
	head []byte
}

func (u *unread) Read(b []byte) (int, error) {
	if len(u.head) > 0 {
		n := copy(b, u.head)
		u.head = u.head[n:]
		return n, nil
	}
	return u.Conn.Read(b)
}

// NetConn lets a server find the socket, whose buffers it bounds.
func (u *unread) NetConn() net.Conn { return u.Conn }

// cut hangs up on everybody, without a word.
func (s *stub) cut() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.open {
		_ = c.(*net.TCPConn).SetLinger(0)
		_ = c.Close()
	}
}

func (s *stub) Get(r *rpc.Request, _ trk.Empty, out []byte) ([]byte, error) {
	version, err := s.answer(r.Context())
	if err != nil {
		return nil, err
	}
	return trk.AppendStatusReply(out, &trk.StatusReplyT{Version: version}), nil
}

// stubDevices answers Rotate, which must not be asked twice, as Status is.
type stubDevices struct {
	trk.DevicesServer
	s *stub
}

func (d stubDevices) Rotate(r *rpc.Request, _ trk.DeviceRef, out []byte) ([]byte, error) {
	if _, err := d.s.answer(r.Context()); err != nil {
		return nil, err
	}
	return trk.AppendEnrolled(out, &trk.EnrolledT{Device: &trk.DeviceT{Id: "000000000001"}}), nil
}

func TestCallsShareOneConnectionAndItIsReplaced(t *testing.T) {
	s := newStub(t, nil)
	c := dialTo(t, Config{Server: s.addr})
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			if st, err := c.Status(t.Context()); err != nil || st.Version != "stub" {
				t.Errorf("got %+v, %v", st, err)
			}
		})
	}
	wg.Wait()
	if n := s.conns.Load(); n != 1 {
		t.Errorf("got %d connections for calls that are made together", n)
	}
	s.cut()
	if _, err := c.Status(t.Context()); err != nil {
		t.Errorf("after a cut: %v", err)
	}
	s.stop()
	if _, err := c.Status(t.Context()); !errors.Is(err, ErrUnreachable) {
		t.Errorf("stopped: got %v", err)
	}
	s.start()
	if _, err := c.Status(t.Context()); err != nil {
		t.Errorf("started again: %v", err)
	}
}

func TestWhoDialsAndGivesUpFailsNobodyElse(t *testing.T) {
	hello, welcome := make(chan bool, 8), make(chan bool)
	s := newStub(t, func(s *stub) {
		s.hello = func(*rpc.Hello) error {
			hello <- true
			<-welcome
			return nil
		}
	})
	c := dialTo(t, Config{Server: s.addr})
	ctx, cancel := context.WithCancel(t.Context())
	first, second := make(chan error, 1), make(chan error, 1)
	go func() {
		_, err := c.Status(ctx)
		first <- err
	}()
	<-hello
	go func() {
		_, err := c.Status(t.Context())
		second <- err
	}()
	cancel()
	if err := <-first; !errors.Is(err, context.Canceled) {
		t.Errorf("who gave up: got %v", err)
	}
	close(welcome)
	if err := <-second; err != nil {
		t.Errorf("who waited: got %v", err)
	}
}

func TestOnlyCallsThatMayRunTwiceAreSentAgain(t *testing.T) {
	var asked atomic.Int64
	s := newStub(t, func(s *stub) {
		s.answer = func(ctx context.Context) (string, error) {
			if asked.Add(1)%2 == 1 {
				s.cut() // while it runs
				<-ctx.Done()
			}
			return "second", nil
		}
	})
	c := dialTo(t, Config{Server: s.addr})
	if st, err := c.Status(t.Context()); err != nil || st.Version != "second" || asked.Load() != 2 {
		t.Errorf("got %+v, %v after %d questions", st, err, asked.Load())
	}
	if _, err := c.Rotate(t.Context(), "x"); !errors.Is(err, ErrUnreachable) || asked.Load() != 3 {
		t.Errorf("got %v after %d questions", err, asked.Load())
	}
}

func TestADrainingServerAnswersWhatItHasAndIsLeft(t *testing.T) {
	running, finish := make(chan bool, 8), make(chan bool)
	s := newStub(t, func(s *stub) {
		s.answer = func(ctx context.Context) (string, error) {
			running <- true
			<-finish
			return "done", nil
		}
	})
	c := dialTo(t, Config{Server: s.addr})
	first := make(chan error, 1)
	go func() {
		_, err := c.Rotate(t.Context(), "x")
		first <- err
	}()
	<-running
	stopped := make(chan bool)
	go func() {
		s.stop()
		close(stopped)
	}()
	l := c.wire.(*overRPC).linkNow()
	<-l.Leaving()
	if _, err := c.Status(t.Context()); !errors.Is(err, ErrUnreachable) {
		t.Errorf("a new call: got %v", err) // nobody listens any more
	}
	close(finish)
	if err := <-first; err != nil {
		t.Errorf("the call in flight: %v", err)
	}
	<-stopped
	s.start()
	if _, err := c.Status(t.Context()); err != nil {
		t.Errorf("the next server: %v", err)
	}
}

// A request that came too late to a server that stops was not taken, and is asked
// again, elsewhere, though the word that the server leaves comes only behind its answer.
func TestWhatCameTooLateForAServerIsAskedAgain(t *testing.T) {
	told := make(chan struct{})
	var asked atomic.Int64
	s := newStub(t, func(s *stub) {
		s.answer = func(context.Context) (string, error) {
			if asked.Add(1) == 1 {
				time.AfterFunc(10*time.Millisecond, func() { s.cut(); close(told) })
				return "", &rpc.Error{Status: rpc.Unavailable, Reason: "going away", NotRun: true}
			}
			return "next", nil
		}
	})
	c := dialTo(t, Config{Server: s.addr})
	if _, err := c.Rotate(t.Context(), "x"); err != nil || asked.Load() != 2 {
		t.Errorf("got %v after %d questions", err, asked.Load())
	}
	<-told
}

func (c *overRPC) linkNow() *link {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.link
}

func TestCloseIdleLeavesWhatIsUsed(t *testing.T) {
	running, finish := make(chan bool, 1), make(chan bool)
	s := newStub(t, func(s *stub) {
		s.answer = func(context.Context) (string, error) {
			running <- true
			<-finish
			return "done", nil
		}
	})
	c := dialTo(t, Config{Server: s.addr})
	answered := make(chan error, 1)
	go func() {
		_, err := c.Status(t.Context())
		answered <- err
	}()
	<-running
	l := c.wire.(*overRPC).linkNow()
	c.CloseIdle()
	close(finish)
	if err := <-answered; err != nil {
		t.Errorf("got %v", err)
	}
	<-l.Done() // closed with its last use
	if _, err := c.Status(t.Context()); err != nil || s.conns.Load() != 2 {
		t.Errorf("got %v over connection %d", err, s.conns.Load())
	}
	l = c.wire.(*overRPC).linkNow()
	c.CloseIdle()
	<-l.Done()
}

func TestALinkThatNobodyUsesIsClosed(t *testing.T) {
	s := newStub(t, nil)
	c := dialTo(t, Config{Server: s.addr})
	c.wire.(*overRPC).idle = time.Millisecond
	for range 5 {
		if _, err := c.Status(t.Context()); err != nil {
			t.Fatal(err)
		}
		if l := c.wire.(*overRPC).linkNow(); l != nil {
			<-l.Done()
		}
	}
}

func TestCloseEndsADialAndAConnectionThatTheServerLeaves(t *testing.T) {
	c := dialTo(t, Config{Server: silentPort(t)})
	failed := make(chan error, 1)
	go func() {
		_, err := c.Status(t.Context())
		failed <- err
	}()
	c.Close()
	if err := <-failed; !errors.Is(err, track.ErrClosed) {
		t.Errorf("a dial: got %v", err)
	}

	running, finish := make(chan bool, 1), make(chan bool)
	s := newStub(t, func(s *stub) {
		s.grace = time.Hour
		s.answer = func(ctx context.Context) (string, error) {
			running <- true
			<-finish
			return "late", nil
		}
	})
	c = dialTo(t, Config{Server: s.addr})
	go func() {
		_, err := c.Rotate(t.Context(), "x")
		failed <- err
	}()
	<-running
	stopped := make(chan bool)
	go func() {
		s.stop()
		close(stopped)
	}()
	<-c.wire.(*overRPC).linkNow().Leaving()
	if _, err := c.Status(t.Context()); err == nil {
		t.Error("nobody listens, and somebody answers")
	}
	c.Close()
	if err := <-failed; !errors.Is(err, track.ErrClosed) {
		t.Errorf("a call on a connection that is left: got %v", err)
	}
	close(finish)
	<-stopped
}

func TestCloseEndsEverything(t *testing.T) {
	running := make(chan bool, 1)
	s := newStub(t, func(s *stub) {
		s.answer = func(ctx context.Context) (string, error) {
			running <- true
			<-ctx.Done()
			return "", ctx.Err()
		}
	})
	c := dialTo(t, Config{Server: s.addr})
	answered := make(chan error, 1)
	go func() {
		_, err := c.Status(t.Context())
		answered <- err
	}()
	<-running
	c.Close()
	if err := <-answered; !errors.Is(err, track.ErrClosed) {
		t.Errorf("got %v", err)
	}
	if _, err := c.Status(t.Context()); !errors.Is(err, track.ErrClosed) {
		t.Errorf("afterwards: got %v", err)
	}
	h := dialTo(t, Config{Server: "http://" + silentPort(t)})
	go func() {
		_, err := h.Status(t.Context())
		answered <- err
	}()
	h.Close()
	if err := <-answered; !errors.Is(err, track.ErrClosed) {
		t.Errorf("http: got %v", err)
	}
	if _, err := h.Status(t.Context()); !errors.Is(err, track.ErrClosed) {
		t.Errorf("http, afterwards: got %v", err)
	}
}

func TestGivingUpIsTheCallersOwn(t *testing.T) {
	s := newStub(t, func(s *stub) {
		s.answer = func(ctx context.Context) (string, error) {
			<-ctx.Done()
			return "", ctx.Err()
		}
	})
	c := dialTo(t, Config{Server: s.addr, Timeout: 50 * time.Millisecond})
	if _, err := c.Status(t.Context()); !errors.Is(err, ErrUnreachable) || !strings.HasSuffix(err.Error(), "no answer in time") {
		t.Errorf("late: got %v", err)
	}
	c = dialTo(t, Config{Server: s.addr})
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(20*time.Millisecond, cancel)
	if _, err := c.Status(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: got %v", err)
	}
}

func TestStatusesKeepTheirMeaning(t *testing.T) {
	var answer error
	s := newStub(t, func(s *stub) { s.answer = func(context.Context) (string, error) { return "", answer } })
	c := dialTo(t, Config{Server: s.addr})
	for _, tc := range []struct {
		err    *rpc.Error
		status int
		code   string
		is     error
		text   string
	}{
		{&rpc.Error{Status: rpc.NotFound, Reason: "not_found", Message: `device "x": not found`}, 404, "not_found", track.ErrNotFound, `device "x": not found`},
		{&rpc.Error{Status: rpc.Unauthenticated, Message: "who?"}, 401, "unauthenticated", track.ErrDenied, "who?"},
		{&rpc.Error{Status: rpc.PermissionDenied, Message: "no"}, 403, "denied", track.ErrDenied, "no"},
		{&rpc.Error{Status: rpc.AlreadyExists, Message: "taken"}, 409, "exists", track.ErrExists, "taken"},
		{&rpc.Error{Status: rpc.InvalidArgument, Message: "bad"}, 400, "invalid", track.ErrInvalid, "bad"},
		{&rpc.Error{Status: rpc.ResourceExhausted, Message: "slow down"}, 429, "rate_limited", track.ErrUnavailable, "slow down"},
		{&rpc.Error{Status: 256, Message: "too many watches"}, 429, "rate_limited", track.ErrUnavailable, "too many watches"},
		{&rpc.Error{Status: rpc.Internal, Message: "internal error", Ref: "r1"}, 500, "internal", nil, "internal error (request r1)"},
		{&rpc.Error{Status: rpc.ResourceExhausted, Reason: "too much in flight", NotRun: true}, 429, "rate_limited", track.ErrUnavailable, "too much in flight"},
		{&rpc.Error{Status: rpc.Unimplemented, Reason: "no such method", NotRun: true}, 400, "invalid", track.ErrInvalid, "no such method"},
		{&rpc.Error{Status: rpc.Unavailable, Reason: "unavailable", Message: "later"}, 503, "unavailable", track.ErrUnavailable, "later"},
		{&rpc.Error{Status: 999, Message: "from the future"}, 500, "internal", nil, "from the future (request )"},
	} {
		answer = tc.err
		_, err := c.Status(t.Context())
		var e *Error
		if !errors.As(err, &e) || e.Status != tc.status || e.Code != tc.code || e.Request != tc.err.Ref || err.Error() != tc.text || tc.is != nil && !errors.Is(err, tc.is) {
			t.Errorf("%v: got %v, %+v", tc.err, err, e)
		}
	}
}

// certificate is one of httptest's, which no authority vouches for.
func certificate(t testing.TB) (*tls.Config, string) {
	t.Helper()
	s := httptest.NewUnstartedServer(nil)
	s.StartTLS()
	defer s.Close()
	return &tls.Config{Certificates: s.TLS.Certificates}, FingerprintOf(s.Certificate().Raw)
}

func TestFramesTrustNobodyElseEither(t *testing.T) {
	cert, fingerprint := certificate(t)
	s := newStub(t, func(s *stub) { s.tls = cert })
	file := filepath.Join(t.TempDir(), "known_servers")
	var told []string
	cfg := Config{Server: s.addr, TLS: TLSConfig{KnownServers: file, OnFirstUse: func(s, f string) { told = append(told, s+" "+f) }}}
	for range 2 { // a guess of plain text, corrected by the port
		if st, err := dialTo(t, cfg).Status(t.Context()); err != nil || st.Version != "stub" {
			t.Fatalf("got %+v, %v", st, err)
		}
	}
	if len(told) != 1 || told[0] != s.addr+" "+fingerprint {
		t.Errorf("told %q", told)
	}
	if err := os.WriteFile(file, fmt.Appendf(nil, "%s sha256:%s\n", s.addr, strings.Repeat("00", 32)), 0o600); err != nil {
		t.Fatal(err)
	}
	c := dialTo(t, cfg)
	if _, err := c.Status(t.Context()); !errors.Is(err, ErrUntrusted) || errors.Is(err, ErrUnreachable) {
		t.Errorf("another certificate: got %v", err)
	}
	if _, err := c.Watch(t.Context(), Area{}); !errors.Is(err, ErrUntrusted) {
		t.Errorf("watch: got %v", err)
	}
	if _, err := dialTo(t, Config{Server: s.addr}).Status(t.Context()); !errors.Is(err, ErrUntrusted) {
		t.Errorf("nothing remembered: got %v", err)
	}
}

func TestHelloSaysWhoAsks(t *testing.T) {
	var got rpc.Hello
	s := newStub(t, func(s *stub) {
		s.hello = func(h *rpc.Hello) error {
			got = *h
			got.Auth = append([]byte(nil), h.Auth...)
			if string(h.Auth) != "trk_x" {
				return &rpc.Error{Status: rpc.Unauthenticated, Reason: "unauthenticated", Message: "the token is unknown, expired or revoked: who are you?"}
			}
			return nil
		}
	})
	if _, err := dialTo(t, Config{Server: s.addr, Token: "trk_x", UserAgent: "me/1"}).Status(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got.AuthKind != rpc.AuthBearer || got.Client != "me/1" || got.SchemaHash != trk.SchemaHash {
		t.Errorf("got %+v", got)
	}
	var e *Error
	if _, err := dialTo(t, Config{Server: s.addr, Token: "other"}).Status(t.Context()); !errors.As(err, &e) || e.Status != 401 || e.Code != "unauthenticated" || e.Hint == "" {
		t.Errorf("got %v", err)
	}
}
