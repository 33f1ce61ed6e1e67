package rpcload

import (
	"context"
	"fmt"

	"tracker/pkg/load"
)

// Result tells the outcome as every measurement does; meter stood beside it. cfg is that
// of the run, checked.
func (o *Outcome) Result(version string, cfg *Config, meter *load.Meter, loopback bool) *load.Result {
	r := load.NewResult(version, "rpc")
	r.Started, r.DurationNS, r.WarmupNS, r.Partial = load.Instant{Time: o.Started}, int64(o.Took), int64(o.Warmed), o.Partial
	r.Scenario.Loop = "closed"
	r.Scenario.Args = map[string]any{
		"method": cfg.Method.String(), "conns": cfg.Conns, "depth": cfg.Depth,
		"duration": cfg.Duration.String(), "warmup": cfg.Warmup.String(),
	}
	switch cfg.Method {
	case Sleep:
		r.Scenario.Args["sleep"], r.Scenario.Args["sleep_share"] = cfg.Sleep.String(), cfg.Share
	case Echo:
		r.Scenario.Args["payload"] = cfg.Payload
	}
	meter.End(context.Background(), r)
	r.Counts.Sent, r.Counts.Accepted, r.Counts.Lost = o.Sent, o.Right, o.Lost
	r.Counts.Answers = &load.Answers{Right: o.Right, Wrong: o.Wrong, Refused: o.Refused, Lost: o.Lost, Doubled: o.Doubled, Unknown: o.Unknown, Faults: o.Faults}
	for status, n := range o.Failed {
		r.Counts.Errors[status.String()] = n
	}
	r.Rates["answered_per_s"] = o.Rate()
	r.Latency["response"] = o.Latency.Summary()
	if o.Sleeping.Count() > 0 {
		r.Latency["sleeping"] = o.Sleeping.Summary()
	}
	if cfg.open() {
		o.byPlan(r, cfg)
	}
	r.Intervals = o.Intervals
	o.resources(r)
	o.judge(r, cfg, loopback)
	return r
}

// byPlan is what only an open loop has.
func (o *Outcome) byPlan(r *load.Result, cfg *Config) {
	r.Scenario.Loop = "open"
	r.Scenario.Args["rate"] = cfg.Rate.String()
	if o.Took > 0 {
		planned := cfg.Duration
		if o.Partial {
			planned = o.Took
		}
		r.Rates["offered_per_s"] = float64(o.Planned) / planned.Seconds()
		r.Rates["achieved_per_s"] = float64(o.Begun) / o.Took.Seconds()
	}
	r.Latency["service"] = o.Service.Summary()
	r.Latency["send_lag"] = o.Lag.Summary()
}

func (o *Outcome) resources(r *load.Result) {
	calls := float64(max(1, o.Answered))
	r.Resources.Client.CPUSeconds = o.ClientCPU.Seconds() // of the measured part only
	r.Rates["client_cpu_ns_per_call"] = float64(o.ClientCPU) / calls
	others := o.OthersCPU.Seconds()
	r.Resources.Others = &others
	if s := r.Resources.Server; o.ServerKnown && s != nil {
		s.CPUSeconds, s.RSS, s.RSSBefore, s.RSSIdle = o.ServerCPU.Seconds(), o.RSSBusy, o.RSSBefore, o.RSSIdle
		r.Rates["server_cpu_ns_per_call"] = float64(o.ServerCPU) / calls
	}
}

// BusyOthers is how many processors everybody else may use while something is measured.
const BusyOthers = 0.2

func (o *Outcome) judge(r *load.Result, cfg *Config, loopback bool) {
	e := load.Evidence{Plan: cfg.Rate, Depth: cfg.Depth, Late: o.Late, Pressed: o.Pressed, Rate: o.Rate(), Loopback: loopback}
	r.Judge(e)
	v := &r.Verdict
	if err := o.Err(); err != nil {
		v.Warn("W22", load.Ruin, nil, "%v", err)
	}
	if o.Answered == 0 {
		v.Warn("W23", load.Ruin, nil, "no answer came while it was measured")
	}
	if o.ClientBound() && !v.Has("W01") {
		server := "what the server used is unknown"
		if o.ServerKnown {
			server = fmt.Sprintf("the server used %.2f", o.ServerCPU.Seconds()/o.Took.Seconds())
		}
		v.Warn("W01", load.Doubt, map[string]any{"client_cores": o.ClientCPU.Seconds() / o.Took.Seconds()},
			"CLIENT-BOUND: client was the limit: it used %.2f cores, %s; the server can do at least this", o.ClientCPU.Seconds()/o.Took.Seconds(), server)
	}
	if offered := r.Rates["offered_per_s"]; cfg.open() && !o.Partial && !v.Has("W02") && o.Rate() < 0.99*offered {
		v.Warn("W02", load.Doubt, map[string]any{"offered_per_s": offered, "answered_per_s": o.Rate()},
			"%.0f/s were due and %.0f/s were answered: latency grows with the length of the run", offered, o.Rate())
	}
}
