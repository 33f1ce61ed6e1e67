package peers

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"tracker/pkg/load"
	"tracker/pkg/load/leaktest"
)

// The test binary is the gRPC server, when it is told so.
func TestMain(m *testing.M) {
	if os.Getenv("PEERS_GRPC_SERVER") != "" {
		if err := ServeGRPC(os.Stdin, os.Stdout); err != nil {
			panic(err)
		}
		return
	}
	os.Exit(leaktest.Run(m, "google.golang.org/grpc"))
}

func TestGRPCIsMeasuredAndChecked(t *testing.T) {
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "PEERS_GRPC_SERVER=1")
	g, err := startGRPC(t.Context(), cmd)
	if err != nil {
		t.Fatal(err)
	}
	f, err := g.Measure(t.Context(), 16, 20*time.Millisecond, 200*time.Millisecond)
	if err != nil || f.Calls == 0 || f.Rate() <= 0 {
		t.Error(f, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := g.Measure(ctx, 1, 0, time.Minute); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	if err := g.Close(); err != nil {
		t.Error(err)
	}
}

func TestRedisIsMeasured(t *testing.T) {
	r, err := StartRedis(t.Context(), load.Seats{})
	if errors.Is(err, ErrNoRedis) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	dir := r.dir
	f, err := r.Measure(t.Context(), 64, 10*time.Millisecond, 100*time.Millisecond)
	if err != nil || f.Calls < 1000 || f.Rate() <= 0 {
		t.Error(f, err)
	}
	if v, err := r.version(t.Context()); err != nil || v == "" {
		t.Error(v, err)
	}
	if err := r.Close(); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(dir); !errors.Is(err, os.ErrNotExist) {
		t.Error("its directory is still there:", err)
	}
}

func TestWithoutRedisItIsSaidHowToGetIt(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	if _, err := StartRedis(t.Context(), load.Seats{}); !errors.Is(err, ErrNoRedis) || !strings.Contains(err.Error(), "apt-get install") {
		t.Error(err)
	}
}

func TestWhatRedisBenchmarkSays(t *testing.T) {
	for text, want := range map[string]float64{
		"\"test\",\"rps\",\"avg_latency_ms\"\n\"GET bench\",\"1428571.38\",\"0.3\"\n": 1428571.38,
		"\"GET bench\",\"1000.5\"\n": 1000.5,
		"":                           0,
		"ERR unknown\n":              0,
		"\"GET\",\"nan\"\n":          0,
	} {
		got, err := parseRedis([]byte(text))
		if got != want || (err == nil) != (want > 0) {
			t.Errorf("%q: %v, %v", text, got, err)
		}
	}
}

func FuzzParseRedis(f *testing.F) {
	f.Add([]byte("\"GET bench\",\"1000.5\"\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if v, err := parseRedis(b); err == nil && !(v > 0) {
			t.Errorf("%q: %v", b, v)
		}
	})
}

// fixed is a table of known figures: what is counted, compared and held against bars.
func fixed(t *testing.T) *Table {
	t.Helper()
	b := &bench{cfg: TableConfig{Conns: 1000}, rows: map[string]*Row{}, table: &Table{
		Schema: SchemaTable, Tool: load.Tool{Version: "1.2.3", Go: "go1.26"}, Rounds: 3, DurationNS: 2e9, WarmupNS: 5e8,
		Seats: load.Seats{Server: 0, Client: 1, Pinned: true}.String(), Peers: map[string]string{"redis": "7.0.15", "grpc-go": "1.85.0"},
		Started: load.Instant{Time: time.Date(2026, 11, 22, 3, 4, 0, 0, time.UTC)},
		Env:     load.Env{CPU: "Some CPU", Cores: 2, OS: "linux/amd64", Kernel: "6.18"},
	}}
	b.list()
	for _, rate := range []float64{4e6, 1e6, 5e6} {
		b.round = map[string]*cell{
			sumAt(512):   {value: rate, server: 1e9 / rate, bound: rate == 1e6},
			redisAt(512): {value: 1e6, disturbed: rate > 4e6}, rowGRPC: {value: 20e3},
			rowShareP50: {value: 150e-6}, rowShareSlow: {value: 2e-3}, rowTLS: {value: 0.5 * rate},
			b.idle(): {value: 12 << 10}, b.busy(): {value: 21 << 10}, b.idleCPU(): {value: 0.004},
		}
		b.keep()
	}
	for _, r := range b.table.Rows {
		r.settle()
	}
	return b.table
}

