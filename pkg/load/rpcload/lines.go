package rpcload

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"runtime"
	"time"

	"golang.org/x/sync/errgroup"

	"tracker/pkg/load"
	"tracker/pkg/rpc"
)

// Lines are open connections on which several runs may be made, one after the other.
// Between them they cost nothing: nobody reads, and nobody waits. They belong to one
// goroutine.
//
// What a server says after a run, such as an answer that comes a second time, is read
// by the next one, which knows it for what it is: ids go on from run to run.
type Lines struct {
	all     []*line
	welcome rpc.Welcome // what the server allows
	before  int64       // the server's memory without them, and with all of them
	idle    int64
	broken  error // why there is no further run
}

// line is one connection between two runs.
type line struct {
	nc   net.Conn
	last uint32 // id that was used
	rest []byte // the beginning of a frame that goes on
}

// firstID is that of the call by which a line is tried.
const firstID = 1

// Open opens the connections of cfg. The first has to answer one call before the others
// come. Errors are those of Run.
func Open(ctx context.Context, cfg Config) (*Lines, error) {
	if err := cfg.Check(); err != nil {
		return nil, err
	}
	usual, _, err := cfg.kinds()
	if err != nil {
		return nil, err
	}
	l := &Lines{all: make([]*line, cfg.Conns)}
	l.before, _ = cfg.Server.RSS()
	if err := l.dial(ctx, &cfg, &usual); err != nil {
		l.Close()
		return nil, inWords(err)
	}
	l.idle, _ = cfg.Server.RSS()
	return l, nil
}

// dialers is how many connections are opened at once; a server bounds the strangers of
// an address.
const dialers = 16

func (l *Lines) dial(ctx context.Context, cfg *Config, k *kind) error {
	ctx, cancel := context.WithTimeout(ctx, cfg.Drain+10*time.Second)
	defer cancel()
	welcome, err := l.open(ctx, cfg, 0, len(k.form.frame))
	if err != nil {
		return err
	}
	l.welcome = *welcome
	if err := probe(ctx, l.all[0].nc, k); err != nil {
		return err
	}
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(dialers)
	for i := 1; i < cfg.Conns; i++ {
		group.Go(func() error {
			_, err := l.open(ctx, cfg, i, len(k.form.frame))
			return err
		})
	}
	return group.Wait()
}

// open opens one of them, for requests of so many bytes.
func (l *Lines) open(ctx context.Context, cfg *Config, i, frame int) (*rpc.Welcome, error) {
	nc, err := cfg.Dial(ctx)
	if err != nil {
		return nil, err
	}
	l.all[i] = &line{nc: nc, last: firstID}
	w, err := rpc.Greet(ctx, nc, cfg.Hello)
	if err != nil {
		return nil, stranger(ctx, err)
	}
	return &w, cfg.fits(&w, frame)
}

// fits holds what is to be done against what the server allows. Inline methods never
// leave its reader, so its limits of what is in flight do not concern them.
func (c *Config) fits(w *rpc.Welcome, frame int) error {
	sums := c.Method == Sum
	switch {
	case !sums && c.Depth > int(w.MaxInflight):
		return fmt.Errorf("depth %d: the server allows %d requests in flight", c.Depth, w.MaxInflight)
	case !sums && c.Depth*frame > int(w.MaxInflightBytes):
		return fmt.Errorf("depth %d with this payload: the server allows %d bytes in flight", c.Depth, w.MaxInflightBytes)
	case frame > int(w.MaxFrame):
		return fmt.Errorf("payload %d: the server takes frames of %d bytes", c.Payload, w.MaxFrame)
	}
	return nil
}

var errClosed = errors.New("the connections are closed")

// Close closes the connections. It may be called again.
func (l *Lines) Close() {
	for _, one := range l.all {
		if one != nil {
			_ = one.nc.Close()
		}
	}
	l.all, l.broken = nil, errClosed
}

// Run does what cfg says on the open connections; what it says of opening them does not
// count. It is as the function of that name, and returns when every call was answered or
// has no hope of it. After a run in which a connection was lost, there is no other.
func (l *Lines) Run(ctx context.Context, cfg Config) (*Outcome, error) {
	r, conns, err := l.begin(&cfg)
	if err != nil {
		return nil, err
	}
	o := &Outcome{Cores: min(cfg.Conns, runtime.GOMAXPROCS(0)), Started: time.Now(), RSSBefore: l.before, RSSIdle: l.idle}
	r.drive(ctx, conns, o)
	l.keep(conns)
	o.add(conns)
	b := r.books
	o.Latency, o.Sleeping, o.Service, o.Lag = b.usual, b.sleeping, b.service, b.lag
	o.Late, o.Pressed = b.late, b.pressed
	return o, nil
}

// begin gives each line what it needs for a run, which begins now.
func (l *Lines) begin(cfg *Config) (*run, []*conn, error) {
	if l.broken != nil {
		return nil, nil, fmt.Errorf("run on open connections: %w", l.broken)
	}
	cfg.Conns = len(l.all)
	if err := cfg.Check(); err != nil {
		return nil, nil, err
	}
	usual, sleeping, err := cfg.kinds()
	if err == nil {
		err = cfg.fits(&l.welcome, len(usual.form.frame))
	}
	if err != nil {
		return nil, nil, err
	}
	share := cfg.Share
	if cfg.Method != Sleep {
		share = 0
	}
	r := &run{cfg: cfg, began: time.Now(), books: newBooks()}
	r.from.Store(int64(never))
	conns := make([]*conn, len(l.all))
	for i, one := range l.all {
		_ = one.nc.SetDeadline(time.Time{}) // of the last run; a line that is broken says so where it reads
		ledger := newLedger(cfg.Depth, usual, sleeping, share)
		ledger.from(one.last)
		conns[i] = newConn(one, r, ledger)
	}
	return r, conns, nil
}

// keep takes the lines back when nobody uses them any more.
func (l *Lines) keep(conns []*conn) {
	for i, c := range conns {
		one := l.all[i]
		one.last = c.l.last()
		one.rest = bytes.Clone(c.buf[c.r:c.w])
		if c.err != nil && l.broken == nil {
			l.broken = c.err
		}
	}
}

// Lockstep makes calls in batches: each leaves in one write when the one before it was
// answered, so how often the server reads and writes does not depend on who is faster.
// Depth is how many calls a batch has, and Drain how long it may take. Connections take
// turns: one makes all its batches, then the next. Nothing is timed.
func (l *Lines) Lockstep(ctx context.Context, cfg Config, batches int) (*Outcome, error) {
	cfg.Rate = load.Plan{}
	r, conns, err := l.begin(&cfg)
	if err != nil {
		return nil, err
	}
	o := &Outcome{Started: time.Now()}
	for _, c := range conns {
		c.err = c.march(ctx, batches)
	}
	l.keep(conns)
	o.add(conns)
	o.Took, o.Begun, o.Answered, o.Partial = r.now(), o.Sent, o.Right, ctx.Err() != nil
	return o, nil
}
