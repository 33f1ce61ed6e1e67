package load

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"sync"
	"sync/atomic"
	"time"

	"tracker/pkg/client"
	"tracker/pkg/geo"
	"tracker/pkg/track"
)

// IngestConfig is a measurement of how many fixes a server takes in, and how long each
// takes from the moment it was due to a watcher.
type IngestConfig struct {
	Conn *client.Conn
	// Fleet has the Members as its devices, is Unlimited, and is running.
	Fleet    *client.Fleet
	Members  []Member
	Plan     Plan
	Duration time.Duration
	Warmup   time.Duration // of sends that count for nothing, at the plan's first rate
	Settle   bool          // end the warm-up as soon as it is steady; Warmup is then the longest
	Seed     uint64
	Watch    bool          // measure delivery
	Interval time.Duration // 0 = 1 s
	Version  string        // of the tool
	Loopback bool
	Server   *Process // nil: its own metrics are asked for
	// OnTick, if set, is told of each interval as it ends, OnGlance a few times a second
	// of the one that goes on.
	OnTick, OnGlance func(Tick)
	// OnPhase, if set, is told what begins.
	OnPhase func(string)
}

// sendGrid is how finely sends are spread: half of what counts as late.
const sendGrid = 500 * time.Microsecond

// lateAfter is when a send counts as late.
const lateAfter = time.Millisecond

// Ingest runs the measurement. Its error is that of the run; what the figures mean is
// in the result, which is there also when ctx ended early or the server died, and then
// is Partial.
func Ingest(ctx context.Context, cfg IngestConfig) (*Result, error) {
	if cfg.Interval == 0 {
		cfg.Interval = time.Second
	}
	r := &ingestRun{
		cfg: cfg, ground: newGround(cfg.Seed, len(cfg.Members)),
		lag: NewRecorder(), lagSlice: NewRecorder(), sentAt: make([]atomic.Int64, sentRing),
	}
	r.pacer = Pacer{Plan: cfg.Plan, End: cfg.Duration, Grid: sendGrid}
	return r.run(ctx)
}

// ingestRun is one run. Sends are numbered from the warm-up on: send g is fix
// g/devices+1 of device g%devices; fix 0 of each device opens its session before that.
// The measured ones are numbered again by the plan: k = g-skip.
type ingestRun struct {
	cfg    IngestConfig
	ground *ground
	pacer  Pacer
	watch  *ingestWatch

	start   time.Time
	skip    int64 // sends of the warm-up
	sent    atomic.Int64
	late    atomic.Int64
	bunches Bunches        // the sender's, until measure returns
	sentAt  []atomic.Int64 // unix ns of the last sends, by number modulo sentRing

	mu       sync.Mutex // guards the two below, which sender and observer share
	lag      *Recorder
	lagSlice *Recorder // of the present interval
}

// sentRing is how many sends back the actual moment of one is remembered.
const sentRing = 1 << 20

func (r *ingestRun) phase(name string) {
	if r.cfg.OnPhase != nil {
		r.cfg.OnPhase(name)
	}
}

func (r *ingestRun) run(ctx context.Context) (*Result, error) {
	defer Quieten(memoryLimit)()
	meter := NewMeter(MeterConfig{Server: r.cfg.Server, Metrics: r.cfg.Conn.Server()})
	defer meter.Stop()
	r.phase("opening sessions")
	if err := r.openSessions(ctx); err != nil {
		return nil, err
	}
	if r.cfg.Watch {
		w, err := watchIngest(ctx, r)
		if err != nil {
			return nil, err
		}
		r.watch = w
		defer w.stop()
	}
	warmed, err := r.warm(ctx)
	if err != nil {
		return nil, err
	}
	before, err := r.settle(ctx)
	if err != nil {
		return nil, err
	}
	c := course{meter: meter, warmed: warmed}
	r.phase("measuring")
	r.measure(ctx, &c)
	r.phase("waiting for the server")
	after, err := r.finish(ctx, &before)
	if err != nil && !c.gone && !errors.Is(err, client.ErrUnreachable) {
		return nil, fmt.Errorf("after the measurement: %w", err)
	}
	res := r.result(ctx, &c, &before, &after, err)
	return res, res.Check()
}

// memoryLimit keeps a measuring process, which collects garbage rarely, from eating
// the machine.
const memoryLimit = 4 << 30

// course is what the measuring side saw of a run.
type course struct {
	meter     *Meter
	warmed    time.Duration
	intervals []Interval
	took      time.Duration
	partial   bool
	gone      bool // the server's process has ended meanwhile
}

// patience is how long the server has to store and deliver what it took.
const patience = 30 * time.Second

