package peers

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"time"

	"google.golang.org/grpc"

	"tracker/pkg/load"
	"tracker/pkg/load/rpcload"
)

// SchemaTable names the form of a Table. Unknown members are allowed; removing one, or
// changing what it means, makes a new number.
const SchemaTable = "trackbench.table/1"

// Table is a list of works, measured in rounds.
type Table struct {
	Schema     string            `json:"schema"`
	Tool       load.Tool         `json:"tool"`
	Started    load.Instant      `json:"started"`
	Partial    bool              `json:"partial"` // interrupted
	Quick      bool              `json:"quick"`   // too short to mean anything
	Rounds     int               `json:"rounds"`  // that were finished
	WarmupNS   int64             `json:"warmup_ns"`
	DurationNS int64             `json:"duration_ns"` // of one work in one round
	Seats      string            `json:"seats"`
	Peers      map[string]string `json:"peers"` // their versions, or why they are not there
	Env        load.Env          `json:"env"`
	Rows       []*Row            `json:"rows"`
}

// Row is one work. What was not measured has no values.
type Row struct {
	Work     string    `json:"work"`
	Unit     Unit      `json:"unit"`
	Values   []float64 `json:"values"` // one a round
	Median   *float64  `json:"median"`
	Min      *float64  `json:"min"`
	Max      *float64  `json:"max"`
	ServerNS *float64  `json:"server_cpu_ns_per_call"` // median
	Ratio    *float64  `json:"ratio"`                  // median of the rounds'
	RatioOf  string    `json:"ratio_of,omitempty"`
	Ratios   []float64 `json:"ratios,omitempty"`
	Bar      *Bar      `json:"bar"`
	Held     *bool     `json:"held"` // absent without a bar, or without values
	// ClientBound says in how many rounds the client was the limit.
	ClientBound int `json:"client_bound"`

	server []float64
}

// Missed are the rows below their bars.
func (t *Table) Missed() (missed []*Row) {
	for _, r := range t.Rows {
		if r.Held != nil && !*r.Held {
			missed = append(missed, r)
		}
	}
	return missed
}

// TableConfig says how to measure one.
type TableConfig struct {
	Version  string
	Trackerd string   // the program
	GRPC     []string // the program and arguments that call ServeGRPC
	Seats    load.Seats
	Rounds   int
	Warmup   time.Duration
	Duration time.Duration
	Conns    int  // of the row of many connections
	Quick    bool // is only noted
	Progress func(format string, args ...any)
}

// bench is a table while it is measured.
type bench struct {
	cfg   TableConfig
	table *Table
	rows  map[string]*Row
	round map[string]float64 // this round's figures

	own   *rpcload.Own
	redis *Redis
	grpc  *GRPC
}

// Depths of the first rows, and of those that have only one.
var depths = []int{64, 512, 4096}

const middle = 512

// Measure measures a table. An answer that was not right is an error that wraps
// rpcload.ErrFailed. When ctx ends, the table tells the rounds that were finished.
func Measure(ctx context.Context, cfg TableConfig) (t *Table, err error) {
	b := &bench{cfg: cfg, rows: map[string]*Row{}}
	b.table = &Table{
		Schema: SchemaTable, Tool: load.Tool{Version: cfg.Version, Go: runtime.Version()}, Started: load.Instant{Time: time.Now()},
		Quick: cfg.Quick, WarmupNS: int64(cfg.Warmup), DurationNS: int64(cfg.Duration), Seats: cfg.Seats.String(),
		Peers: map[string]string{"grpc-go": grpc.Version},
	}
	b.list()
	defer func() { err = errors.Join(err, b.grpc.Close(), b.redis.Close(), b.own.Close()) }()
	before := load.ReadVitals()
	if err := b.start(ctx); err != nil {
		return nil, err
	}
	for n := range cfg.Rounds {
		if err := b.measure(ctx, n); err != nil {
			if ctx.Err() == nil {
				return nil, err
			}
			b.table.Partial = true
			break
		}
		b.table.Rounds++
	}
	for _, r := range b.table.Rows {
		r.settle()
	}
	b.table.Env = load.Describe(before, load.ReadVitals())
	return b.table, nil
}

func (b *bench) start(ctx context.Context) (err error) {
	if b.own, err = rpcload.StartOwn(ctx, b.cfg.Seats, b.cfg.Trackerd); err != nil {
		return err
	}
	if b.grpc, err = StartGRPC(ctx, b.cfg.Seats, b.cfg.GRPC[0], b.cfg.GRPC[1:]...); err != nil {
		return err
	}
	b.redis, err = StartRedis(ctx, b.cfg.Seats)
	if errors.Is(err, ErrNoRedis) {
		b.table.Peers["redis"] = err.Error()
		return nil
	}
	if err == nil {
		b.table.Peers["redis"], err = b.redis.version(ctx)
	}
	return err
}

