package fan

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"slices"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"tracker/pkg/load"
	"tracker/pkg/track"
)

// Device is one that sends.
type Device struct {
	ID   track.DeviceID
	Name string
}

// Slow makes some viewers read late.
type Slow struct {
	Share float64
	Pause time.Duration // before each read
}

// Config is one measurement.
type Config struct {
	Scenario string // "marauder" or "fanout", for the result
	Version  string
	Plan     *Plan
	Devices  []Device // as many as the plan has senders

	Viewers Dialer
	Others  Dialer // how every second viewer connects instead; without a Dial: as all of them do
	N       int    // viewers
	Area    Area   // that they watch
	// Together makes viewer i the one that sends as device i, on one connection.
	Together bool
	// Reports is how publishers connect, one a device, unless they are Together with the
	// viewers or send Datagrams.
	Reports   Dialer
	Datagrams Datagrams

	Slow    Slow
	Churn   float64 // viewers a second that leave and come back, beside the N
	Warmup  time.Duration
	Drain   time.Duration // for what was sent to arrive; 0: 10 s
	Limit   float64       // elapsed to ideal, of a plan of rounds; 0: none
	Dialers int           // connections that are opened at once; 0: 32

	Meter    *load.Meter // nil: one that knows nothing of the server
	Loopback bool
	Interval time.Duration // 0: 1 s
	OnPhase  func(string)
	OnReady  func(Ready)
	OnTick   func(load.Tick) // of each interval
	OnGlance func(load.Tick) // in between, of the interval so far
}

// Ready says how the connections came to be.
type Ready struct {
	Viewers, Publishers int
	Took                time.Duration
	Connect             load.Summary
}

// Check finds what cannot be done.
func (c *Config) Check() error {
	c.Drain = cmp.Or(c.Drain, 10*time.Second)
	c.Interval = cmp.Or(c.Interval, time.Second)
	c.Dialers = cmp.Or(c.Dialers, 32)
	var errs []error
	bad := func(format string, args ...any) {
		errs = append(errs, fmt.Errorf(format+": %w", append(args, track.ErrInvalid)...))
	}
	if c.Plan == nil || c.Plan.Senders < 1 || c.Plan.Sends < 1 {
		bad("a plan of nothing")
	} else if len(c.Devices) != c.Plan.Senders {
		bad("%d devices for %d senders", len(c.Devices), c.Plan.Senders)
	}
	if c.N < 1 {
		bad("%d viewers: want at least one", c.N)
	}
	if c.Together && c.N != len(c.Devices) {
		bad("%d viewers for %d devices: want as many", c.N, len(c.Devices))
	}
	if !(c.Slow.Share >= 0 && c.Slow.Share < 1) || c.Slow.Pause < 0 {
		bad("slow viewers %v:%v: want less than all, and a pause", c.Slow.Share, c.Slow.Pause)
	}
	if c.Churn < 0 {
		bad("churn %v", c.Churn)
	}
	return errors.Join(errs...)
}

// run is one measurement under way.
type run struct {
	cfg     Config
	index   *index
	shards  *shards
	total   *page
	viewers []*viewer
	pubs    []*publisher // by device
	feeders []*viewer    // those who only publish: nobody asks what they see
	sender  *sender
	meter   *load.Meter
	connect *load.Recorder

	began    time.Time
	zero     atomic.Int64 // when the plan begins, since began
	startNS  int64        // the same in unix ns; set before started
	tick     int64        // ms, the finest step of time that a report can tell
	warm     int64        // sends before this one are in no figure
	started  atomic.Bool
	draining atomic.Bool
	stopping chan struct{}

	sends   atomic.Int64 // that fell due so far
	sent    atomic.Int64 // of them, without those of the warm-up
	late    atomic.Int64
	pressed atomic.Int64
	unsent  atomic.Int64
	queued  atomic.Int64
	broken  atomic.Int64
	sentAt  []atomic.Int64 // when sends left, by number modulo its length

	churn *churn
	plays uint32 // of a Session: which one this is
}

// sentRing is how many sends back the actual moment of one is remembered.
const sentRing = 1 << 20