// finish waits until everything has arrived that will, also after ctx ended: what was
// sent is to be accounted for.
func (r *ingestRun) finish(ctx context.Context, before *reading) (reading, error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), patience)
	defer cancel()
	if err := r.cfg.Fleet.Flush(ctx); err != nil {
		return reading{}, err
	}
	after, err := r.settle(ctx)
	if err == nil && r.watch != nil {
		r.watch.drain(ctx, after.taken-before.taken)
	}
	return after, err
}

func (r *ingestRun) result(ctx context.Context, c *course, before, after *reading, gone error) *Result {
	if r.watch != nil && len(c.intervals) > 0 {
		r.watch.fill(&c.intervals[len(c.intervals)-1])
	}
	res := NewResult(r.cfg.Version, "ingest")
	res.Started, res.DurationNS, res.WarmupNS = Instant{r.start}, int64(c.took), int64(c.warmed)
	res.Partial, res.Intervals = c.partial || gone != nil, c.intervals
	res.Scenario.Seed = r.cfg.Seed
	res.Scenario.Plan = r.cfg.Plan.SHA256(r.cfg.Seed, r.cfg.Duration, fmt.Sprintf("ingest devices %d", len(r.cfg.Members)))
	res.Target = Target{Addr: r.cfg.Conn.Server(), Kind: "trackerd", Version: before.version}
	c.meter.End(context.WithoutCancel(ctx), res)
	r.account(res, before, after, gone != nil)
	r.judge(res)
	if gone != nil {
		res.Fail(TargetGone, "", "the server was there no longer: %v", gone)
	}
	return res
}

// openSessions sends one fix of each device, so that no session is opened while the
// clock runs: that costs a server ten times as much as a fix.
func (r *ingestRun) openSessions(ctx context.Context) error {
	before, err := r.cfg.Conn.Status(ctx)
	if err != nil {
		return err
	}
	cues := make([]Cue, len(r.cfg.Members))
	now := time.Now().UnixMilli()
	for i := range cues {
		cues[i] = Cue{Device: i, Fix: r.ground.fix(i, 0, now)}
	}
	p := Player{Fleet: r.cfg.Fleet, MaxRate: 10_000}
	if err := p.Play(ctx, cues); err != nil {
		return err
	}
	if err := r.cfg.Fleet.Flush(ctx); err != nil {
		return err
	}
	after, err := Settle(ctx, r.cfg.Conn)
	if err != nil {
		return err
	}
	if got := seen(&after) - seen(&before); got < uint64(len(cues))/2 {
		return fmt.Errorf("of %d first fixes the server took %d: %w", len(cues), got, track.ErrUnavailable)
	}
	return nil
}

// warm sends at the plan's first rate until two windows in a row had about the same
// median, or for as long as it was told.
func (r *ingestRun) warm(ctx context.Context) (took time.Duration, err error) {
	if r.cfg.Warmup <= 0 {
		return 0, nil
	}
	r.phase("warming up")
	begin := time.Now()
	var steady Steady
	for took < r.cfg.Warmup && ctx.Err() == nil {
		window := min(SteadyWindow, r.cfg.Warmup-took)
		p := Pacer{Plan: r.cfg.Plan.Opening(), End: window, Grid: sendGrid}
		before := r.skip
		r.pace(ctx, &p, time.Now(), func(int64, time.Time, time.Time) { r.skip++ })
		took = time.Since(begin)
		if r.cfg.Settle && steady.Window(r.median(), float64(r.skip-before)) {
			break
		}
	}
	if err := r.cfg.Fleet.Flush(ctx); err != nil && ctx.Err() == nil {
		return took, err
	}
	return took, nil
}

// median is that of the delivery times of the last window, 0 if they are not known.
func (r *ingestRun) median() time.Duration {
	if r.watch == nil {
		return 0
	}
	_, s := r.watch.interval(true)
	d, _ := s.Quantile("50")
	return d
}

// measure sends according to plan and notes the course of the run.
func (r *ingestRun) measure(ctx context.Context, c *course) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	c.meter.Begin(ctx)
	r.start = time.Now()
	if r.watch != nil {
		r.watch.begin(r.start, r.skip)
	}
	done := make(chan struct{})
	go func() { // ends with the plan or with ctx; waited for below
		defer close(done)
		r.pace(ctx, &r.pacer, r.start, r.note)
	}()
	c.intervals, c.gone = r.observe(done, c.meter, cancel)
	<-done
	c.took = time.Since(r.start)
	c.partial = ctx.Err() != nil
}