// step is a work that fills one row or several.
type step struct {
	name string
	run  func(ctx context.Context) error
}

// list makes the rows in the order in which they are told, and b.steps the works in the
// order in which they are done: ours and the peer's beside each other.
func (b *bench) list() {
	for _, d := range depths {
		b.row(sumAt(d), PerSecond, barSum[d], "")
		b.row(redisAt(d), PerSecond, barRedis[d], "ours to this")
	}
	b.row(rowGRPC, PerSecond, barGRPC, "ours to this")
	b.row(rowSleep, PerSecond, barSleep, "")
	b.row(rowShare, PerSecond, barShare, "this to none sleeping")
	b.row(rowShareP50, Seconds, barP50, "")
	b.row(rowShareSlow, Seconds, nil, "")
	b.row(rowTLS, PerSecond, barTLS, "this to plain")
	b.row(b.many(), PerSecond, barMany, "")
	b.row(b.idle(), Bytes, barIdle, "")
	b.row(b.busy(), Bytes, barBusy, "")
	b.row(b.idleCPU(), Share, barIdleCPU, "")
}

func sumAt(depth int) string   { return fmt.Sprintf("sum, depth %d", depth) }
func redisAt(depth int) string { return fmt.Sprintf("Redis GET, depth %d", depth) }

const (
	rowGRPC      = "gRPC unary, 512 callers"
	rowSleep     = "every call sleeps 1 ms, depth 512"
	rowShare     = "1 % of calls sleep 1 ms, depth 512"
	rowShareP50  = "  p50 of those that do not"
	rowShareSlow = "  p50 of those that do"
	rowTLS       = "sum, depth 512, TLS 1.3"
)

func (b *bench) many() string    { return fmt.Sprintf("sum, %d connections, depth 4", b.cfg.Conns) }
func (b *bench) idle() string    { return "  memory of an idle connection" }
func (b *bench) busy() string    { return "  memory of a busy connection" }
func (b *bench) idleCPU() string { return fmt.Sprintf("  CPU of %d idle connections", b.cfg.Conns) }

func (b *bench) row(work string, u Unit, bar *Bar, ratioOf string) {
	r := &Row{Work: work, Unit: u, Bar: bar, RatioOf: ratioOf, Values: []float64{}}
	b.rows[work] = r
	b.table.Rows = append(b.table.Rows, r)
}

func (b *bench) steps() []step {
	var all []step
	for _, d := range depths {
		all = append(all, step{sumAt(d), func(ctx context.Context) error { return b.sum(ctx, sumAt(d), d, b.own.Target) }})
		if b.redis != nil {
			all = append(all, step{redisAt(d), func(ctx context.Context) error {
				f, err := b.redis.Measure(ctx, d, b.cfg.Warmup, b.cfg.Duration)
				b.figure(redisAt(d), &f)
				return err
			}})
		}
	}
	overTLS := b.own.Target
	overTLS.TLS = true
	return append(all,
		step{rowGRPC, func(ctx context.Context) error {
			f, err := b.grpc.Measure(ctx, middle, b.cfg.Warmup, b.cfg.Duration)
			b.figure(rowGRPC, &f)
			return err
		}},
		step{rowSleep, func(ctx context.Context) error {
			_, err := b.ours(ctx, rowSleep, b.own, b.own.Target, rpcload.Config{Method: rpcload.Sleep, Depth: middle})
			return err
		}},
		step{rowShare, b.someSleep},
		step{rowTLS, func(ctx context.Context) error { return b.sum(ctx, rowTLS, middle, overTLS) }},
		step{b.many(), b.manyConns},
	)
}

