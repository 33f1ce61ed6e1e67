package broadcast

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"tracker/pkg/load"
)

// The interval is that of Student's t on logarithms: checked against figures of a book.
func TestRatiosHaveIntervals(t *testing.T) {
	r := newRatio([]float64{math.Exp(1), math.Exp(2), math.Exp(3), math.Exp(4), math.Exp(5)})
	half := 2.7764451051977987 * math.Sqrt(2.5/5)
	for what, pair := range map[string][2]float64{
		"mean": {r.Mean, math.Exp(3)}, "low": {*r.Low, math.Exp(3 - half)}, "high": {*r.High, math.Exp(3 + half)},
	} {
		if math.Abs(pair[0]/pair[1]-1) > 1e-9 {
			t.Errorf("%s is %v, want %v", what, pair[0], pair[1])
		}
	}
	if r := newRatio([]float64{2}); r.Mean != 2 || r.Low != nil || r.N != 1 {
		t.Errorf("%+v", r)
	}
	if newRatio(nil) != nil {
		t.Error("a ratio of nothing")
	}
}

// named is a target that is never asked for anything but its name.
type named struct {
	Target
	name string
}

func (n named) Name() string { return n.name }

// fixed is a table of known figures.
func fixed(t *testing.T) *Table {
	t.Helper()
	b := &bench{cfg: Config{Updates: []int{1, 20}}, table: &Table{
		Schema: SchemaPeers, Tool: load.Tool{Version: "1.2.3", Go: "go1.26"}, Rounds: 3, Seed: 9, Viewers: 1000, Bursts: 20, Window: 2, Payload: Payload,
		WarmupNS: 5e8, DurationNS: 4e9, Seats: load.Seats{Server: 0, Client: 1, Pinned: true}.String(),
		Started: load.Instant{Time: time.Date(2026, 11, 22, 3, 4, 0, 0, time.UTC)},
		Env:     load.Env{CPU: "Some CPU", Cores: 2, OS: "linux/amd64", Kernel: "6.18"},
		Targets: []TargetFact{
			{Name: "trackerd", Facts: Facts{Version: "1.2.3", Settings: []string{"GOMAXPROCS=1"}, Promise: "most"}},
			{Name: "bare", Facts: Facts{Promise: "none"}, IdleCPU: 0.02},
			{Name: "redis", Facts: Facts{Version: "7.0.15", Settings: []string{`save ""`}, Promise: "at most once"}},
			{Name: "nats", Absent: "it is not installed: there is no nats-server in PATH"},
		},
	}}
	for _, name := range []string{"trackerd", "bare", "redis"} {
		b.targets = append(b.targets, named{name: name})
	}
	for _, u := range b.cfg.Updates {
		for _, target := range b.targets {
			b.table.Rows = append(b.table.Rows, &Row{Updates: u, Target: target.Name(), Rates: []float64{}, PerCores: []float64{}, latency: load.NewRecorder()})
		}
	}
	for round := range 3 {
		var cells []*cell
		for i, target := range b.targets {
			latency := load.NewRecorder()
			latency.RecordMany(time.Duration(i+1)*time.Millisecond, 1000)
			f := &Figure{
				Bursts: 80, Planned: 80, Messages: 1600, Deliveries: 1_600_000, Took: 4 * time.Second, ServerKnown: true,
				ServerCPU: []time.Duration{800, 700, 1000 + 100*time.Duration(round)}[i] * time.Millisecond, ClientCPU: time.Second,
				RSS: 40e6, Bytes: 1_600_000 * 70, Reads: 80_000, Latency: latency,
			}
			c := &cell{target: target, updates: 20, figure: f, disturbed: round == 1 && i == 2}
			if round == 2 && i == 2 {
				f.Bursts, f.Lost, f.Faults = 70, 5, []string{"viewer 1: 5 lost"}
			}
			if round == 0 && i == 1 {
				c.figure, c.failed = nil, errors.New("bare: the server is gone")
			}
			cells = append(cells, c)
		}
		b.keep(cells)
	}
	b.settle()
	return b.table
}

