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
	"tracker/pkg/load/stat"
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
	Peers      map[string]string `json:"peers"`            // their versions
	Absent     map[string]string `json:"absent,omitempty"` // why others are not there
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
	// In how many rounds the client was the limit, and others used the machine.
	ClientBound int `json:"client_bound"`
	Disturbed   int `json:"disturbed"`

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
	Again    int  // how often a work is repeated when others used the machine meanwhile
	Quick    bool // is only noted
	Progress func(format string, args ...any)
}

// bench is a table while it is measured.
type bench struct {
	cfg   TableConfig
	table *Table
	rows  map[string]*Row
	round map[string]*cell // this round's figures

	others func() time.Duration // CPU time of everybody who is not of this measurement

	own   *rpcload.Own
	redis *Redis
	grpc  *GRPC
}

// cell is a figure of one round.
type cell struct {
	value     float64
	server    float64 // CPU of it a call, in ns; 0 if unknown
	bound     bool    // the client was the limit
	disturbed bool
}

// Depths of the first rows, and of those that have only one.
var depths = []int{64, 512, 4096}

const (
	middle   = 512
	greatest = 4096
)

// Measure measures a table. An answer that was not right is an error that wraps
// rpcload.ErrFailed. When ctx ends, the table tells the rounds that were finished.
func Measure(ctx context.Context, cfg TableConfig) (t *Table, err error) {
	b := &bench{cfg: cfg, rows: map[string]*Row{}}
	b.others = b.elsewhere
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

// trackerd starts one of its own.
func (b *bench) trackerd(ctx context.Context) (*rpcload.Own, error) {
	return rpcload.Launch{Path: b.cfg.Trackerd, Seats: b.cfg.Seats}.Start(ctx)
}

func (b *bench) start(ctx context.Context) (err error) {
	if b.own, err = b.trackerd(ctx); err != nil {
		return err
	}
	if b.grpc, err = StartGRPC(ctx, b.cfg.Seats, b.cfg.GRPC[0], b.cfg.GRPC[1:]...); err != nil {
		return err
	}
	b.redis, err = StartRedis(ctx, b.cfg.Seats)
	if errors.Is(err, ErrNoRedis) {
		b.table.Absent = map[string]string{"redis": err.Error()}
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
	run  func(ctx context.Context, s *step) error
	done []*cell // what it found out
}

// list makes the rows in the order in which they are told.
func (b *bench) list() {
	for _, d := range depths {
		b.row(sumAt(d), PerSecond, barSum[d], "")
		if d == greatest {
			b.row(rowCost, Seconds, barCost, "")
		}
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
	b.row(b.idleCPU(), Share, nil, "")
}

func sumAt(depth int) string   { return fmt.Sprintf("sum, depth %d", depth) }
func redisAt(depth int) string { return fmt.Sprintf("Redis GET, depth %d", depth) }

const (
	rowCost      = "  CPU of the server a call"
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

// steps are the works in the order in which they are done: ours and a peer's beside each
// other.
func (b *bench) steps() []step {
	var all []step
	for _, d := range depths {
		all = append(all, step{name: sumAt(d), run: func(ctx context.Context, s *step) error {
			return b.sum(ctx, s, sumAt(d), d, b.own.Target)
		}})
		if b.redis == nil {
			continue
		}
		all = append(all, step{name: redisAt(d), run: func(ctx context.Context, s *step) error {
			f, err := b.redis.Measure(ctx, d, b.cfg.Warmup, b.cfg.Duration)
			if err == nil {
				b.figure(s, redisAt(d), &f)
			}
			return err
		}})
	}
	overTLS := b.own.Target
	overTLS.TLS = true
	return append(all,
		step{name: rowGRPC, run: func(ctx context.Context, s *step) error {
			f, err := b.grpc.Measure(ctx, middle, b.cfg.Warmup, b.cfg.Duration)
			if err == nil {
				b.figure(s, rowGRPC, &f)
			}
			return err
		}},
		step{name: rowSleep, run: func(ctx context.Context, s *step) error {
			_, err := b.ours(ctx, s, rowSleep, b.own, b.own.Target, rpcload.Config{Method: rpcload.Sleep, Depth: middle})
			return err
		}},
		step{name: rowShare, run: b.someSleep},
		step{name: rowTLS, run: func(ctx context.Context, s *step) error { return b.sum(ctx, s, rowTLS, middle, overTLS) }},
		step{name: b.many(), run: b.manyConns},
	)
}

// measure does one round: every second one backwards, so that nobody always comes first
// or after the same one.
func (b *bench) measure(ctx context.Context, n int) error {
	b.round = map[string]*cell{}
	steps := b.steps()
	if n%2 == 1 {
		slices.Reverse(steps)
	}
	for _, s := range steps {
		if err := b.do(ctx, n, s); err != nil {
			return fmt.Errorf("%s: %w", s.name, err)
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
	}
	b.keep()
	return nil
}

// do does a work, and again while others used the machine.
func (b *bench) do(ctx context.Context, n int, s step) error {
	again := ""
	for try := 0; ; try++ {
		if b.cfg.Progress != nil {
			b.cfg.Progress("round %d of %d: %s%s", n+1, b.cfg.Rounds, s.name, again)
		}
		others, began := b.others(), time.Now()
		s.done = nil
		if err := s.run(ctx, &s); err != nil {
			return err
		}
		used := (b.others() - others).Seconds() / time.Since(began).Seconds()
		if used <= rpcload.BusyOthers || ctx.Err() != nil {
			return nil
		}
		if try >= b.cfg.Again {
			for _, c := range s.done {
				c.disturbed = true
			}
			return nil
		}
		again = fmt.Sprintf(", again, as others used %.2f cores", used)
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
	for _, p := range []*load.Process{&b.own.Process, &b.grpc.Process, b.redis.process()} {
		used, _ := p.CPU()
		all -= used
	}
	return all
}

// put keeps a figure of this round.
func (b *bench) put(s *step, work string, c cell) {
	b.round[work] = &c
	s.done = append(s.done, &c)
}

// keep makes the ratios of this round, and takes its figures over.
func (b *bench) keep() {
	ratio := func(work, over, under string) {
		if a, c := b.round[over], b.round[under]; a != nil && c != nil && c.value > 0 {
			b.rows[work].Ratios = append(b.rows[work].Ratios, a.value/c.value)
		}
	}
	for _, d := range depths {
		ratio(redisAt(d), sumAt(d), redisAt(d))
	}
	ratio(rowGRPC, sumAt(middle), rowGRPC)
	ratio(rowShare, rowShare, sumAt(middle))
	ratio(rowTLS, rowTLS, sumAt(middle))
	for work, c := range b.round {
		r := b.rows[work]
		r.Values = append(r.Values, c.value)
		if c.server > 0 {
			r.server = append(r.server, c.server)
		}
		if c.bound {
			r.ClientBound++
		}
		if c.disturbed {
			r.Disturbed++
		}
	}
}

// figure keeps what was found out about a peer.
func (b *bench) figure(s *step, work string, f *Figure) {
	c := cell{value: f.Rate()}
	if f.ServerKnown && f.Calls > 0 {
		c.server = float64(f.ServerCPU) / float64(f.Calls)
		took := f.Took.Seconds()
		c.bound = f.ClientCPU.Seconds()/took > 0.9 && f.ServerCPU.Seconds()/took < 0.8
	}
	b.put(s, work, c)
}

// ours fills a trackerd and keeps the rate under the name of the work.
func (b *bench) ours(ctx context.Context, s *step, work string, own *rpcload.Own, target rpcload.Target, cfg rpcload.Config) (*rpcload.Outcome, error) {
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
	per, known := o.PerCall()
	b.put(s, work, cell{value: o.Rate(), server: float64(per), bound: o.ClientBound()})
	if known && per > 0 && work == sumAt(greatest) { // 0: too short for the clock of the system
		b.put(s, rowCost, cell{value: per.Seconds()})
	}
	return o, nil
}

func (b *bench) sum(ctx context.Context, s *step, work string, depth int, target rpcload.Target) error {
	_, err := b.ours(ctx, s, work, b.own, target, rpcload.Config{Depth: depth})
	return err
}

func (b *bench) someSleep(ctx context.Context, s *step) error {
	o, err := b.ours(ctx, s, rowShare, b.own, b.own.Target, rpcload.Config{Method: rpcload.Sleep, Share: 0.01, Depth: middle})
	if err != nil {
		return err
	}
	for work, r := range map[string]*load.Recorder{rowShareP50: o.Latency, rowShareSlow: o.Sleeping} {
		if p50, ok := r.Summary().Quantile("50"); ok {
			b.put(s, work, cell{value: p50.Seconds()})
		}
	}
	return nil
}

// manyConns wants a server that nobody has used before: memory that an earlier work left
// to the heap would hide what connections need.
func (b *bench) manyConns(ctx context.Context, s *step) (err error) {
	own, err := b.trackerd(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, own.Close()) }()
	// A server that says ready grows by 2 MB in the tenth of a second after: it asks
	// itself how it is for the first time. That is not of the connections.
	if err := load.Pause(ctx, max(b.cfg.Duration/4, b.cfg.Warmup)); err != nil {
		return err
	}
	o, err := b.ours(ctx, s, b.many(), own, own.Target, rpcload.Config{Conns: b.cfg.Conns, Depth: 4, Connected: func() {
		before, known := own.CPU()
		began := time.Now()
		if load.Pause(ctx, max(b.cfg.Duration/2, b.cfg.Warmup)) != nil {
			return
		}
		if after, known2 := own.CPU(); known && known2 {
			b.put(s, b.idleCPU(), cell{value: (after - before).Seconds() / time.Since(began).Seconds()})
		}
	}})
	if err != nil {
		return err
	}
	if o.RSSBefore > 0 && o.RSSIdle > 0 {
		b.put(s, b.idle(), cell{value: float64(o.RSSIdle-o.RSSBefore) / float64(b.cfg.Conns)})
		b.put(s, b.busy(), cell{value: float64(o.RSSBusy-o.RSSBefore) / float64(b.cfg.Conns)})
	}
	return nil
}

// settle makes the medians of what was measured, and holds them against the bar.
func (r *Row) settle() {
	r.Median, r.ServerNS, r.Ratio = Median(r.Values), Median(r.server), Median(r.Ratios)
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

// Median is nil without values.
func Median(list []float64) *float64 {
	if len(list) == 0 {
		return nil
	}
	v := stat.Median(list)
	return &v
}