// measure does one round: every second one backwards, so that nobody always comes first
// or after the same one.
func (b *bench) measure(ctx context.Context, n int) error {
	b.round = map[string]float64{}
	steps := b.steps()
	if n%2 == 1 {
		slices.Reverse(steps)
	}
	for _, s := range steps {
		if b.cfg.Progress != nil {
			b.cfg.Progress("round %d of %d: %s", n+1, b.cfg.Rounds, s.name)
		}
		if err := s.run(ctx); err != nil {
			return fmt.Errorf("%s: %w", s.name, err)
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
	}
	b.compare()
	return nil
}

// compare makes the ratios of this round, and keeps its figures.
func (b *bench) compare() {
	ratio := func(work, over, under string) {
		if a, c := b.round[over], b.round[under]; a > 0 && c > 0 {
			b.rows[work].Ratios = append(b.rows[work].Ratios, a/c)
		}
	}
	for _, d := range depths {
		ratio(redisAt(d), sumAt(d), redisAt(d))
	}
	ratio(rowGRPC, sumAt(middle), rowGRPC)
	ratio(rowShare, rowShare, sumAt(middle))
	ratio(rowTLS, rowTLS, sumAt(middle))
	for work, v := range b.round {
		b.rows[work].Values = append(b.rows[work].Values, v)
	}
}

func (b *bench) figure(work string, f *Figure) {
	b.round[work] = f.Rate()
	if f.ServerKnown && f.Calls > 0 {
		b.rows[work].server = append(b.rows[work].server, float64(f.ServerCPU)/float64(f.Calls))
	}
	if cpu := f.ClientCPU.Seconds() / f.Took.Seconds(); cpu > 0.9 && f.ServerKnown && f.ServerCPU.Seconds()/f.Took.Seconds() < 0.8 {
		b.rows[work].ClientBound++
	}
}

// ours fills a trackerd and keeps the rate under the name of the work.
func (b *bench) ours(ctx context.Context, work string, own *rpcload.Own, target rpcload.Target, cfg rpcload.Config) (*rpcload.Outcome, error) {
	dial, err := target.Dialer()
	if err != nil {
		return nil, err
	}
	cfg.Dial, cfg.Server = dial, &own.Process
	cfg.Warmup, cfg.Duration = b.cfg.Warmup, b.cfg.Duration
	cfg.Hello.Client = "trackbench/" + b.cfg.Version
	cfg.ShowToken(own.Token)
	o, err := rpcload.Run(ctx, cfg)
	if err != nil {
		return nil, err
	}
	if err := o.Err(); err != nil {
		return nil, fmt.Errorf("%w: %q", err, o.Faults)
	}
	b.round[work] = o.Rate()
	if per, ok := o.PerCall(); ok {
		b.rows[work].server = append(b.rows[work].server, float64(per))
	}
	if o.ClientBound() {
		b.rows[work].ClientBound++
	}
	return o, nil
}

func (b *bench) sum(ctx context.Context, work string, depth int, target rpcload.Target) error {
	_, err := b.ours(ctx, work, b.own, target, rpcload.Config{Depth: depth})
	return err
}

func (b *bench) someSleep(ctx context.Context) error {
	o, err := b.ours(ctx, rowShare, b.own, b.own.Target, rpcload.Config{Method: rpcload.Sleep, Share: 0.01, Depth: middle})
	if err != nil {
		return err
	}
	for work, r := range map[string]*load.Recorder{rowShareP50: o.Latency, rowShareSlow: o.Sleeping} {
		if p50, ok := r.Summary().Quantile("50"); ok {
			b.round[work] = p50.Seconds()
		}
	}
	return nil
}

// manyConns wants a server that nobody has used before: memory that an earlier work left
// to the heap would hide what connections need.
func (b *bench) manyConns(ctx context.Context) (err error) {
	own, err := rpcload.StartOwn(ctx, b.cfg.Seats, b.cfg.Trackerd)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, own.Close()) }()
	o, err := b.ours(ctx, b.many(), own, own.Target, rpcload.Config{Conns: b.cfg.Conns, Depth: 4, Connected: func() {
		before, known := own.CPU()
		began := time.Now()
		if pause(ctx, max(b.cfg.Duration/2, b.cfg.Warmup)) != nil {
			return
		}
		if after, known2 := own.CPU(); known && known2 {
			b.round[b.idleCPU()] = (after - before).Seconds() / time.Since(began).Seconds()
		}
	}})
	if err != nil {
		return err
	}
	if o.RSSBefore > 0 && o.RSSIdle > 0 {
		b.round[b.idle()] = float64(o.RSSIdle-o.RSSBefore) / float64(b.cfg.Conns)
		b.round[b.busy()] = float64(o.RSSBusy-o.RSSBefore) / float64(b.cfg.Conns)
	}
	return nil
}

// settle makes the medians of what was measured, and holds them against the bar.
func (r *Row) settle() {
	r.Median, r.ServerNS, r.Ratio = median(r.Values), median(r.server), median(r.Ratios)
	if len(r.Values) > 0 {
		lo, hi := slices.Min(r.Values), slices.Max(r.Values)
		r.Min, r.Max = &lo, &hi
	}
	if r.Bar == nil {
		return
	}
	v := r.Median
	if r.Bar.Ratio {
		v = r.Ratio
	}
	if v != nil {
		held := r.Bar.held(*v)
		r.Held = &held
	}
}

func median(list []float64) *float64 {
	if len(list) == 0 {
		return nil
	}
	s := slices.Sorted(slices.Values(list))
	v := (s[(len(s)-1)/2] + s[len(s)/2]) / 2
	return &v
}
