// Package churn measures viewers that come and go, and viewers that only stay.
//
//	Pacer ── due ──► visit: connect ─► handshake ─► watch ─► whole snapshot ─► stay ─► leave
//	                          │            │                       │
//	                          └────────────┴──── minus due ────────┴──► Recorder
//
//	scrape ── before ─────────────────────────────────────────────── after ──► Leaks
//
// Arrivals do not wait for each other: a server that is slow to let one in finds the
// next at its door all the same. Every time counts from the moment a visit was due.
// When the last has left, the server must be what it was before the first: the same
// goroutines, files, connections, watches and live heap, within a tolerance.
package churn

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"tracker/pkg/load"
	"tracker/pkg/track"
)

// Config says what to do to which server. Zero values are good where it is not said.
type Config struct {
	Door
	Plan     load.Plan     // visits a second
	Warmup   time.Duration // visits that count for nothing, before the first reading of the server
	Duration time.Duration // 0: 10 s
	Hold     time.Duration // how long each stays once it has seen everything
	Most     int           // visits under way at most; 0: 4096. Beyond it they wait, and their time counts
	Interval time.Duration // between two ticks; 0: 1 s

	Scrape  func(context.Context) (Reading, error) // of the server; nil: leaks are not looked for
	Settle  time.Duration                          // for the server to become what it was; 0: 15 s
	OnTick  func(Tick)
	OnPhase func(string)
}

// Tick is one interval of a run.
type Tick struct {
	At         time.Duration // of its end, warm-up included
	Warming    bool
	Came, Left int64 // in it: those that saw everything, and all that ended
	Failed     int64
	Open       int64 // at its end
}

// Outcome is what a run found. Planned = Came + the sum of Failed.
type Outcome struct {
	Planned, Came int64
	Failed        map[string]int64 // by kind, see kindOf
	Faults        []string         // the first of them, in words
	Gone          error            // the server was there no longer

	Connect, Handshake, Snapshot *load.Recorder // from the moment due
	Service                      *load.Recorder // the snapshot, from the actual start
	Lag                          *load.Recorder // of the start
	Late                         int64          // starts more than a millisecond after they were due

	BytesIn   int64
	Intervals []load.Interval
	Started   time.Time
	Took      time.Duration
	Partial   bool

	Before, After Reading // nil if nobody told
	Leaks         []Leak
}

// ErrFailed marks a run in which not every visitor saw everything.
var ErrFailed = errors.New("visitors were turned away")

// Names of phases.
const (
	Measuring = "measuring"
	Settling  = "waiting for the server to become what it was"
)

func (c *Config) defaults() {
	c.Duration = cmp.Or(c.Duration, 10*time.Second)
	c.Most = cmp.Or(c.Most, 4096)
	c.Interval = cmp.Or(c.Interval, time.Second)
	c.Settle = cmp.Or(c.Settle, 15*time.Second)
}

// Check fills in what is not said and finds what cannot be done.
func (c *Config) Check() error {
	c.defaults()
	var errs []error
	bad := func(format string, args ...any) {
		errs = append(errs, fmt.Errorf(format+": %w", append(args, track.ErrInvalid)...))
	}
	if c.Plan.Peak() <= 0 || c.Plan.Peak() > 50_000 {
		bad("%.0f visits a second: want more than 0, up to 50,000", c.Plan.Peak())
	}
	if c.Duration <= 0 || c.Warmup < 0 || c.Hold < 0 || c.Interval <= 0 {
		bad("duration %v, warm-up %v, hold %v: want some time", c.Duration, c.Warmup, c.Hold)
	}
	if c.Most < 1 || c.Most > 100_000 {
		bad("%d visits under way: want 1 to 100,000", c.Most)
	}
	return errors.Join(errs...)
}

// Open is how many connections the run has open at once, for load.Need.
func (c *Config) Open() int {
	c.defaults()
	return min(c.Most, int(c.Plan.Peak()*(c.Hold.Seconds()+0.2))+1)
}

