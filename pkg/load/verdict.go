package load

import (
	"fmt"
	"time"
)

// Validity says whether a result may be quoted.
type Validity string

const (
	Valid   Validity = "VALID"
	Suspect Validity = "SUSPECT" // something could change the conclusion
	Invalid Validity = "INVALID" // do not quote
)

// Severity is what a warning does to the validity.
type Severity string

const (
	Info  Severity = "info"
	Doubt Severity = "suspect"
	Ruin  Severity = "invalid"
)

// Warning is a known mistake that a run may have made; see docs/benchmarks.md for the
// list by ID.
type Warning struct {
	ID       string         `json:"id"` // "W01"
	Severity Severity       `json:"severity"`
	Text     string         `json:"text"`
	Evidence map[string]any `json:"evidence,omitempty"`
}

// Verdict is the validity and why.
type Verdict struct {
	Validity Validity  `json:"validity"`
	Warnings []Warning `json:"warnings"`
}

// Warn adds a warning and lowers the validity to what it deserves.
func (v *Verdict) Warn(id string, s Severity, evidence map[string]any, format string, args ...any) {
	v.Warnings = append(v.Warnings, Warning{id, s, fmt.Sprintf(format, args...), evidence})
	switch {
	case s == Ruin:
		v.Validity = Invalid
	case s == Doubt && v.Validity == Valid:
		v.Validity = Suspect
	}
}

// Has tells whether a warning was given.
func (v *Verdict) Has(id string) bool {
	for _, w := range v.Warnings {
		if w.ID == id {
			return true
		}
	}
	return false
}

// Evidence is what a verdict is made from. Zero fields are not held against a run.
type Evidence struct {
	Env            Env
	TimerOvershoot time.Duration
	Hiccup         Summary
	Client         ClientUsage
	Took           time.Duration

	Offered, Achieved float64 // sends a second
	Sent, Late        int64   // sends, and those that got away more than 1 ms after they were due
	Latency           *Summary
	Loopback          bool
}

// Limits beyond which a run is in doubt.
const (
	busyClient    = 0.85 // of the machine's cores
	lateShare     = 0.01
	achievedShare = 0.99
	coarseTimer   = time.Millisecond
	hiccupShare   = 0.2 // of the measured p99
	stealLimit    = 1.0 // percent
	pressureLimit = 10.0
)

// Judge adds the warnings that the evidence asks for.
func (v *Verdict) Judge(e Evidence) {
	v.judgeClient(&e)
	v.judgeMachine(&e)
	if e.Loopback {
		v.Warn("W08", Info, nil, "loopback, and both sides share the machine: not comparable with a network")
	}
	if l := e.Latency; l != nil && l.Overflow > 0 {
		v.Warn("W12", Doubt, map[string]any{"overflow": l.Overflow}, "%d latencies were over 60 s and are in no percentile", l.Overflow)
	}
}

// judgeClient asks whether the instrument was the limit.
func (v *Verdict) judgeClient(e *Evidence) {
	if e.Took > 0 && e.Env.Cores > 0 {
		share := e.Client.CPUSeconds / e.Took.Seconds() / float64(e.Env.Cores)
		if share >= busyClient {
			v.Warn("W01", Doubt, map[string]any{"cpu_share": share},
				"CLIENT-BOUND: this program used %.0f %% of the machine; the server can do at least this", 100*share)
		}
	}
	if e.Sent > 0 && (float64(e.Late) > lateShare*float64(e.Sent) || e.Achieved < achievedShare*e.Offered) {
		v.Warn("W02", Doubt, map[string]any{"late": e.Late, "sent": e.Sent, "offered_per_s": e.Offered, "achieved_per_s": e.Achieved},
			"the schedule was not kept: %.1f %% of the sends were more than 1 ms late, %.0f/s of %.0f/s were reached",
			100*float64(e.Late)/float64(e.Sent), e.Achieved, e.Offered)
	}
	if e.TimerOvershoot > coarseTimer {
		v.Warn("W05", Info, map[string]any{"p99_ns": int64(e.TimerOvershoot)}, "this machine's timer oversleeps by %v: sends go out in batches", e.TimerOvershoot)
	}
	if e.Latency == nil {
		return
	}
	p99, known := e.Latency.Quantile("99")
	if hiccup, ok := e.Hiccup.Quantile("99"); ok && known && float64(hiccup) > hiccupShare*float64(p99) {
		v.Warn("W06", Doubt, map[string]any{"hiccup_p99_ns": int64(hiccup), "p99_ns": int64(p99)},
			"a thread that wanted nothing woke up %s late at p99, beside a measured %s", brief(hiccup), brief(p99))
	}
}

// judgeMachine asks whether the machine was ours.
func (v *Verdict) judgeMachine(e *Evidence) {
	if s := e.Env.StealPct; s != nil && *s > stealLimit {
		v.Warn("W07", Doubt, map[string]any{"steal_pct": *s}, "the hypervisor took %.1f %% of the CPU time away", *s)
	}
	if n := e.Env.Throttled; n != nil && *n > 0 {
		v.Warn("W07", Doubt, map[string]any{"throttled": *n}, "the control group was throttled %d times", *n)
	}
	if p := e.Env.PSI; p != nil && *p > pressureLimit {
		v.Warn("W07", Doubt, map[string]any{"psi": *p}, "in %.0f %% of the last minute somebody waited for a CPU", *p)
	}
}