// pace sends what falls due, on a thread of its own, as the pacer sleeps in the kernel.
// each is told of every send, before the fleet has it.
func (r *ingestRun) pace(ctx context.Context, p *Pacer, start time.Time, each func(k int64, due, now time.Time)) {
	defer Punctual()()
	p.Start(start)
	first, devices := r.skip, int64(len(r.cfg.Members))
	for {
		from, to, ok := p.Wait(ctx)
		if !ok {
			return
		}
		for k := from; k < to; k++ {
			g, due, now := first+k, p.Intended(k), time.Now()
			f := r.ground.fix(int(g%devices), g/devices+1, due.UnixMilli())
			r.sentAt[g%sentRing].Store(now.UnixNano())
			if r.cfg.Fleet.Send(ctx, int(g%devices), &f) != nil {
				return // ctx ended, or the fleet did; what was sent is counted
			}
			each(k, due, now)
		}
	}
}

// note keeps the books of one measured send.
func (r *ingestRun) note(_ int64, due, now time.Time) {
	r.sent.Add(1)
	lag := max(0, now.Sub(due))
	if lag > lateAfter {
		r.late.Add(1)
	}
	r.bunches.Note(now.Sub(r.start), 1)
	r.mu.Lock()
	r.lag.Record(lag)
	r.lagSlice.Record(lag)
	r.mu.Unlock()
}

// glanceEvery is how often somebody may look at a run.
const glanceEvery = 200 * time.Millisecond

// observe cuts the run into intervals until the sender is done. A server that has died
// ends it.
func (r *ingestRun) observe(done <-chan struct{}, meter *Meter, cancel func()) (out []Interval, gone bool) {
	tick, glance := time.NewTicker(r.cfg.Interval), time.NewTicker(glanceEvery)
	defer tick.Stop()
	defer glance.Stop()
	c := cutter{run: r, at: r.start, meter: meter}
	for {
		select {
		case now := <-tick.C:
			out = append(out, c.cut(now, false))
			if r.cfg.Server != nil && !gone && !r.cfg.Server.Alive() {
				gone = true
				cancel()
			}
		case now := <-glance.C:
			if r.cfg.OnGlance != nil {
				r.cfg.OnGlance(c.glance(now))
			}
		case <-done:
			return append(out, c.cut(time.Now(), true)), gone
		}
	}
}

// cutter makes intervals of counters that only grow.
type cutter struct {
	run        *ingestRun
	meter      *Meter
	at         time.Time
	due        int64
	sent, late int64
	received   int64
	used       Cores // of the last interval
}

// glance is the interval as far as it has come.
func (c *cutter) glance(now time.Time) Tick {
	r := c.run
	sent, late := r.sent.Load(), r.late.Load()
	t := Tick{
		At: now.Sub(r.start), Sent: sent - c.sent, AllSent: sent, Late: late - c.late, Queued: r.cfg.Fleet.Stats().Queued,
		ClientCPU: c.used.Client, Server: c.used.Server,
	}
	if r.watch != nil {
		received, sum := r.watch.interval(false)
		t.Received, t.AllReceived = received-c.received, received
		t.P50, _ = sum.Quantile("50")
		t.P99, _ = sum.Quantile("99")
	}
	if s := now.Sub(c.at).Seconds(); s > 0 {
		t.Rate = float64(t.Sent) / s
	}
	return t
}

// cut ends the interval. What the watcher gets after the last one belongs to it, too,
// see fill.
func (c *cutter) cut(now time.Time, last bool) Interval {
	r := c.run
	c.used = c.meter.Cut()
	t := c.glance(now)
	iv := Interval{TNS: int64(c.at.Sub(r.start)), LenNS: int64(now.Sub(c.at)), Sent: t.Sent, Late: t.Late}
	iv.Use(c.used)
	due := min(r.cfg.Plan.Due(now.Sub(r.start)), r.pacer.Planned())
	iv.Offered, c.due = due-c.due, due
	iv.Backlog = max(0, due-t.AllSent) + int64(t.Queued)
	r.mu.Lock()
	if r.lagSlice.Count() > 0 {
		p99, most := r.lagSlice.h.ValueAtQuantile(99), r.lagSlice.h.Max()
		iv.LagP99NS, iv.LagMaxNS = &p99, &most
	}
	r.lagSlice.Reset()
	r.mu.Unlock()
	if r.watch != nil && !last {
		r.watch.fill(&iv)
	}
	c.received = t.AllReceived
	c.at, c.sent, c.late = now, t.AllSent, c.late+t.Late
	if r.cfg.OnTick != nil {
		r.cfg.OnTick(t)
	}
	return iv
}

// reading is what a server says of itself at one moment.
type reading struct {
	version string
	taken   int64 // fixes that came as far as the store
	ingest  map[string]uint64
	fleet   client.FleetStats
}