func newRun(cfg Config) *run {
	ids := make([]track.DeviceID, len(cfg.Devices))
	for turn, device := range cfg.Plan.devices {
		ids[turn] = cfg.Devices[device].ID
	}
	ring := sentRing
	for int64(ring) < 2*int64(cfg.Plan.Senders) {
		ring *= 2
	}
	for int64(ring/2) > cfg.Plan.Sends && ring/2 > 2*cfg.Plan.Senders {
		ring /= 2
	}
	r := &run{
		cfg: cfg, index: newIndex(ids), shards: newShards(), total: newPage(), tick: 1,
		sentAt: make([]atomic.Int64, ring), stopping: make(chan struct{}), began: time.Now(),
		meter: cfg.Meter, connect: load.NewRecorder(),
	}
	if r.meter == nil {
		r.meter = load.NewMeter(load.MeterConfig{})
	}
	if cfg.Datagrams != nil {
		r.tick = 4 // a datagram counts in steps of that
	}
	for r.warm < cfg.Plan.Sends && cfg.Warmup > 0 && cfg.Plan.When(r.warm) < cfg.Warmup {
		r.warm++
	}
	r.pubs = make([]*publisher, len(cfg.Devices))
	return r
}

// Run does what cfg says. A server that cannot be reached or refuses is an error; what
// it did wrong while it was measured is in the result, see Result.Failure. When ctx ends
// early, the result is of what was until then.
func Run(ctx context.Context, cfg Config) (*load.Result, error) {
	if err := cfg.Check(); err != nil {
		return nil, err
	}
	r := newRun(cfg)
	defer r.close()
	r.phase("connecting")
	if err := r.connectAll(ctx); err != nil {
		return nil, setupError(err)
	}
	r.phase("waiting for everybody")
	if err := r.barrier(ctx, 1); err != nil {
		return nil, setupError(err)
	}
	debug.FreeOSMemory() // the snapshots were long, and what follows is not
	o := r.measure(ctx)
	return r.result(ctx, o)
}

func (r *run) phase(name string) {
	if r.cfg.OnPhase != nil {
		r.cfg.OnPhase(name)
	}
}

// now is the time since the plan began.
func (r *run) now() time.Duration { return time.Since(r.began) - time.Duration(r.zero.Load()) }

// due is when send j is due. It may be asked of sends that fell due, and of the next.
func (r *run) due(j int64) time.Duration {
	p := r.cfg.Plan
	if p.Pacing != Sleep || j < int64(p.Senders) {
		return p.When(j)
	}
	return time.Duration(r.sentAt[(j-int64(p.Senders))%int64(len(r.sentAt))].Load()) + p.Every
}

// left is when send j left, if that is still known.
func (r *run) left(j int64) (time.Duration, bool) {
	return time.Duration(r.sentAt[j%int64(len(r.sentAt))].Load()), r.sends.Load()-j < int64(len(r.sentAt))
}

// stamp is the time that the fix of send j carries, unix ms.
func (r *run) stamp(j int64) int64 {
	ms := (r.startNS + int64(r.due(j))) / int64(time.Millisecond)
	if r.tick > 1 {
		ms -= ms % r.tick
	}
	return ms
}

// senderName is the name of who sends by this turn.
func (r *run) senderName(turn int) string { return r.cfg.Devices[r.cfg.Plan.devices[turn]].Name }

// dead tells whether going on makes no sense: nearly nobody is left.
func (r *run) dead() bool {
	n := int64(len(r.viewers) + len(r.feeders))
	return r.broken.Load() > n/2
}

// pause waits while the run goes on.
func (r *run) pause(d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-r.stopping:
	}
}

// enlist makes everybody who will have a line of their own.
func (r *run) enlist() {
	slowOnes := int(r.cfg.Slow.Share * float64(r.cfg.N))
	for i := range r.cfg.N {
		as, name := usual, fmt.Sprintf("viewer-%06d", i+1)
		if i >= r.cfg.N-slowOnes {
			as = slow
		}
		if r.cfg.Together {
			name = r.cfg.Devices[i].Name
		}
		r.viewers = append(r.viewers, newViewer(r, i, name, as))
	}
	if r.cfg.Together || r.cfg.Datagrams != nil {
		return
	}
	for i := range r.cfg.Devices {
		v := newViewer(r, r.cfg.N+i, r.cfg.Devices[i].Name, fleeing)
		v.row.cells = nil // it watches nothing
		r.feeders = append(r.feeders, v)
	}
}

