package client

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"net"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"tracker/pkg/rpc"
	"tracker/pkg/seal"
	"tracker/pkg/wire/trk"
)

// overRPC asks and watches over one connection that all calls share, whatever carries
// it:
//
//	call ──► acquire ──► link ──► rpc.Client ══ frames ══► server
//	            │          ▲
//	            └─ none, or it ended: dial, once for all who wait
//
// A link that nobody uses is closed after a while; one that the server leaves is
// replaced when the next call comes.
type overRPC struct {
	cfg  Config
	line *dialer
	life context.Context
	open func(ctx context.Context) (net.Conn, error) // ready for frames
	idle time.Duration                               // that a link nobody uses stays open

	skew atomic.Int64 // nanoseconds that the server's clock is ahead, as far as it matters

	mu     sync.Mutex
	link   *link          // for new calls; nil: there is none
	old    map[*link]bool // those that the server leaves and calls still use
	dial   *dialing       // under way; nil: none is
	closed bool
}

// link is one connection. All of it is guarded by overRPC.mu but for the client.
type link struct {
	*rpc.Client
	uses  int
	tidy  bool        // close it when nobody uses it
	leave *time.Timer // closes it when nobody used it for a while
}

// dialing is a link in the making. Those who want it, too, wait for done.
type dialing struct {
	done chan struct{}
	err  error // set before done is closed; nil also if whoever dialled gave up
	tidy bool
}

const (
	idleLink = 30 * time.Second
	// window is how many frames of a subscription may be on the way: enough to keep
	// the line busy, and few enough that a slow caller is soon told only what is new.
	window     = 8
	maxName    = 255                   // bytes of the program's name
	retryPause = 50 * time.Millisecond // at most, before a call is sent again
)

func newRPC(life context.Context, cfg Config, d *dialer) *overRPC {
	c := &overRPC{cfg: cfg, line: d, life: life, open: d.open, idle: idleLink, old: map[*link]bool{}}
	if d.scheme == "ws" || d.scheme == "wss" {
		c.open = func(ctx context.Context) (net.Conn, error) { return d.overSocket(ctx, cfg.UserAgent) }
	}
	return c
}

// acquire returns the link for a call; release gives it back. It dials if it must.
func (c *overRPC) acquire(ctx context.Context) (*link, error) {
	for {
		l, wait, mine, err := c.current()
		if l != nil || err != nil {
			return l, err
		}
		if mine {
			return c.connect(ctx, wait)
		}
		select {
		case <-wait.done:
			if wait.err != nil {
				return nil, wait.err
			}
		case <-ctx.Done():
			return nil, c.line.lineError(ctx, ctx.Err())
		}
	}
}

// current is the link, or the dialling of one; mine tells that the caller has to do it.
func (c *overRPC) current() (l *link, wait *dialing, mine bool, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return nil, nil, false, c.line.errClosed()
	}
	if c.link != nil && !over(c.link) {
		c.use(c.link)
		return c.link, nil, false, nil
	}
	if c.link != nil {
		c.drop(c.link)
	}
	if c.dial != nil {
		return nil, c.dial, false, nil
	}
	c.dial = &dialing{done: make(chan struct{})}
	return nil, c.dial, true, nil
}

// over tells whether a link is of no use for another call.
func over(l *link) bool {
	select {
	case <-l.Leaving():
		return true
	default:
		return false
	}
}

// refusedLate tells whether a request came too late to a server that is about to leave.
func refusedLate(err error) bool {
	var e *rpc.Error
	return errors.As(err, &e) && e.Status == rpc.Unavailable && e.Reason == "going away"
}

// calledOff tells whether a subscription may have ended because the server is about to
// leave.
func calledOff(err error) bool {
	var e *rpc.Error
	return errors.As(err, &e) && e.Message == "" && (e.Status == rpc.Unavailable || e.Status == rpc.Unauthenticated)
}

// leaves waits a moment for the GOAWAY, which may come behind what the server ends or
// refuses because of it.
func leaves(l *link) bool {
	select {
	case <-l.Leaving():
		return true
	case <-time.After(retryPause):
		return false
	}
}

// use books a use. Caller holds mu.
func (c *overRPC) use(l *link) {
	l.uses++
	if l.leave != nil {
		l.leave.Stop()
	}
}

// drop makes way for another link. Caller holds mu.
func (c *overRPC) drop(l *link) {
	if c.link == l {
		c.link = nil
	}
	if l.leave != nil {
		l.leave.Stop()
	}
	if delete(c.old, l); l.uses > 0 {
		c.old[l] = true
	}
}