func (c *Config) phase(name string) {
	if c.OnPhase != nil {
		c.OnPhase(name)
	}
}

// Run does what cfg says. Its error is that of a server that let nobody in at all; what
// single visits met is in the outcome, which is there also when ctx ended early.
func Run(ctx context.Context, cfg Config) (*Outcome, error) {
	if err := cfg.Check(); err != nil {
		return nil, err
	}
	if err := cfg.knock(ctx); err != nil {
		return nil, err
	}
	if cfg.Warmup > 0 {
		cfg.phase("warming up")
		newRun(&cfg, cfg.Warmup, true).drive(ctx)
	}
	o := &Outcome{Started: time.Now()}
	if cfg.Scrape != nil {
		cfg.phase("reading the server")
		o.Before = cfg.quiet(ctx)
	}
	cfg.phase(Measuring)
	r := newRun(&cfg, cfg.Duration, false)
	o.Started = time.Now()
	r.drive(ctx)
	r.tell(o)
	o.Partial = ctx.Err() != nil || o.Gone != nil
	if o.Before != nil && !o.Partial && o.Gone == nil {
		cfg.phase(Settling)
		o.After, o.Leaks = cfg.leaks(ctx, o.Before)
	}
	return o, nil
}

// knock visits once, so that a server that lets nobody in says so before the load.
func (c *Config) knock(ctx context.Context) error {
	v, err := c.Enter(ctx)
	if err != nil {
		return err
	}
	defer v.Leave()
	return v.Watch(ctx)
}

// run is a stretch of visits.
type run struct {
	cfg     *Config
	warming bool
	pacer   load.Pacer
	start   time.Time
	due     chan time.Duration

	came, left, failed, open atomic.Int64

	mu                                         sync.Mutex // of what follows
	connect, handshake, snapshot, service, lag *load.Recorder
	interval                                   *load.Recorder
	kinds                                      map[string]int64
	faults                                     []string
	late, bytes                                int64
	refusedInARow                              int
	gone                                       error

	planned   int64
	intervals []load.Interval
	took      time.Duration
}

func newRun(cfg *Config, lasts time.Duration, warming bool) *run {
	return &run{
		cfg: cfg, warming: warming, pacer: load.Pacer{Plan: cfg.Plan, End: lasts},
		connect: load.NewRecorder(), handshake: load.NewRecorder(), snapshot: load.NewRecorder(),
		service: load.NewRecorder(), lag: load.NewRecorder(), interval: load.NewRecorder(), kinds: map[string]int64{},
	}
}

// drive sends the visitors and returns when the last has left.
func (r *run) drive(ctx context.Context) {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	// A visit that waits for its turn costs eight bytes, however many there are.
	r.due = make(chan time.Duration, max(1, r.pacer.Planned()))
	r.start = time.Now()
	var visits sync.WaitGroup
	visits.Go(func() { r.pace(ctx, &visits, stop) })
	done := make(chan struct{})
	go func() { // ends with the visits
		visits.Wait()
		close(done)
	}()
	r.observe(done)
	r.took = time.Since(r.start)
}

// pace lets visits fall due; each starts a visitor unless Most are there already, who
// then take it when they have left.
func (r *run) pace(ctx context.Context, visits *sync.WaitGroup, stop context.CancelFunc) {
	defer load.Punctual()() // the pacer sleeps in the kernel
	defer close(r.due)
	r.pacer.Start(r.start)
	visitors := 0
	var idle atomic.Int64
	for {
		from, to, ok := r.pacer.Wait(ctx)
		if !ok {
			return
		}
		for k := from; k < to; k++ {
			r.planned++
			r.due <- r.cfg.Plan.When(k) // never waits: there is room for all
			if idle.Add(-1) >= 0 || visitors >= r.cfg.Most {
				continue
			}
			idle.Add(1)
			visitors++
			visits.Go(func() { // ends when the plan has, or at once when ctx has
				for at := range r.due {
					r.visit(ctx, at, stop)
					idle.Add(1)
				}
			})
		}
	}
}