// connectAll opens every connection and waits for the snapshots of those that watch. The
// first one goes alone: what is wrong with the server is wrong with all of them.
func (r *run) connectAll(ctx context.Context) error {
	began := time.Now()
	r.enlist()
	if err := r.open(ctx, 0); err != nil {
		return err
	}
	group, all := errgroup.WithContext(ctx)
	group.SetLimit(r.cfg.Dialers)
	for i := 1; i < len(r.viewers)+len(r.feeders) && all.Err() == nil; i++ {
		group.Go(func() error { return r.open(all, i) })
	}
	if err := group.Wait(); err != nil {
		return err
	}
	for _, v := range r.everybody() {
		r.connect.Record(v.took)
	}
	if r.cfg.OnReady != nil {
		r.cfg.OnReady(Ready{Viewers: len(r.viewers), Publishers: len(r.cfg.Devices), Took: time.Since(began), Connect: r.connect.Summary()})
	}
	return ctx.Err()
}

// open lets number i of everybody connect: those that watch come first.
func (r *run) open(ctx context.Context, i int) error {
	var v *viewer
	var err error
	if device := i - len(r.viewers); device < 0 {
		v = r.viewers[i]
		err = r.openViewer(ctx, v)
	} else {
		v = r.feeders[device]
		err = r.openFeeder(ctx, v, device)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", v.name, err)
	}
	return nil
}

func (r *run) openViewer(ctx context.Context, v *viewer) error {
	dialer := r.cfg.Viewers
	if v.number%2 == 1 && r.cfg.Others.Dial != nil {
		dialer = r.cfg.Others
	}
	if v.role == slow {
		dialer.Window = slowWindow
	}
	if err := r.openLine(ctx, v, &dialer); err != nil {
		return err
	}
	if v.role == slow {
		if c, ok := v.line.Conn().(interface{ SetReadBuffer(int) error }); ok {
			_ = c.SetReadBuffer(slowBuffer)
		}
	}
	if r.cfg.Together {
		v.pub = newPublisher(v.line, NewReporter(dialer.Transport, r.cfg.Devices[v.number].ID))
		r.pubs[v.number] = v.pub
	}
	go v.read() // ends with the line; viewer.end waits for it
	if err := v.line.Watch(r.cfg.Area); err != nil {
		return err
	}
	return v.wait(ctx, v.ready)
}

// What one that reads late takes at once: what the system holds for it would otherwise
// hide for long that it is slow.
const (
	slowWindow = 64
	slowBuffer = 64 << 10
)

func (r *run) openFeeder(ctx context.Context, v *viewer, device int) error {
	if err := r.openLine(ctx, v, &r.cfg.Reports); err != nil {
		return err
	}
	v.pub = newPublisher(v.line, NewReporter(r.cfg.Reports.Transport, r.cfg.Devices[device].ID))
	r.pubs[device] = v.pub
	go v.read() // ends with the line; viewer.end waits for it
	return nil
}

func (r *run) openLine(ctx context.Context, v *viewer, d *Dialer) error {
	before := time.Now()
	line, err := d.Open(ctx)
	if err != nil {
		return err
	}
	v.took = time.Since(before)
	line.Clock(r.now)
	v.line = line
	return nil
}

// wait waits for something that the reader does.
func (v *viewer) wait(ctx context.Context, what <-chan struct{}) error {
	t := time.NewTimer(patience)
	defer t.Stop()
	select {
	case <-what:
		return nil
	case <-v.gone:
		return v.err
	case <-t.C:
		return errors.New("no snapshot came")
	case <-ctx.Done():
		return ctx.Err()
	}
}

// barrier asks everybody for a sign of life and waits for it: what the server had to say
// before has been read by then.
func (r *run) barrier(ctx context.Context, number uint32) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for _, v := range r.everybody() {
		_ = v.line.Ping(number) // if it failed, its reader knows
	}
	for _, v := range r.everybody() {
		for got := uint32(0); got != number; {
			select {
			case got = <-v.pongs:
			case <-v.gone:
				return fmt.Errorf("%s: %w", v.name, v.err)
			case <-ctx.Done():
				return fmt.Errorf("%s: no answer came: %w", v.name, ctx.Err())
			}
		}
	}
	return nil
}

// everybody is who has a line of their own all the time.
func (r *run) everybody() []*viewer { return slices.Concat(r.viewers, r.feeders) }

// leave ends every connection and waits for the readers.
func (r *run) leave() {
	for _, v := range r.everybody() {
		v.leaving.Store(true)
		if v.line != nil {
			_ = v.line.Close()
		}
	}
	for _, v := range r.everybody() {
		v.end()
	}
}

func (r *run) close() {
	close(r.stopping)
	r.leave()
	r.meter.Stop()
}