// connect makes the link that d stands for.
func (c *overRPC) connect(ctx context.Context, d *dialing) (*link, error) {
	ctx, end := c.line.within(ctx, c.life)
	defer end()
	client, err := c.shakeHands(ctx)
	for again := 0; again < 2 && err != nil && (c.line.mustSecure(err) || c.setClock(err)); again++ {
		client, err = c.shakeHands(ctx)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	defer close(d.done)
	c.dial = nil
	if err == nil && c.closed {
		_ = client.Close()
		err = c.line.errClosed()
	}
	if err != nil {
		if ctx.Err() == nil { // else it was our time that ran out, not that of others
			d.err = err
		}
		return nil, err
	}
	c.link = &link{Client: client, uses: 1, tidy: d.tidy}
	return c.link, nil
}

func (c *overRPC) shakeHands(ctx context.Context) (*rpc.Client, error) {
	nc, err := c.open(ctx)
	if err != nil {
		return nil, c.failure(ctx, err)
	}
	client, err := rpc.NewClient(ctx, nc, rpc.ClientConfig{Hello: c.hello(), Timeout: c.cfg.Timeout, Window: window})
	switch {
	case err == nil:
		return client, nil
	case rpc.StatusOf(err) == rpc.FrameTooLarge: // letters, read as a length
		return nil, c.strange(err)
	}
	return nil, c.failure(ctx, err)
}

func (c *overRPC) hello() rpc.Hello {
	h := rpc.Hello{SchemaHash: trk.SchemaHash, Client: c.cfg.UserAgent[:min(len(c.cfg.UserAgent), maxName)]}
	switch d := &c.cfg.Device; {
	case d.Device != 0:
		now := time.Now().Add(time.Duration(c.skew.Load()))
		h.AuthKind, h.Auth = rpc.AuthDeviceKey, seal.AppendProof(nil, &d.Root, d.Device, now)
	case c.cfg.Token != "":
		h.AuthKind, h.Auth = rpc.AuthBearer, []byte(c.cfg.Token)
	}
	return h
}

// setClock takes over the server's clock after a refusal for the time of a proof.
func (c *overRPC) setClock(err error) bool {
	var e *Error
	if !errors.As(err, &e) || e.serverTime.IsZero() {
		return false
	}
	c.skew.Store(int64(time.Until(e.serverTime)))
	return true
}

// release gives a link back.
func (c *overRPC) release(l *link) {
	c.mu.Lock()
	l.uses--
	end := l.uses == 0 && (l.tidy || c.link != l)
	switch {
	case end:
		c.drop(l)
	case l.uses == 0 && l.leave == nil:
		l.leave = time.AfterFunc(c.idle, func() { c.abandon(l) })
	case l.uses == 0:
		l.leave.Reset(c.idle)
	}
	c.mu.Unlock()
	if end {
		_ = l.Close()
	}
}

// abandon closes a link that nobody used for a while.
func (c *overRPC) abandon(l *link) {
	c.mu.Lock()
	unused := l.uses == 0
	if unused {
		c.drop(l)
	}
	c.mu.Unlock()
	if unused {
		_ = l.Close()
	}
}

// closeIdle closes the link now, or when the last call that uses it ends.
func (c *overRPC) closeIdle() {
	c.mu.Lock()
	if c.dial != nil {
		c.dial.tidy = true
	}
	l := c.link
	if l != nil {
		l.tidy = true
	}
	c.mu.Unlock()
	if l != nil {
		c.abandon(l)
	}
}

// close ends whatever is under way. The life of the Conn has ended before, which ends a
// dial.
func (c *overRPC) close() {
	c.mu.Lock()
	c.closed = true
	if c.link != nil {
		c.old[c.link] = true
		c.link = nil
	}
	links := slices.Collect(maps.Keys(c.old))
	for _, l := range links {
		if l.leave != nil {
			l.leave.Stop()
		}
	}
	c.mu.Unlock()
	for _, l := range links {
		_ = l.Close()
	}
}

// do asks one question. One that certainly had no effect, or may have the same twice, is
// asked again, once, if the line broke under it.
func (c *overRPC) do(ctx context.Context, twice bool, ask func(ctx context.Context, to rpc.Caller) error) error {
	ctx, cancel := context.WithTimeout(ctx, c.cfg.Timeout)
	defer cancel()
	for again := false; ; again = true {
		l, err := c.acquire(ctx)
		if err != nil {
			return err
		}
		err = ask(ctx, l)
		broken := err != nil && (over(l) || refusedLate(err) && leaves(l))
		c.release(l)
		if err == nil {
			return nil
		}
		if again || !broken || !rpc.Retryable(err, twice) || !sleep(ctx, rand.N(retryPause)) {
			return c.failure(ctx, err)
		}
	}
}

func idempotent(method uint16) bool {
	m, ok := trk.MethodOf(method)
	return ok && m.Idempotent
}

// failure turns what the layer below says into the words that all transports have.
func (c *overRPC) failure(ctx context.Context, err error) error {
	var e *rpc.Error
	var known *Error
	switch {
	case errors.As(err, &known), errors.Is(err, ErrUnreachable):
		return err // of a handshake beneath this one
	case ctx.Err() != nil || !errors.As(err, &e):
		return c.line.lineError(ctx, err)
	case e.Status == rpc.FailedPrecondition && e.Reason == "tls":
		return &Error{Status: 400, Message: tlsOnly, Hint: c.line.tlsHint(), plainOnTLS: true}
	case e.Status == rpc.Canceled:
		return c.line.errClosed() // the caller did not give up, so it was us
	case e.Status == rpc.DeadlineExceeded:
		return c.line.lineError(ctx, context.DeadlineExceeded)
	case e.Status == rpc.Unavailable && (e.Reason == "" || e.Message == ""), e.Status == rpc.SlowConsumer: // the protocol's own
		return c.line.lineError(ctx, errors.New(cmp.Or(e.Message, e.Reason, e.Status.String())))
	case e.Status == rpc.BadFrame, e.Status == rpc.BadBody, e.Status == rpc.Version:
		return c.strange(e)
	}
	return asError(e)
}

// ended is why a subscription ended.
func (c *overRPC) ended(ctx context.Context, l *link, err error) error {
	if calledOff(err) && leaves(l) || over(l) && rpc.StatusOf(err) == rpc.Unavailable {
		err = l.Err() // the server said why it leaves
	}
	return c.failure(ctx, err)
}

// strange is what is said of an answer that a server of ours does not give.
func (c *overRPC) strange(err error) error {
	return fmt.Errorf("the answer of %s is not what was expected: %v (is it a tracker server?)", c.line.server, err)
}

// codes are the names and the HTTP statuses that the other transport has for failures.
var codes = map[rpc.Status]struct {
	http int
	code string
}{
	rpc.InvalidArgument:    {400, "invalid"},
	rpc.FailedPrecondition: {400, "invalid"},
	rpc.OutOfRange:         {400, "invalid"},
	rpc.Unauthenticated:    {401, "unauthenticated"},
	rpc.PermissionDenied:   {403, "denied"},
	rpc.NotFound:           {404, "not_found"},
	rpc.AlreadyExists:      {409, "exists"},
	rpc.FrameTooLarge:      {413, "too_large"},
	rpc.ResourceExhausted:  {429, "rate_limited"},
	rpc.Unimplemented:      {400, "invalid"},
	rpc.Unavailable:        {503, "unavailable"},

	rpc.Status(trk.AppErrorTooManyWatches): {429, "rate_limited"},
	rpc.Status(trk.AppErrorDeviceRevoked):  {403, "revoked"},
	rpc.Status(trk.AppErrorClockAhead):     {400, "clock_ahead"},
	rpc.Status(trk.AppErrorProofTime):      {401, "proof_time"},
}

// hints are the next step after a failure, by its code.
var hints = map[string]string{
	"unauthenticated": "give the token of a user; the first start of a server writes one to admin.token in its data directory",
	"denied":          "this takes a token with the role admin; a member's sees the maps that it was granted",
	"unavailable":     "try again in a while",
	"internal":        "the server's log has the details under this request id",
}

func asError(e *rpc.Error) *Error {
	as, ok := codes[e.Status]
	if !ok {
		as.http, as.code = 500, "internal"
	}
	if e.Reason != "" && e.Message != "" { // a reason alone is the protocol's, for people
		as.code = e.Reason
	}
	out := &Error{Status: as.http, Code: as.code, Message: cmp.Or(e.Message, e.Reason), Hint: hints[as.code], Request: e.Ref}
	if e.Status == rpc.Status(trk.AppErrorProofTime) {
		if ms, err := strconv.ParseInt(e.Field, 10, 64); err == nil {
			out.serverTime = time.UnixMilli(ms)
		}
	}
	return out
}

// httpStatus is the HTTP status of a code.
func httpStatus(code string) int {
	if code == "internal" {
		return 500
	}
	for _, c := range codes {
		if c.code == code {
			return c.http
		}
	}
	return 400
}