// visit is one visitor's stay.
func (r *run) visit(ctx context.Context, due time.Duration, stop context.CancelFunc) {
	began := time.Since(r.start)
	if ctx.Err() != nil {
		r.turnedAway(ctx.Err(), stop)
		return
	}
	r.open.Add(1)
	defer func() {
		r.open.Add(-1)
		r.left.Add(1)
	}()
	v, err := r.cfg.Enter(ctx)
	if err != nil {
		r.turnedAway(err, stop)
		return
	}
	defer v.Leave()
	if err := v.Watch(ctx); err != nil {
		r.turnedAway(err, stop)
		return
	}
	r.saw(due, began, time.Since(r.start), v)
	_ = load.Pause(ctx, r.cfg.Hold)
}

// lateAfter is when a start counts as late.
const lateAfter = time.Millisecond

func (r *run) saw(due, began, now time.Duration, v *Viewer) {
	r.came.Add(1)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.refusedInARow = 0
	r.bytes += v.Bytes
	r.connect.Record(v.Connected.Sub(r.start) - due)
	r.handshake.Record(v.Greeted.Sub(r.start) - due)
	r.snapshot.Record(now - due)
	r.interval.Record(now - due)
	r.service.Record(now - began)
	r.lag.Record(began - due)
	if began-due > lateAfter {
		r.late++
	}
}

const (
	mostFaults = 5
	// goneAfter so many refusals of the line in a row, with nobody let in between, the
	// server is there no longer.
	goneAfter = 100
)

func (r *run) turnedAway(err error, stop context.CancelFunc) {
	kind := kindOf(err)
	r.failed.Add(1)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.kinds[kind]++
	if len(r.faults) < mostFaults && kind != interrupted {
		r.faults = append(r.faults, fmt.Sprintf("%s: %v", kind, err))
	}
	if kind != refused {
		return
	}
	if r.refusedInARow++; r.refusedInARow >= goneAfter && r.gone == nil {
		r.gone = err
		stop()
	}
}

// observe notes the course of the run until it is over.
func (r *run) observe(done <-chan struct{}) {
	ticks := time.NewTicker(r.cfg.Interval)
	defer ticks.Stop()
	var last time.Duration
	var came, left, failed int64
	for over := false; !over; {
		select {
		case <-ticks.C:
		case <-done:
			over = true
		}
		now := time.Since(r.start)
		t := Tick{At: now, Warming: r.warming, Came: r.came.Load() - came, Left: r.left.Load() - left, Failed: r.failed.Load() - failed, Open: r.open.Load()}
		came, left, failed = came+t.Came, left+t.Left, failed+t.Failed
		r.mu.Lock()
		hdr := r.interval.Summary().HDR
		r.interval.Reset()
		r.mu.Unlock()
		r.intervals = append(r.intervals, load.Interval{TNS: int64(last), LenNS: int64(now - last), Sent: t.Came + t.Failed, Received: t.Came, HDR: hdr})
		last = now
		if r.cfg.OnTick != nil {
			r.cfg.OnTick(t)
		}
	}
}

// tell sums up a stretch that is over.
func (r *run) tell(o *Outcome) {
	o.Planned, o.Came, o.Failed, o.Faults, o.Gone = r.planned, r.came.Load(), r.kinds, r.faults, r.gone
	o.Connect, o.Handshake, o.Snapshot, o.Service, o.Lag = r.connect, r.handshake, r.snapshot, r.service, r.lag
	o.Late, o.BytesIn, o.Intervals, o.Took = r.late, r.bytes, r.intervals, r.took
}

// Err wraps ErrFailed unless every visitor saw everything.
func (o *Outcome) Err() error {
	if o.Came == o.Planned {
		return nil
	}
	return fmt.Errorf("%w: %d of %d", ErrFailed, o.Planned-o.Came, o.Planned)
}
