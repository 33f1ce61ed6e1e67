package load

import (
	"context"
	"fmt"
	"maps"
	"runtime"
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
	Seed     uint64
	Watch    bool          // measure delivery
	Interval time.Duration // 0 = 1 s
	Version  string        // of the tool
	Loopback bool
	// OnTick, if set, is told of each interval as it ends.
	OnTick func(Tick)
	// OnPhase, if set, is told what begins.
	OnPhase func(string)
}

// Tick is one interval of a run.
type Tick struct {
	At                time.Duration // of its end
	Sent, Received    int64         // in it
	Late              int64         // sends in it that were more than 1 ms late
	Queued            uint64        // fixes that wait in the client
	P50, P99          time.Duration // 0 if too few were received
	Dropped           uint64        // by the server, since the beginning
	ClientCPU, Server float64       // cores; Server is 0 if it does not tell
}

// sendGrid is how finely sends are spread: half of what counts as late.
const sendGrid = 500 * time.Microsecond

// lateAfter is when a send counts as late.
const lateAfter = time.Millisecond

// Ingest runs the measurement. Its error is that of the run; what the figures mean is
// in the result, which is there also when ctx ended early, and then is Partial.
func Ingest(ctx context.Context, cfg IngestConfig) (*Result, error) {
	if cfg.Interval == 0 {
		cfg.Interval = time.Second
	}
	r := &ingestRun{cfg: cfg, ground: newGround(cfg.Seed, len(cfg.Members)), lag: NewRecorder(), sentAt: make([]atomic.Int64, sentRing)}
	r.pacer = Pacer{Plan: cfg.Plan, End: cfg.Duration, Grid: sendGrid}
	return r.run(ctx)
}

// ingestRun is one run. The k-th send is fix k/devices+1 of device k%devices; fix 0
// of each device opens its session before the measurement begins.
type ingestRun struct {
	cfg    IngestConfig
	ground *ground
	pacer  Pacer
	watch  *ingestWatch

	start  time.Time
	sent   atomic.Int64
	late   atomic.Int64
	lag    *Recorder      // the sender's, until measure returns
	sentAt []atomic.Int64 // unix ns of the last sends, by number modulo sentRing
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
	c := course{overshoot: TimerOvershoot()}
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
	before, err := r.read(ctx)
	if err != nil {
		return nil, err
	}
	r.phase("measuring")
	r.measure(ctx, &c)
	r.phase("waiting for the server")
	after, err := r.finish(ctx, &before)
	if err != nil {
		return nil, fmt.Errorf("after the measurement: %w", err)
	}
	res := r.result(&c, &before, &after)
	return res, res.check()
}

// memoryLimit keeps a measuring process, which collects garbage rarely, from eating
// the machine.
const memoryLimit = 4 << 30

