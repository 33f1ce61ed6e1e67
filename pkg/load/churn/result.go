package churn

import (
	"time"

	"tracker/pkg/load"
)

// Result tells the outcome as every measurement does. cfg is that of the run, checked.
// What the machine and either side used, and what is to be thought of it, is the
// caller's to add.
func (o *Outcome) Result(version string, cfg *Config) *load.Result {
	r := load.NewResult(version, "churn")
	r.Started, r.DurationNS, r.WarmupNS, r.Partial = load.Instant{Time: o.Started}, int64(o.Took), int64(cfg.Warmup), o.Partial
	r.Scenario.Args = map[string]any{
		"transport": cfg.Transport.String(), "hold": cfg.Hold.String(), "duration": cfg.Duration.String(), "rate_per_s": cfg.Plan.Peak(),
	}
	r.Intervals = o.Intervals
	c := &r.Counts
	c.Planned, c.Sent, c.Accepted, c.Lost = o.Planned, o.Planned, o.Came, o.Planned-o.Came
	c.BytesIn, c.Faults = o.BytesIn, o.Faults
	for kind, n := range o.Failed {
		c.Errors[kind] = n
	}
	if took := min(o.Took, cfg.Duration); took > 0 && !o.Partial && o.Gone == nil {
		r.Rates["offered_per_s"] = float64(o.Planned) / cfg.Duration.Seconds()
		r.Rates["achieved_per_s"] = float64(o.Planned) / max(o.Took-cfg.Hold, cfg.Duration).Seconds()
	}
	r.Rates["accepted_per_s"] = float64(o.Came) / max(o.Took-cfg.Hold, time.Millisecond).Seconds()
	r.Latency["response"] = o.Snapshot.Summary()
	r.Latency["service"] = o.Service.Summary()
	r.Latency["send_lag"] = o.Lag.Summary()
	r.Latency["connect"] = o.Connect.Summary()
	r.Latency["handshake"] = o.Handshake.Summary()
	r.Latency["first_snapshot"] = r.Latency["response"]
	o.findings(r)
	o.blame(r)
	return r
}

// findings are what only this scenario finds: the server before and after.
func (o *Outcome) findings(r *load.Result) {
	if o.Before == nil || o.After == nil {
		return
	}
	before, after := Reading{}, Reading{}
	for _, name := range []string{Goroutines, OpenFiles, Viewers, Connections, Sessions, LiveHeap, HeapInUse, StackInUse, Resident} {
		if v, ok := o.Before[name]; ok {
			before[name] = v
		}
		if v, ok := o.After[name]; ok {
			after[name] = v
		}
	}
	leaks := o.Leaks
	if leaks == nil {
		leaks = []Leak{}
	}
	r.Findings = map[string]any{"before": before, "after": after, "leaks": leaks}
	check := load.Check{Kind: "threshold", Name: "back to baseline", Pass: len(leaks) == 0, Text: "goroutines, files, connections, watches and live heap are what they were"}
	if len(leaks) > 0 {
		check.Text = leaks[0].String()
	}
	r.Checks = append(r.Checks, check)
}

// blame says what the server did wrong. That visits were cut short by whoever measures,
// or by this machine's limits, is no fault of its.
func (o *Outcome) blame(r *load.Result) {
	theirs := int64(0)
	for kind, n := range o.Failed {
		switch kind {
		case interrupted:
		case noPorts, noFiles:
			r.Verdict.Warn("W16", load.Ruin, map[string]any{kind: n}, "%d visits failed for want of this machine's own %s", n, map[string]string{noPorts: "ports: --source-ips gives more", noFiles: "files: ulimit -n gives more"}[kind])
		default:
			theirs += n
		}
	}
	switch {
	case o.Gone != nil:
		r.Fail(load.TargetGone, "", "the server was there no longer: %v", o.Gone)
	case theirs > 0 && o.turnedAway() > 0:
		r.Fail(load.Incorrect, "a server bounds the strangers of one address; --source-ips A,B lets visitors come from several",
			"%d of %d visitors did not see everything, and the server turned %.0f away at its gate", theirs, o.Planned, o.turnedAway())
	case theirs > 0:
		r.Fail(load.Incorrect, "see errors in the result", "%d of %d visitors did not see everything", theirs, o.Planned)
	}
}

// turnedAway is how many connections the server says that it refused of addresses that
// had too many, while it was measured.
func (o *Outcome) turnedAway() (n float64) {
	for _, name := range atTheGate {
		if after, ok := o.After[name]; ok {
			n += after - o.Before[name]
		}
	}
	return n
}

// Result tells the outcome as every measurement does.
func (o *Idle) Result(version string, cfg *IdleConfig) *load.Result {
	r := load.NewResult(version, "idle")
	r.Started, r.DurationNS, r.Partial = load.Instant{Time: time.Now().Add(-o.Opening - cfg.Hold)}, int64(cfg.Hold), o.Partial
	r.Scenario.Loop = "closed"
	r.Scenario.Args = map[string]any{"transport": cfg.Transport.String(), "idle": cfg.Viewers, "hold": cfg.Hold.String()}
	c := &r.Counts
	c.Planned, c.Sent, c.Accepted, c.Lost = int64(cfg.Viewers), int64(cfg.Viewers), int64(cfg.Viewers)-o.Left, o.Left
	r.Rates["opened_per_s"] = float64(cfg.Viewers) / max(o.Opening.Seconds(), 1e-9)
	r.Latency["connect"] = o.Connect.Summary()
	r.Findings = map[string]any{"each": o}
	if err := o.Err(); err != nil && !o.Partial {
		r.Fail(load.Incorrect, "", "%v", err)
	}
	return r
}
