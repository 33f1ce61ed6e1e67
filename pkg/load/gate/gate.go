// Package gate tells whether one build of the server is worse than another, on a machine
// that is never quiet.
//
//	                 counters: fixed work, 3 launches          one that is not steady
//	base ─┐          ──► median of each ──► worse? ──────────┐ goes down there
//	      ├─ launch ─┤                                       ├─► confirm ─► Report
//	head ─┘          statistics: slices in turn, 6-24 launches│  anew
//	                 ──► one log-ratio a launch ──► rule ────┘
//	null ─ launch ──► the same twice: a control
//
// What is counted is compared as it is. What is measured is compared in pairs of slices
// that lie beside each other, in launches of their own, and only the launches count as
// independent: see rule. A regression has to be found twice, in batches that share
// nothing.
package gate

import (
	"time"

	"tracker/pkg/load"
)

// Schema names the form of a Report in JSON. Unknown members are allowed; removing one,
// or changing what it means, makes a new number.
const Schema = "trackbench.gate/1"

// Verdict is what a gate, or one metric of it, comes to.
type Verdict string

// The verdicts.
const (
	Pass         Verdict = "PASS"         // shown not to be worse by what matters
	Regressed    Verdict = "REGRESSED"    // worse, in two batches that share nothing
	Inconclusive Verdict = "INCONCLUSIVE" // neither could be shown
	Failed       Verdict = "FAILED"       // a server died, answered wrongly, or does not tell a metric
)

// Report is one gate, with everything that is needed to judge it.
type Report struct {
	Schema  string       `json:"schema"`
	ID      string       `json:"id"`
	Tool    load.Tool    `json:"tool"`
	Command []string     `json:"command,omitempty"`
	Started load.Instant `json:"started"`
	TookNS  int64        `json:"took_ns"`
	Base    Binary       `json:"base"`
	Head    Binary       `json:"head"`
	Same    []string     `json:"same"` // what was made equal for both: "GOMAXPROCS=2"
	Seed    uint64       `json:"seed"`
	Partial bool         `json:"partial"` // interrupted

	Verdict Verdict  `json:"verdict"`
	Reason  string   `json:"reason"` // of the verdict, one sentence
	Hint    string   `json:"hint,omitempty"`
	Failure *Failure `json:"failure,omitempty"`
	// Visible is the smallest change that today's noise lets this gate see, as a share,
	// over the metrics that were measured; absent if none was.
	Visible *float64 `json:"visible,omitempty"`

	Counters   *Stage    `json:"counters,omitempty"`
	Statistics *Stage    `json:"statistics,omitempty"`
	Metrics    []*Metric `json:"metrics"` // in the order in which people read them
	Control    *Control  `json:"control,omitempty"`
	Notes      []string  `json:"notes,omitempty"`
	Env        load.Env  `json:"env"`
}

// Binary is one of the two that were compared.
type Binary struct {
	Name     string            `json:"name"` // as it was given: a path, or a revision
	SHA256   string            `json:"sha256"`
	Version  string            `json:"version,omitempty"`
	Commit   string            `json:"commit,omitempty"`
	Go       string            `json:"go"`
	Settings map[string]string `json:"settings,omitempty"` // of its build
	Env      []string          `json:"env,omitempty"`      // that only this side was given
}

// Failure is why nothing can be said for the head but no.
type Failure struct {
	Side string `json:"side"` // "base" or "head"
	Kind string `json:"kind"`
	Work string `json:"work,omitempty"`
	Text string `json:"text"`
}

// The kinds of Failure.
const (
	Died    = "died"    // or did not start
	Wrong   = "wrong"   // an answer or a delivery was not what it had to be
	Missing = "missing" // a metric that the base tells
)

// Stage is how one of the two stages went.
type Stage struct {
	Launches  int   `json:"launches"`  // of each side
	Discarded int   `json:"discarded"` // more, that were thrown away
	TookNS    int64 `json:"took_ns"`
}

// Metric is one cost of both sides. Changes are shares: 0.05 is head costing five per
// cent more. Less is always better.
type Metric struct {
	Work     string  `json:"work"`
	Name     string  `json:"name"`
	Unit     string  `json:"unit"`
	Text     string  `json:"text"`
	Stage    string  `json:"stage"`
	Floor    float64 `json:"floor"`
	Absolute float64 `json:"absolute,omitempty"`
	// Moved says why a counter was measured after all; empty: it was not.
	Moved string `json:"moved,omitempty"`

	Verdict Verdict `json:"verdict"`
	Says    string  `json:"says"` // "worse", "better", "no change shown", or why it is not decided
	Batch
	Confirm *Batch `json:"confirm,omitempty"` // the second batch, of what was worse or better in the first
}

// What Metric.Stage says: in which stage the metric was decided.
const (
	Counters   = "counters"
	Statistics = "statistics"
)

// Batch is what launches said of a metric.
type Batch struct {
	Launches int      `json:"launches"`
	Base     *float64 `json:"base"` // the median over launches; null: not told
	Head     *float64 `json:"head"`
	Change   *float64 `json:"change"`
	Low      *float64 `json:"low,omitempty"`  // a one-sided bound of the change, at Confidence
	High     *float64 `json:"high,omitempty"` // the other one, also at Confidence
	// Confidence is that of each bound, 0.99; 0 for counters.
	Confidence float64   `json:"confidence,omitempty"`
	Visible    *float64  `json:"visible,omitempty"` // the smallest change that so many launches can see
	Each       []float64 `json:"each,omitempty"`    // the change in every launch
	Shows      string    `json:"shows,omitempty"`   // "worse", "better", ""
}

// Control is the null server beside itself.
type Control struct {
	Steady   bool      `json:"steady"`
	Launches int       `json:"launches"`
	Base     *float64  `json:"base,omitempty"` // what a call of it cost, ns
	Change   *float64  `json:"change"`
	Low      *float64  `json:"low,omitempty"` // two-sided, at 0.98
	High     *float64  `json:"high,omitempty"`
	Each     []float64 `json:"each,omitempty"`
	Text     string    `json:"text"`
}

// FullName is how people call the metric: "rpc.cpu".
func (m *Metric) FullName() string { return m.Work + "." + m.Name }

// Took is how long the gate took.
func (r *Report) Took() time.Duration { return time.Duration(r.TookNS) }
