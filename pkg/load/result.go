package load

import (
	"crypto/rand"
	"encoding/json"
	"fmt"
	"io"
	"runtime"
	"time"

	"tracker/pkg/track"
)

// SchemaResult names the form of a Result. Unknown members are allowed; removing one,
// or changing what it means, makes a new number.
const SchemaResult = "trackbench.result/1"

// Result is one run, with everything that is needed to judge it. Durations are
// nanoseconds, rates are a second.
type Result struct {
	Schema     string             `json:"schema"`
	ID         string             `json:"id"` // sorts by time and never repeats
	Tool       Tool               `json:"tool"`
	Command    []string           `json:"command,omitempty"` // what to run to do it again, without secrets
	Labels     map[string]string  `json:"labels,omitempty"`  // as --label gave them
	Scenario   Scenario           `json:"scenario"`
	Target     Target             `json:"target"`
	Started    Instant            `json:"started"`
	DurationNS int64              `json:"duration_ns"`       // of the measured part
	WarmupNS   int64              `json:"warmup_ns"`         // ran before it and is in no figure
	Partial    bool               `json:"partial"`           // cut short: true figures of less than was planned
	Failure    *Failure           `json:"failure,omitempty"` // of the server; absent if it did what it has to
	Verdict    Verdict            `json:"verdict"`
	Counts     Counts             `json:"counts"`
	Rates      map[string]float64 `json:"rates"`
	Latency    map[string]Summary `json:"latency"` // "response" counts from the moment due, "service" from the actual send
	Intervals  []Interval         `json:"intervals"`
	Events     []Event            `json:"events,omitempty"`
	Checks     []Check            `json:"checks,omitempty"` // what was asked of the run, and whether it holds
	// Completeness is the share that each receiver got of what it was owed, 0 to 1, in
	// the order of the receivers.
	Completeness []float64      `json:"completeness,omitempty"`
	Consistency  *Consistency   `json:"consistency,omitempty"`
	Search       *Search        `json:"search,omitempty"`
	Slices       []Slice        `json:"slices,omitempty"`
	Findings     map[string]any `json:"findings,omitempty"` // what only this scenario finds
	Resources    Resources      `json:"resources"`
	Calibration  Calibration    `json:"calibration"`
	Env          Env            `json:"env"`
}

// Check is one thing that was asked of a run.
type Check struct {
	Kind string `json:"kind"` // "threshold" or "correctness"
	Name string `json:"name"` // "p99<5ms", "complete"
	Pass bool   `json:"pass"`
	Text string `json:"text,omitempty"` // what was found
}

// Tool is who measured.
type Tool struct {
	Version string `json:"version"`
	Commit  string `json:"commit,omitempty"`
	Go      string `json:"go"`
}

// Scenario is what was done.
type Scenario struct {
	Name string         `json:"name"`
	Args map[string]any `json:"args"`
	Loop string         `json:"loop"` // "open": arrivals do not wait for answers; "closed": they do
	Seed uint64         `json:"seed"`
	Plan string         `json:"plan_sha256,omitempty"` // equal where the same was to be done
}

// Target is what it was done to.
type Target struct {
	Addr    string `json:"addr"`
	UDP     string `json:"udp,omitempty"`
	Kind    string `json:"kind"`
	Version string `json:"version,omitempty"`
	Commit  string `json:"commit,omitempty"`
	Go      string `json:"go,omitempty"`
}

// Failure is why a run did not end well, through the server and not the measurement.
type Failure struct {
	Kind string `json:"kind"` // "correctness" or "target"
	Text string `json:"text"`
	Hint string `json:"hint,omitempty"`
}

// The kinds of Failure.
const (
	Incorrect  = "correctness" // it lost, doubled, reordered or disagreed
	TargetGone = "target"      // it died, or was there no longer
)

// Fail notes why the server failed; the first reason stays, except that a target that
// has died explains everything else.
func (r *Result) Fail(kind, hint, format string, args ...any) {
	if r.Failure == nil || kind == TargetGone && r.Failure.Kind != TargetGone {
		r.Failure = &Failure{Kind: kind, Text: fmt.Sprintf(format, args...), Hint: hint}
	}
}

// State is the validity in words, and what else keeps the result from being quoted: files
// that hold nothing but figures say it in a comment.
func (r *Result) State() string {
	s := string(r.Verdict.Validity)
	if r.Partial {
		s += " PARTIAL"
	}
	if r.Failure != nil {
		s += " FAILED"
	}
	return s
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
	Frames     int64            `json:"frames,omitempty"` // that came in
	BytesIn    int64            `json:"bytes_in,omitempty"`
	BytesOut   int64            `json:"bytes_out"`
	Faults     []string         `json:"faults,omitempty"` // the first things that went wrong, in words
}

// Deliveries are what watchers saw of the fixes that were sent. Received counts each
// once; Lost and Conflated are what never came, Conflated what a newer one of the same
// sender made good.
type Deliveries struct {
	Expected   int64   `json:"expected"`
	Received   int64   `json:"received"`
	Lost       int64   `json:"lost"`
	Conflated  int64   `json:"conflated,omitempty"`
	Duplicate  int64   `json:"duplicate"`
	OutOfOrder int64   `json:"out_of_order"`
	Frames     int64   `json:"frames"`
	Missing    []int64 `json:"missing,omitempty"` // by receiver, if that was asked
}