func TestATableTellsMediansRatiosAndBars(t *testing.T) {
	table := fixed(t)
	row := func(work string) *Row {
		return table.Rows[slices.IndexFunc(table.Rows, func(r *Row) bool { return r.Work == work })]
	}
	sum, redis := row(sumAt(512)), row(redisAt(512))
	if *sum.Median != 4e6 || *sum.Min != 1e6 || *sum.Max != 5e6 || !*sum.Held || *sum.ServerNS != 250 {
		t.Errorf("%+v", sum)
	}
	if *redis.Ratio != 4 || !*redis.Held {
		t.Errorf("%+v", redis)
	}
	if r := row(sumAt(64)); r.Median != nil || r.Held != nil {
		t.Errorf("what was not measured has a figure: %+v", r)
	}
	var missed []string
	for _, r := range table.Missed() {
		missed = append(missed, strings.TrimSpace(r.Work))
	}
	if want := []string{rowTLS, "memory of an idle connection"}; !reflect.DeepEqual(missed, want) {
		t.Errorf("missed %q, want %q", missed, want)
	}
}

// A work that others disturbed is done again, so often, and then its figure says so.
func TestADisturbedWorkIsDoneAgain(t *testing.T) {
	for _, row := range []struct {
		noisy, again, tries int
		disturbed           bool
	}{{0, 3, 1, false}, {1, 3, 2, false}, {9, 2, 3, true}, {9, 0, 1, true}} {
		b := &bench{cfg: TableConfig{Again: row.again}, round: map[string]*cell{}}
		var used time.Duration
		b.others = func() time.Duration { return used }
		tries := 0
		err := b.do(t.Context(), 0, step{name: "work", run: func(_ context.Context, s *step) error {
			if tries++; tries <= row.noisy {
				used += time.Hour
			}
			b.put(s, "work", cell{value: float64(tries)})
			return nil
		}})
		got := *b.round["work"]
		if err != nil || tries != row.tries || got != (cell{value: float64(row.tries), disturbed: row.disturbed}) {
			t.Errorf("%+v: %d tries, %+v, %v", row, tries, got, err)
		}
	}
}

func TestATableReadsAsBefore(t *testing.T) {
	table := fixed(t)
	var text strings.Builder
	if err := table.Print(&text); err != nil {
		t.Fatal(err)
	}
	golden(t, "table.txt", text.String())
	b, err := json.MarshalIndent(table, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "table.json", string(b)+"\n")
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

func TestMeasureEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancelCause(t.Context())
	why := errors.New("an answer was wrong")
	cancel(why)
	if _, err := measure(ctx, nil, &atomic.Int64{}, 0, time.Minute); !errors.Is(err, why) {
		t.Error(err)
	}
}

func TestFiguresForPeople(t *testing.T) {
	for _, row := range []struct {
		u    Unit
		v    float64
		want string
	}{
		{PerSecond, 950, "950/s"}, {PerSecond, 2.8e6, "2.80 M/s"}, {PerSecond, 14.25e6, "14.2 M/s"}, {PerSecond, 698e3, "698 k/s"},
		{Seconds, 149e-6, "149 us"}, {Seconds, 2.1e-3, "2.10 ms"}, {Bytes, 15 << 10, "15.0 KiB"}, {Bytes, -100, "-100 B"}, {Share, 0.015, "1.5 %"},
	} {
		if got := row.u.Text(row.v); got != row.want {
			t.Errorf("%v %s: %q, want %q", row.v, row.u, got, row.want)
		}
	}
}
