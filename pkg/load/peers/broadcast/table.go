package broadcast

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"time"

	"tracker/pkg/load"
	"tracker/pkg/load/peers"
	"tracker/pkg/track"
)

// SchemaPeers names the form of a Table. Unknown members are allowed; removing one, or
// changing what it means, makes a new number.
const SchemaPeers = "trackbench.peers/1"

// Table is what the targets did in interleaved rounds.
type Table struct {
	Schema     string       `json:"schema"`
	Tool       load.Tool    `json:"tool"`
	Started    load.Instant `json:"started"`
	Partial    bool         `json:"partial"` // interrupted
	Quick      bool         `json:"quick"`   // too short to mean anything
	Seed       uint64       `json:"seed"`    // of the order within rounds
	Rounds     int          `json:"rounds"`  // that were finished
	Viewers    int          `json:"viewers"`
	Bursts     int          `json:"bursts_per_s"`
	Window     int          `json:"bursts_under_way"`
	Spread     bool         `json:"spread"` // the messages of a burst came one by one; in the rows, bursts are messages then
	Payload    int          `json:"payload"`
	WarmupNS   int64        `json:"warmup_ns"`
	DurationNS int64        `json:"duration_ns"` // of one measurement
	Seats      string       `json:"seats"`
	Targets    []TargetFact `json:"targets"`
	Rows       []*Row       `json:"rows"`
	Bars       []*Bar       `json:"bars"`
	Env        load.Env     `json:"env"`
}

// TargetFact is what is to be known of a target.
type TargetFact struct {
	Name string `json:"name"`
	Facts
	Absent string `json:"absent,omitempty"` // why it was not measured
	// IdleCPU is the greatest share of a processor that it used while others were
	// measured.
	IdleCPU float64 `json:"idle_cpu"`
}

// Row is one target at one size of bursts. Figures are medians of the rounds'.
type Row struct {
	Updates    int          `json:"updates"` // messages of a burst
	Target     string       `json:"target"`
	Rates      []float64    `json:"deliveries_per_s"` // one a round
	PerCores   []float64    `json:"deliveries_per_server_core_s"`
	Rate       *float64     `json:"median_deliveries_per_s"`
	PerCore    *float64     `json:"median_deliveries_per_server_core_s"`
	Ratio      *Ratio       `json:"trackerd_to_this"` // of deliveries per server-core-second
	ServerCPU  *float64     `json:"server_cpu_s_per_m"`
	ClientCPU  *float64     `json:"client_cpu_s_per_m"`
	RSS        *float64     `json:"rss"`
	Bytes      *float64     `json:"bytes_per_delivery"`
	Reads      *float64     `json:"reads_per_burst"` // of a viewer
	Latency    load.Summary `json:"latency"`         // from when a burst was due, all rounds
	Sent       int64        `json:"bursts_sent"`
	Planned    int64        `json:"bursts_planned"`
	Lost       int64        `json:"lost"`
	Duplicate  int64        `json:"duplicate"`
	OutOfOrder int64        `json:"out_of_order"`
	Failed     []string     `json:"failed,omitempty"` // rounds that gave no figure, and why
	Faults     []string     `json:"faults,omitempty"`

	// In how many rounds the client was the limit, and others used the machine.
	ClientBound int `json:"client_bound"`
	Disturbed   int `json:"disturbed"`

	server, client, rss, bytes, reads []float64
	latency                           *load.Recorder
}

// Bar is what the ratio of trackerd to another target has to reach.
type Bar struct {
	Updates int     `json:"updates"`
	Target  string  `json:"target"`
	Least   float64 `json:"least"`
	Ratio   *Ratio  `json:"ratio"`
	Held    *bool   `json:"held"` // absent where it was not measured
}

// The bars: what the product promises of deliveries per server-core-second.
var bars = []Bar{
	{Updates: 1, Target: "bare", Least: 0.8}, {Updates: 20, Target: "bare", Least: 0.8}, {Updates: 100, Target: "bare", Least: 0.8},
	{Updates: 20, Target: "redis", Least: 1.3}, {Updates: 100, Target: "redis", Least: 4},
	{Updates: 20, Target: "nats", Least: 3.5}, {Updates: 100, Target: "nats", Least: 15},
}