// Consistency is whether all watchers ended with the state that the plan says.
type Consistency struct {
	Clients    int        `json:"clients"`
	Agree      int        `json:"agree"`   // with the plan
	State      string     `json:"state"`   // hash of what most ended with
	Planned    string     `json:"planned"` // hash of what they had to end with
	Mismatches []Mismatch `json:"mismatches,omitempty"`
}

// Mismatch is one receiver that is wrong about one sender.
type Mismatch struct {
	Receiver string `json:"receiver"`
	Sender   string `json:"sender"`
	Want     string `json:"want"`
	Got      string `json:"got"`
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
	TNS       int64             `json:"t_ns"`
	LenNS     int64             `json:"len_ns"`
	Sent      int64             `json:"sent"`
	Received  int64             `json:"received"`
	Offered   int64             `json:"offered,omitempty"` // sends that were due in it
	Frames    int64             `json:"frames,omitempty"`
	Late      int64             `json:"late,omitempty"` // sends more than 1 ms after they were due
	Lost      int64             `json:"lost,omitempty"`
	Backlog   int64             `json:"backlog,omitempty"`    // due or sent and not finished, at its end
	ClientCPU *float64          `json:"client_cpu,omitempty"` // cores used; nil if nobody knows
	ServerCPU *float64          `json:"server_cpu,omitempty"`
	LagP99NS  *int64            `json:"send_lag_p99_ns,omitempty"`
	LagMaxNS  *int64            `json:"send_lag_max_ns,omitempty"`
	Marks     []string          `json:"marks,omitempty"`     // IDs of the warnings that hold in it
	HDR       string            `json:"hdr_v2,omitempty"`    // of the response times in it
	Tagged    map[string]string `json:"hdr_v2_by,omitempty"` // of other times, by their key in latency
}

// Use notes the processors in use in the interval.
func (iv *Interval) Use(c Cores) {
	iv.ClientCPU = &c.Client
	if c.Known {
		iv.ServerCPU = &c.Server
	}
}

// Event is a moment that somebody, or the run, found worth a note.
type Event struct {
	TNS  int64  `json:"t_ns"`
	Text string `json:"text"`
}

// Slice is one figure of one side of an interleaved comparison.
type Slice struct {
	Launch int     `json:"launch"`
	Pair   int     `json:"pair"`
	Side   string  `json:"side"`
	Order  int     `json:"order"`
	Metric string  `json:"metric"`
	Value  float64 `json:"value"`
}

// Search is what a search for the highest rate tried.
type Search struct {
	Expr    string   `json:"expr"`
	Best    float64  `json:"best_per_s"`             // the highest rate that was good; 0: not even the lowest was
	Failed  float64  `json:"failed_per_s,omitempty"` // the lowest above it that was not; 0: none
	Reasons []string `json:"reasons,omitempty"`      // why that was not
	Bound   string   `json:"lower_bound,omitempty"`  // why Best is only a lower bound; empty: it is not
	Trials  []Trial  `json:"trials"`
}

// Trial is one rate that was tried.
type Trial struct {
	Rate        float64  `json:"rate_per_s"`
	Good        bool     `json:"good"`
	Again       bool     `json:"again,omitempty"`        // the second attempt at this rate
	ClientBound bool     `json:"client_bound,omitempty"` // this program was at its limit
	Reasons     []string `json:"reasons,omitempty"`      // why it was not good
}

// Resources are what the run cost either side.
type Resources struct {
	Client ClientUsage  `json:"client"`
	Server *ServerUsage `json:"server,omitempty"` // absent if nobody tells
	Others *float64     `json:"others_cpu_s,omitempty"`
}

// ServerUsage is what the server used, as the system tells, or else its own metrics.
type ServerUsage struct {
	CPUSeconds float64 `json:"cpu_s"`
	RSS        int64   `json:"rss"`
	// Before the first connection, and when all were open and none was used.
	RSSBefore int64  `json:"rss_before,omitempty"`
	RSSIdle   int64  `json:"rss_idle,omitempty"`
	Writes    *int64 `json:"syscw,omitempty"` // system calls that write; absent if unknown
	Written   *int64 `json:"wchar,omitempty"` // bytes
	Allocs    *int64 `json:"allocs,omitempty"`
	PID       int    `json:"pid,omitempty"`
}

// Calibration is what the measuring instrument itself can do.
type Calibration struct {
	TimerOvershootP99 int64    `json:"timer_overshoot_p99_ns"`
	Hiccup            Summary  `json:"hiccup"` // how late a thread that wants nothing wakes up
	NullCeiling       float64  `json:"null_ceiling_per_s,omitempty"`
	FractionUsed      float64  `json:"fraction_used,omitempty"` // of that ceiling
	Floor             *Summary `json:"floor,omitempty"`         // the same latency against a server that does nothing; never subtracted
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
	return WriteFile(path, func(w io.Writer) error {
		_, err := w.Write(append(b, '\n'))
		return err
	})
}

// Sinks are the kinds of file that Write knows.
var Sinks = []string{"json", "hlog", "hgrm"}

// Write writes the result to a file of one of the Sinks; of hgrm the path is that of a
// directory.
func (r *Result) Write(kind, path string) error {
	switch kind {
	case "json":
		return r.WriteJSON(path)
	case "hlog":
		return WriteFile(path, r.WriteHLog)
	case "hgrm":
		return r.WriteHGRMs(path)
	}
	return fmt.Errorf("kind %q: %w", kind, track.ErrInvalid)
}