// course is what the measuring side saw of a run.
type course struct {
	overshoot time.Duration // of its timer, before
	intervals []Interval
	took      time.Duration
	usage     ClientUsage
	hiccup    Summary
	env       Env
	partial   bool
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

func (r *ingestRun) result(c *course, before, after *reading) *Result {
	res := NewResult(r.cfg.Version, "ingest")
	res.Started, res.DurationNS, res.Partial = Instant{r.start}, int64(c.took), c.partial
	res.Env, res.Intervals = c.env, c.intervals
	res.Calibration = Calibration{TimerOvershootP99: int64(c.overshoot), Hiccup: c.hiccup}
	res.Resources = Resources{Client: c.usage, Server: after.usage.since(before.usage)}
	res.Target = Target{Addr: r.cfg.Conn.Server(), Kind: "trackerd", Version: after.version}
	r.account(res, before, after, c.took)
	r.judge(res, c)
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

// measure sends according to plan and notes the course of the run.
func (r *ingestRun) measure(ctx context.Context, c *course) {
	vitals, self := ReadVitals(), WatchSelf()
	r.start = time.Now()
	if r.watch != nil {
		r.watch.begin(r.start)
	}
	done := make(chan struct{})
	go func() { // ends with the plan or with ctx; waited for below
		defer close(done)
		runtime.LockOSThread() // the pacer sleeps in the kernel
		defer runtime.UnlockOSThread()
		r.send(ctx)
	}()
	c.intervals = r.observe(done)
	c.took = time.Since(r.start)
	c.usage, c.hiccup = self.Stop()
	c.env = Describe(vitals, ReadVitals())
	c.partial = ctx.Err() != nil
}

func (r *ingestRun) send(ctx context.Context) {
	r.pacer.Start(r.start)
	devices := int64(len(r.cfg.Members))
	for {
		from, to, ok := r.pacer.Wait(ctx)
		if !ok {
			return
		}
		for k := from; k < to; k++ {
			due := r.pacer.Intended(k)
			f := r.ground.fix(int(k%devices), k/devices+1, due.UnixMilli())
			now := time.Now()
			r.sentAt[k%sentRing].Store(now.UnixNano())
			if r.cfg.Fleet.Send(ctx, int(k%devices), &f) != nil {
				return // ctx ended, or the fleet did; what was sent is counted
			}
			r.sent.Add(1)
			lag := max(0, now.Sub(due))
			if lag > lateAfter {
				r.late.Add(1)
			}
			r.lag.Record(lag)
		}
	}
}

// observe cuts the run into intervals until the sender is done.
func (r *ingestRun) observe(done <-chan struct{}) []Interval {
	tick := time.NewTicker(r.cfg.Interval)
	defer tick.Stop()
	var out []Interval
	c := cutter{run: r, at: r.start}
	c.cpu, _ = processCPU()
	for {
		select {
		case now := <-tick.C:
			out = append(out, c.cut(now))
		case <-done:
			return append(out, c.cut(time.Now()))
		}
	}
}

// cutter makes intervals of counters that only grow.
type cutter struct {
	run        *ingestRun
	at         time.Time
	cpu        time.Duration
	sent, late int64
	received   int64
}

func (c *cutter) cut(now time.Time) Interval {
	r := c.run
	sent, late := r.sent.Load(), r.late.Load()
	cpu, _ := processCPU()
	iv := Interval{TNS: int64(c.at.Sub(r.start)), LenNS: int64(now.Sub(c.at)), Sent: sent - c.sent}
	t := Tick{At: now.Sub(r.start), Sent: iv.Sent, Late: late - c.late, Queued: r.cfg.Fleet.Stats().Queued}
	if s := now.Sub(c.at).Seconds(); s > 0 {
		t.ClientCPU = (cpu - c.cpu).Seconds() / s
	}
	if r.watch != nil {
		received, sum := r.watch.interval()
		iv.Received, iv.HDR = received-c.received, sum.HDR
		t.Received = iv.Received
		t.P50, _ = sum.Quantile("50")
		t.P99, _ = sum.Quantile("99")
		c.received = received
	}
	c.at, c.cpu, c.sent, c.late = now, cpu, sent, late
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
	usage   *serverUsage
	fleet   client.FleetStats
}

func (r *ingestRun) read(ctx context.Context) (reading, error) {
	s, err := r.cfg.Conn.Status(ctx)
	return r.reading(ctx, s), err
}

func (r *ingestRun) settle(ctx context.Context) (reading, error) {
	s, err := Settle(ctx, r.cfg.Conn)
	return r.reading(ctx, s), err
}

func (r *ingestRun) reading(ctx context.Context, s client.Status) reading {
	return reading{
		version: s.Version, taken: int64(seen(&s)), ingest: maps.Clone(s.Ingest),
		usage: readServer(ctx, r.cfg.Conn.Server()), fleet: r.cfg.Fleet.Stats(),
	}
}

// Drops are a server's counters of datagrams that it did not take, by their names in
// client.Status.Ingest.
var Drops = []string{
	"bad_len", "bad_version", "misrouted", "unknown_id", "bad_suite", "epoch_old", "replay", "too_old", "kdf_budget",
	"auth_fail", "nonce_reuse", "rate_limited", "malformed", "time_future", "broken", "socket_drops", "filtered",
}

// account fills in the counts, rates and latencies.
func (r *ingestRun) account(res *Result, before, after *reading, took time.Duration) {
	c := &res.Counts
	c.Planned = r.pacer.Planned()
	c.Sent = r.sent.Load()
	c.Accepted = min(after.taken-before.taken, c.Sent)
	c.Lost = c.Sent - c.Accepted
	c.BytesOut = int64(after.fleet.Bytes - before.fleet.Bytes)
	if n := after.fleet.Failed - before.fleet.Failed; n > 0 {
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
	sending := min(took, r.cfg.Duration).Seconds()
	res.Rates["offered_per_s"] = float64(c.Planned) / r.cfg.Duration.Seconds()
	res.Rates["achieved_per_s"] = float64(c.Sent) / max(sending, 1e-9)
	res.Rates["accepted_per_s"] = float64(c.Accepted) / max(sending, 1e-9)
	res.Latency["send_lag"] = r.lag.Summary()
	if r.watch != nil {
		r.watch.account(res)
		res.Rates["deliveries_per_s"] = float64(c.Deliveries.Received) / max(sending, 1e-9)
	}
}

func (r *ingestRun) judge(res *Result, c *course) {
	e := Evidence{
		Env: c.env, TimerOvershoot: c.overshoot, Hiccup: c.hiccup, Client: c.usage, Took: c.took,
		Sent: res.Counts.Sent, Late: r.late.Load(), Loopback: r.cfg.Loopback,
	}
	if !res.Partial {
		e.Offered, e.Achieved = res.Rates["offered_per_s"], res.Rates["achieved_per_s"]
	}
	if l, ok := res.Latency["response"]; ok {
		e.Latency = &l
	}
	res.Verdict.Judge(e)
	if c := &res.Counts; c.Lost > 0 {
		res.Verdict.Warn("W15", Info, map[string]any{"lost": c.Lost, "dropped": c.Dropped},
			"%d of %d fixes did not arrive (%.3f %%)", c.Lost, c.Sent, 100*float64(c.Lost)/float64(c.Sent))
	}
	if n := res.Counts.Dropped["rate_limited"]; n > 0 {
		res.Verdict.Warn("W20", Doubt, map[string]any{"rate_limited": n},
			"the server held devices to their limits %d times: more devices are needed for this rate", n)
	}
}

// check holds the sums against each other.
func (r *Result) check() error {
	var sent int64
	for _, iv := range r.Intervals {
		sent += iv.Sent
	}
	c := &r.Counts
	switch {
	case sent != c.Sent:
		return fmt.Errorf("%w: the intervals have %d sends, the run %d", ErrUnsound, sent, c.Sent)
	case c.Accepted+c.Lost != c.Sent:
		return fmt.Errorf("%w: %d accepted and %d lost of %d sent", ErrUnsound, c.Accepted, c.Lost, c.Sent)
	case c.Planned > 0 && c.Sent > c.Planned:
		return fmt.Errorf("%w: %d sent of %d planned", ErrUnsound, c.Sent, c.Planned)
	}
	return nil
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