// Missed are the bars that do not hold, Open those that nothing is known of.
func (t *Table) Missed() []*Bar {
	return t.which(func(b *Bar) bool { return b.Held != nil && !*b.Held })
}
func (t *Table) Open() []*Bar { return t.which(func(b *Bar) bool { return b.Held == nil }) }

func (t *Table) which(is func(*Bar) bool) (list []*Bar) {
	for _, b := range t.Bars {
		if is(b) {
			list = append(list, b)
		}
	}
	return list
}

// Config says what to measure.
type Config struct {
	Version  string
	Trackerd string   // the program
	Bare     []string // the program and arguments that call ServeBare
	Only     []string // names of targets beside trackerd; none: all
	Seats    load.Seats
	Shape    Shape // but for Updates
	Updates  []int
	Spread   bool // the messages of a burst one by one, evenly over time; the bare loop writes them at once all the same
	Rounds   int
	Again    int // how often a measurement is repeated when others used the machine meanwhile
	Seed     uint64
	Quick    bool // is only noted
	Progress func(format string, args ...any)
}

// Names are the targets that there are, in the order in which they are told.
func Names() []string {
	return []string{"trackerd", "bare", "redis", "nats", "mosquitto", "mosquitto-qos1"}
}

// bench is a table while it is measured.
type bench struct {
	cfg     Config
	table   *Table
	targets []Target
	others  func() time.Duration // CPU time of everybody who is not of this measurement
}

// Run measures a table. When trackerd itself loses, doubles or mixes up deliveries, that
// is an error that wraps ErrFailed; of others it is only told. When ctx ends, the table
// tells what was measured until then.
func Run(ctx context.Context, cfg Config) (t *Table, err error) {
	b := &bench{cfg: cfg}
	b.others = b.elsewhere
	b.table = &Table{
		Schema: SchemaPeers, Tool: load.Tool{Version: cfg.Version, Go: runtime.Version()}, Started: load.Instant{Time: time.Now()},
		Quick: cfg.Quick, Seed: cfg.Seed, Spread: cfg.Spread, Seats: cfg.Seats.String(), Payload: Payload,
	}
	if err := b.check(); err != nil {
		return nil, err
	}
	defer func() {
		for _, t := range b.targets {
			err = errors.Join(err, t.Close())
		}
	}()
	before := load.ReadVitals()
	if err := b.start(ctx); err != nil {
		return nil, err
	}
	random := rand.New(rand.NewPCG(cfg.Seed, 4))
	for n := range cfg.Rounds {
		if err := b.round(ctx, n, random); err != nil {
			if ctx.Err() == nil {
				return nil, err
			}
			b.table.Partial = true
			break
		}
		b.table.Rounds++
	}
	b.settle()
	b.table.Env = load.Describe(before, load.ReadVitals())
	return b.table, nil
}

func (b *bench) check() error {
	for _, u := range b.cfg.Updates {
		shape := b.cfg.Shape
		if u < 1 {
			return fmt.Errorf("updates %d: want 1 to %d: %w", u, mostUpdates, track.ErrInvalid)
		}
		shape.Updates = u
		if err := shape.Check(); err != nil {
			return err
		}
		if b.cfg.Spread {
			shape = shape.spread()
		}
		if err := shape.Check(); err != nil {
			return err
		}
	}
	_ = b.cfg.Shape.Check() // fills in
	s, t := &b.cfg.Shape, b.table
	t.Viewers, t.Bursts, t.Window, t.WarmupNS, t.DurationNS = s.Viewers, s.Bursts, s.Window, int64(s.Warmup), int64(s.Duration)
	return nil
}

func (b *bench) progress(format string, args ...any) {
	if b.cfg.Progress != nil {
		b.cfg.Progress(format, args...)
	}
}

// start starts all servers and makes the rows. They stay up until the end.
func (b *bench) start(ctx context.Context) error {
	ours, err := StartOurs(ctx, b.cfg.Seats, b.cfg.Trackerd)
	if err != nil {
		return err
	}
	b.targets = append(b.targets, ours)
	for _, u := range b.cfg.Updates {
		b.progress("a frame of %d fixes, for the bare loop", u)
		if err := ours.Sample(ctx, u); err != nil {
			return err
		}
	}
	b.table.Targets = []TargetFact{{Name: ours.Name(), Facts: ours.Facts()}}
	for _, name := range Names()[1:] {
		if len(b.cfg.Only) > 0 && !slices.Contains(b.cfg.Only, name) {
			continue
		}
		if err := b.open(ctx, name, ours); err != nil {
			return err
		}
	}
	for _, u := range b.cfg.Updates {
		for _, t := range b.targets {
			b.table.Rows = append(b.table.Rows, &Row{Updates: u, Target: t.Name(), Rates: []float64{}, PerCores: []float64{}, latency: load.NewRecorder()})
		}
	}
	return nil
}