func (r *ingestRun) settle(ctx context.Context) (reading, error) {
	s, err := Settle(ctx, r.cfg.Conn)
	return reading{version: s.Version, taken: int64(seen(&s)), ingest: maps.Clone(s.Ingest), fleet: r.cfg.Fleet.Stats()}, err
}

// Drops are a server's counters of datagrams that it did not take, by their names in
// client.Status.Ingest.
var Drops = []string{
	"bad_len", "bad_version", "misrouted", "unknown_id", "bad_suite", "epoch_old", "replay", "too_old", "kdf_budget",
	"auth_fail", "nonce_reuse", "rate_limited", "malformed", "time_future", "broken", "socket_drops", "filtered",
}

// account fills in the counts, rates and latencies. Of a server that is gone only the
// watcher knows what it took.
func (r *ingestRun) account(res *Result, before, after *reading, gone bool) {
	c := &res.Counts
	c.Planned, c.Sent = r.pacer.Planned(), r.sent.Load()
	if gone {
		if r.watch != nil {
			c.Accepted = min(r.watch.count(), c.Sent)
		}
		c.Errors["unaccounted"] = c.Sent - c.Accepted
	} else {
		c.Accepted = min(after.taken-before.taken, c.Sent)
		c.Lost = c.Sent - c.Accepted
	}
	fleet := r.cfg.Fleet.Stats()
	c.BytesOut = int64(fleet.Bytes - before.fleet.Bytes)
	if n := fleet.Failed - before.fleet.Failed; n > 0 {
		c.Errors["socket"] = int64(n)
	}
	if c.Planned > c.Sent {
		c.Errors["unsent"] = c.Planned - c.Sent
	}
	for _, name := range Drops {
		if is, was := after.ingest[name], before.ingest[name]; is > was {
			c.Dropped[name] = int64(is - was)
		}
	}
	sending := max(min(time.Duration(res.DurationNS), r.cfg.Duration).Seconds(), 1e-9)
	res.Rates["offered_per_s"] = float64(c.Planned) / r.cfg.Duration.Seconds()
	res.Rates["achieved_per_s"] = float64(c.Sent) / sending
	res.Rates["accepted_per_s"] = float64(c.Accepted) / sending
	res.Latency["send_lag"] = r.lag.Summary()
	if r.watch != nil {
		r.watch.account(res)
		res.Rates["deliveries_per_s"] = float64(c.Deliveries.Received) / sending
	}
}

func (r *ingestRun) judge(res *Result) {
	c := &res.Counts
	res.Judge(Evidence{
		Late: r.late.Load(), MostInMS: r.bunches.Most(), Plan: r.cfg.Plan, Rate: res.Rates["accepted_per_s"],
		Queued: int64(r.cfg.Fleet.Stats().Queued), Loopback: r.cfg.Loopback, Lost: c.Lost, Where: c.Dropped,
	})
	if n := c.Dropped["rate_limited"]; n > 0 {
		res.Verdict.Warn("W24", Doubt, map[string]any{"rate_limited": n},
			"the server held devices to their limits %d times: more devices are needed for this rate", n)
	}
}

// ground is where the devices of a measurement stand: evenly over the inhabited
// latitudes. A device moves by a centimetre a fix, so that each place says which fix
// of it this is, and no payload has to.
type ground struct{ base []geo.Point }

// stride is how many fixes of a device lie on one line before the next line begins.
const stride = 1000

func newGround(seed uint64, devices int) *ground {
	g := &ground{base: make([]geo.Point, devices)}
	const golden = 0.6180339887498949
	shift := float64(seed%997) / 997
	for i := range g.base {
		lat := -55 + 115*(float64(i)+0.5)/float64(devices)
		turn := float64(i)*golden + shift
		g.base[i] = geo.Deg(lat, -179+358*(turn-float64(int64(turn))))
	}
	return g
}

// fix is the n-th fix of device i.
func (g *ground) fix(i int, n, ms int64) track.Fix {
	at := g.base[i]
	at.Lat += int32(n % stride)
	at.Lon += int32(n / stride)
	return track.Fix{Time: ms, At: at, Speed: 1389, Course: 4500, Has: track.HasPos | track.HasVel}
}

// number is the opposite of fix: which fix of device i is at this place.
func (g *ground) number(i int, at geo.Point) (n int64, ok bool) {
	dlat, dlon := int64(at.Lat-g.base[i].Lat), int64(at.Lon-g.base[i].Lon)
	if dlat < 0 || dlat >= stride || dlon < 0 {
		return 0, false
	}
	return dlon*stride + dlat, true
}
