package load

import (
	"crypto/rand"
	"encoding/json"
	"fmt"
	"os"
	"runtime"
	"time"
)

// SchemaResult names the form of a Result. Unknown members are allowed; removing one,
// or changing what it means, makes a new number.
const SchemaResult = "trackbench.result/1"

// Result is one run, with everything that is needed to judge it. Durations are
// nanoseconds, rates are a second.
type Result struct {
	Schema      string             `json:"schema"`
	ID          string             `json:"id"`
	Tool        Tool               `json:"tool"`
	Scenario    Scenario           `json:"scenario"`
	Target      Target             `json:"target"`
	Started     Instant            `json:"started"`
	DurationNS  int64              `json:"duration_ns"`
	Partial     bool               `json:"partial"` // interrupted: true figures of less than was planned
	Verdict     Verdict            `json:"verdict"`
	Counts      Counts             `json:"counts"`
	Rates       map[string]float64 `json:"rates"`
	Latency     map[string]Summary `json:"latency"`
	Intervals   []Interval         `json:"intervals"`
	Resources   Resources          `json:"resources"`
	Calibration Calibration        `json:"calibration"`
	Env         Env                `json:"env"`

	Command []string          `json:"command,omitempty"` // what to run to do it again, without secrets
	Labels  map[string]string `json:"labels,omitempty"`
	Checks  []Check           `json:"checks,omitempty"` // what was asked of the run, and whether it holds
	// Completeness is the share that each receiver got of what it was owed, 0 to 1, in
	// the order of the receivers.
	Completeness []float64 `json:"completeness,omitempty"`
}

// Check is one thing that was asked of a run.
type Check struct {
	Kind string `json:"kind"` // "threshold" or "correctness"
	Name string `json:"name"` // "p99<5ms", "complete"
	Pass bool   `json:"pass"`
	Text string `json:"text,omitempty"` // what was found instead
}

// Tool is who measured.
type Tool struct {
	Version string `json:"version"`
	Go      string `json:"go"`
}

// Scenario is what was done.
type Scenario struct {
	Name string         `json:"name"`
	Args map[string]any `json:"args"`
	Loop string         `json:"loop"` // "open": arrivals do not wait for answers
	Seed uint64         `json:"seed"`
	Plan string         `json:"plan_sha256,omitempty"` // equal plans do the same at the same times
}

// Target is what it was done to.
type Target struct {
	Addr    string `json:"addr"`
	UDP     string `json:"udp,omitempty"`
	Kind    string `json:"kind"`
	Version string `json:"version,omitempty"`
}

// Counts add up: Planned = Sent + Unsent, and Sent = Accepted + Lost, where Lost is
// split by who dropped it as far as anybody knows.
type Counts struct {
	Planned    int64            `json:"planned"`
	Sent       int64            `json:"sent"`
	Accepted   int64            `json:"accepted"`
	Lost       int64            `json:"lost"`
	Errors     map[string]int64 `json:"errors"`         // of sending, by kind
	Dropped    map[string]int64 `json:"server_dropped"` // by the server's reason
	Deliveries *Deliveries      `json:"deliveries,omitempty"`
	Answers    *Answers         `json:"answers,omitempty"`
	BytesOut   int64            `json:"bytes_out"`
}

// Deliveries are what a watcher saw of the fixes that were sent.
type Deliveries struct {
	Expected   int64 `json:"expected"`
	Received   int64 `json:"received"`
	Lost       int64 `json:"lost"`
	Duplicate  int64 `json:"duplicate"`
	OutOfOrder int64 `json:"out_of_order"`
	Conflated  int64 `json:"conflated,omitempty"` // skipped for a newer one that came
	Frames     int64 `json:"frames"`
}

// Answers are what became of calls: Sent = Right + Wrong + Refused + Lost. Doubled and
// Unknown are answers beyond those.
type Answers struct {
	Right   int64    `json:"right"`
	Wrong   int64    `json:"wrong"`
	Refused int64    `json:"refused"` // with an error; Counts.Errors has them by status
	Lost    int64    `json:"lost"`
	Doubled int64    `json:"doubled"`
	Unknown int64    `json:"unknown"` // to what was never asked
	Faults  []string `json:"faults,omitempty"`
}

// Interval is a slice of the run, for its course over time.
type Interval struct {
	TNS      int64  `json:"t_ns"`
	LenNS    int64  `json:"len_ns"`
	Sent     int64  `json:"sent"`
	Received int64  `json:"received"`
	HDR      string `json:"hdr_v2,omitempty"` // of the response times in it

	Offered   int64    `json:"offered,omitempty"` // sends that were due in it
	Lost      int64    `json:"lost,omitempty"`
	ClientCPU *float64 `json:"client_cpu,omitempty"` // cores used; nil if nobody knows
	ServerCPU *float64 `json:"server_cpu,omitempty"`
	LagP99NS  *int64   `json:"send_lag_p99_ns,omitempty"`
	LagMaxNS  *int64   `json:"send_lag_max_ns,omitempty"`
	Marks     []string `json:"marks,omitempty"` // IDs of the warnings that hold in it
}

// Resources are what the run cost either side.
type Resources struct {
	Client ClientUsage  `json:"client"`
	Server *ServerUsage `json:"server,omitempty"` // absent if the server does not tell
}

// ServerUsage is from the server's own metrics.
type ServerUsage struct {
	CPUSeconds float64 `json:"cpu_s"`
	RSS        int64   `json:"rss"`
	// Before the first connection, and when all were open and none was used.
	RSSBefore int64 `json:"rss_before,omitempty"`
	RSSIdle   int64 `json:"rss_idle,omitempty"`
}

// Calibration is what the measuring instrument itself can do.
type Calibration struct {
	TimerOvershootP99 int64   `json:"timer_overshoot_p99_ns"`
	Hiccup            Summary `json:"hiccup"` // how late a thread that wants nothing wakes up
	// What this program reaches against a server that does nothing, and how much of that
	// the run took; 0 where it was not measured.
	NullCeiling  float64 `json:"null_ceiling_per_s,omitempty"`
	FractionUsed float64 `json:"fraction_used,omitempty"`
}

// NewResult begins a result.
func NewResult(version, scenario string) *Result {
	return &Result{
		Schema:   SchemaResult,
		ID:       newID(),
		Tool:     Tool{Version: version, Go: runtime.Version()},
		Scenario: Scenario{Name: scenario, Args: map[string]any{}, Loop: "open"},
		Rates:    map[string]float64{},
		Latency:  map[string]Summary{},
		Counts:   Counts{Errors: map[string]int64{}, Dropped: map[string]int64{}},
		Verdict:  Verdict{Validity: Valid, Warnings: []Warning{}},
	}
}

// newID sorts by time and never repeats.
func newID() string {
	var b [8]byte
	_, _ = rand.Read(b[:]) // never fails
	return fmt.Sprintf("%012x%x", time.Now().UnixMilli(), b)
}

// WriteJSON writes the result to a file, or to standard output for "-".
func (r *Result) WriteJSON(path string) error {
	b, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	b = append(b, '\n')
	if path == "-" {
		_, err = os.Stdout.Write(b)
		return err
	}
	return os.WriteFile(path, b, 0o644)
}