func (b *bench) open(ctx context.Context, name string, ours *Ours) (err error) {
	var t Target
	switch name {
	case "bare":
		t, err = opened(StartBare(ctx, b.cfg.Seats, ours.Frame, b.cfg.Bare[0], b.cfg.Bare[1:]...))
	case "redis":
		t, err = opened(StartRedis(ctx, b.cfg.Seats))
	case "nats":
		t, err = opened(StartNATS(ctx, b.cfg.Seats))
	case "mosquitto":
		t, err = opened(StartMosquitto(ctx, b.cfg.Seats, 0))
	case "mosquitto-qos1":
		t, err = opened(StartMosquitto(ctx, b.cfg.Seats, 1))
	}
	switch {
	case errors.Is(err, ErrAbsent):
		b.table.Targets = append(b.table.Targets, TargetFact{Name: name, Absent: err.Error()})
		return nil
	case err == nil:
		b.targets = append(b.targets, t)
		b.table.Targets = append(b.table.Targets, TargetFact{Name: name, Facts: t.Facts()})
	}
	return err
}

// opened keeps a nil of one type from becoming a Target that is not nil.
func opened[T Target](t T, err error) (Target, error) {
	if err != nil {
		return nil, err
	}
	return t, nil
}

func (b *bench) row(updates int, target string) *Row {
	for _, r := range b.table.Rows {
		if r.Updates == updates && r.Target == target {
			return r
		}
	}
	return nil
}

// cell is one measurement of a round.
type cell struct {
	target    Target
	updates   int
	figure    *Figure
	failed    error
	disturbed bool
}

// round measures everything once, in random order.
func (b *bench) round(ctx context.Context, n int, random *rand.Rand) error {
	var cells []*cell
	for _, u := range b.cfg.Updates {
		for _, t := range b.targets {
			cells = append(cells, &cell{target: t, updates: u})
		}
	}
	random.Shuffle(len(cells), func(i, j int) { cells[i], cells[j] = cells[j], cells[i] })
	for i, c := range cells {
		if err := b.do(ctx, fmt.Sprintf("round %d of %d, %d of %d: %s, %d a burst", n+1, b.cfg.Rounds, i+1, len(cells), c.target.Name(), c.updates), c); err != nil {
			b.keep(cells[:i]) // true figures all the same
			return err
		}
	}
	b.keep(cells)
	return nil
}

// busyOthers is how much of a processor others may use meanwhile.
const busyOthers = 0.2

// do does a measurement, and again while others used the machine.
func (b *bench) do(ctx context.Context, what string, c *cell) error {
	for try := 0; ; try++ {
		b.progress("%s", what)
		shape := b.cfg.Shape
		shape.Updates = c.updates
		if _, bare := c.target.(*Bare); b.cfg.Spread && !bare {
			shape = shape.spread()
		}
		others, idle, began := b.others(), b.used(), time.Now()
		c.figure, c.failed = Measure(ctx, c.target, shape)
		if err := b.failure(ctx, c); err != nil {
			return err
		}
		took := time.Since(began)
		b.watchIdle(c.target, idle, took)
		used := per((b.others() - others).Seconds(), took.Seconds())
		if c.disturbed = used > busyOthers; !c.disturbed || try >= b.cfg.Again {
			return nil
		}
		what += fmt.Sprintf(", again, as others used %.2f cores", used)
	}
}

// failure is why no figure of this measurement can stand, if ours is to blame or nobody.
func (b *bench) failure(ctx context.Context, c *cell) error {
	err := c.failed
	if ctx.Err() != nil {
		return ctx.Err()
	}
	ours := c.target == b.targets[0]
	if err == nil && ours {
		err = c.figure.Err()
	}
	if ours && err != nil {
		return fmt.Errorf("trackerd, %d a burst: %w", c.updates, err)
	}
	return nil
}