func TestATableTellsMediansRatiosAndBars(t *testing.T) {
	table := fixed(t)
	row := func(updates int, target string) *Row {
		return table.Rows[slices.IndexFunc(table.Rows, func(r *Row) bool { return r.Updates == updates && r.Target == target })]
	}
	ours, bare, redis := row(20, "trackerd"), row(20, "bare"), row(20, "redis")
	if *ours.PerCore != 2e6 || *ours.Rate != 400e3 || *ours.ServerCPU != 0.5 || *ours.Bytes != 70 || *ours.Reads != 1 || ours.Ratio != nil || ours.Latency.N != 3000 {
		t.Errorf("%+v", ours)
	}
	if bare.Ratio.N != 2 || math.Abs(bare.Ratio.Mean-0.875) > 1e-9 || len(bare.Failed) != 1 {
		t.Errorf("%+v", bare)
	}
	if redis.Ratio.N != 3 || redis.Ratio.Mean < 1.25 || redis.Ratio.Mean > 1.5 || redis.Lost != 5 || redis.Disturbed != 1 || redis.Sent != 230 {
		t.Errorf("%+v", redis)
	}
	if r := row(1, "redis"); r.Ratio != nil || r.PerCore != nil {
		t.Errorf("what was not measured has figures: %+v", r)
	}
	var said []string
	for _, b := range table.Bars {
		held := "open"
		if b.Held != nil {
			held = fmt.Sprint(*b.Held)
		}
		said = append(said, fmt.Sprintf("%d %s %s", b.Updates, b.Target, held))
	}
	if want := []string{"1 bare open", "20 bare true", "20 redis true", "20 nats open"}; !slices.Equal(said, want) {
		t.Errorf("%q, want %q", said, want)
	}
	if len(table.Missed()) != 0 || len(table.Open()) != 2 {
		t.Error(table.Missed(), table.Open())
	}
}

func TestATableReadsAsBefore(t *testing.T) {
	table := fixed(t)
	var text strings.Builder
	if err := table.Print(&text); err != nil {
		t.Fatal(err)
	}
	golden(t, "peers.txt", text.String())
	for _, r := range table.Rows {
		r.Latency.HDR = "" // the compressor may change
	}
	b, err := json.MarshalIndent(table, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "peers.json", string(b)+"\n")
}

var update = flag.Bool("update", false, "rewrite the golden files")

func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s is not what it was; got:\n%s", path, got)
	}
}

func TestWhatPeersSayOfThemselves(t *testing.T) {
	for out, want := range map[string]float64{"\"test\",\"rps\"\n\"PUBLISH\",\"1000.5\"\n": 1000.5, "": 0, "ERR\n": 0} {
		if got, err := lastRate([]byte(out)); got != want || (err == nil) != (want > 0) {
			t.Errorf("%q: %v, %v", out, got, err)
		}
	}
	said := []byte("NATS Pub/Sub stats: 6,000,000 msgs/sec ~ 91 MB/sec\n Pub stats: 1,234,567 msgs/sec ~ 18 MB/sec\n Sub stats: 5,000,000 msgs/sec ~ 76 MB/sec\n")
	for subs, want := range map[bool]float64{false: 1_234_567, true: 5e6} {
		if got, err := natsRate(said, subs); got != want || err != nil {
			t.Errorf("%v: %v, %v", subs, got, err)
		}
	}
	if _, err := natsRate([]byte("no"), true); err == nil {
		t.Error("nats-bench that says nothing")
	}
}

func FuzzRates(f *testing.F) {
	f.Add([]byte(" Sub stats: 5,000 msgs/sec\n\"a\",\"1\"\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, read := range []func() (float64, error){
			func() (float64, error) { return lastRate(b) }, func() (float64, error) { return natsRate(b, true) },
		} {
			if v, err := read(); err == nil && !(v > 0) {
				t.Errorf("%q: %v", b, v)
			}
		}
	})
}

func TestShapesAreChecked(t *testing.T) {
	var s Shape
	if err := s.Check(); err != nil || s.Viewers != 1000 || s.Updates != 1 || s.Bursts != 20 || s.planned(s.Duration) != 80 {
		t.Error(s, err)
	}
	for _, bad := range []Shape{{Viewers: -1}, {Updates: 449}, {Bursts: 100_000}, {Window: -2}, {Warmup: -1}, {Duration: -1}} {
		if bad.Check() == nil {
			t.Errorf("%+v is taken", bad)
		}
	}
}

func TestWithoutAPeerItIsSaidHowToGetIt(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	t.Setenv("HOME", t.TempDir())
	_, redis := StartRedis(t.Context(), load.Seats{})
	_, nats := StartNATS(t.Context(), load.Seats{})
	if !errors.Is(redis, ErrAbsent) || !strings.Contains(redis.Error(), "apt-get install") {
		t.Error(redis)
	}
	if !errors.Is(nats, ErrAbsent) || !strings.Contains(nats.Error(), "scripts/peers") {
		t.Error(nats)
	}
	if err := Build(t.Context(), t.TempDir()); err == nil || !strings.Contains(err.Error(), "tools/peers") {
		t.Error(err)
	}
}

func TestOurSideIsCheckedAgainstTools(t *testing.T) {
	if testing.Short() {
		t.Skip("it starts servers")
	}
	c, err := CheckCodecs(t.Context(), CheckConfig{Rounds: 1, Messages: 2000})
	if err != nil {
		t.Fatal(err)
	}
	var text strings.Builder
	if err := c.Print(&text); err != nil || !strings.Contains(text.String(), "redis") {
		t.Error(text.String(), err)
	}
	t.Log(text.String())
}