// used is the CPU time of each target so far.
func (b *bench) used() []time.Duration {
	list := make([]time.Duration, len(b.targets))
	for i, t := range b.targets {
		list[i], _ = t.Process().CPU()
	}
	return list
}

// watchIdle notes what those used that were not measured.
func (b *bench) watchIdle(measured Target, before []time.Duration, took time.Duration) {
	for i, now := range b.used() {
		t := b.targets[i]
		if t == measured {
			continue
		}
		at := slices.IndexFunc(b.table.Targets, func(f TargetFact) bool { return f.Name == t.Name() })
		f := &b.table.Targets[at]
		f.IdleCPU = max(f.IdleCPU, per((now-before[i]).Seconds(), took.Seconds()))
	}
}

// elsewhere is what others tells; it does not grow where the system does not say.
func (b *bench) elsewhere() time.Duration {
	all, ok := load.MachineCPU()
	if !ok {
		return 0
	}
	own, _ := load.OwnCPU()
	ended, _ := load.ChildrenCPU()
	all -= own + ended
	for _, used := range b.used() {
		all -= used
	}
	return all
}

// keep takes the figures of a round over, and makes its ratios.
func (b *bench) keep(cells []*cell) {
	ours := map[int]float64{}
	for _, c := range cells {
		if c.target == b.targets[0] {
			ours[c.updates] = c.figure.PerCore()
		}
	}
	for _, c := range cells {
		r := b.row(c.updates, c.target.Name())
		if c.failed != nil {
			r.Failed = append(r.Failed, c.failed.Error())
			continue
		}
		r.add(c)
		if theirs := c.figure.PerCore(); theirs > 0 && ours[c.updates] > 0 && c.target != b.targets[0] {
			if r.Ratio == nil {
				r.Ratio = &Ratio{}
			}
			r.Ratio.Values = append(r.Ratio.Values, ours[c.updates]/theirs)
		}
	}
}

func (r *Row) add(c *cell) {
	f := c.figure
	r.Sent += int64(f.Bursts)
	r.Planned += int64(f.Planned)
	r.Lost += f.Lost
	r.Duplicate += f.Duplicate
	r.OutOfOrder += f.OutOfOrder
	r.Faults = append(r.Faults, f.Faults...)
	r.Rates = append(r.Rates, f.Rate())
	r.rss = append(r.rss, float64(f.RSS))
	r.latency.Merge(f.Latency)
	if f.ClientBound() {
		r.ClientBound++
	}
	if c.disturbed {
		r.Disturbed++
	}
	if f.Deliveries == 0 {
		return
	}
	millions := float64(f.Deliveries) / 1e6
	r.client = append(r.client, f.ClientCPU.Seconds()/millions)
	r.bytes = append(r.bytes, float64(f.Bytes)/float64(f.Deliveries))
	r.reads = append(r.reads, float64(f.Reads)*float64(c.updates)/float64(f.Deliveries))
	if v := f.PerCore(); v > 0 {
		r.PerCores = append(r.PerCores, v)
		r.server = append(r.server, f.ServerCPU.Seconds()/millions)
	}
}

// settle makes the medians and ratios, and holds them against the bars.
func (b *bench) settle() {
	for _, r := range b.table.Rows {
		r.Rate, r.PerCore = peers.Median(r.Rates), peers.Median(r.PerCores)
		r.ServerCPU, r.ClientCPU, r.RSS, r.Bytes, r.Reads = peers.Median(r.server), peers.Median(r.client), peers.Median(r.rss), peers.Median(r.bytes), peers.Median(r.reads)
		r.Latency = r.latency.Summary()
		if r.Ratio != nil {
			r.Ratio = newRatio(r.Ratio.Values)
		}
	}
	b.table.Bars = []*Bar{}
	for _, bar := range bars {
		if !slices.Contains(b.cfg.Updates, bar.Updates) {
			continue
		}
		if r := b.row(bar.Updates, bar.Target); r != nil && r.Ratio != nil {
			held := r.Ratio.Mean >= bar.Least
			bar.Ratio, bar.Held = r.Ratio, &held
		}
		b.table.Bars = append(b.table.Bars, &bar)
	}
}
