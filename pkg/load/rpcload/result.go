package rpcload

import (
	"fmt"

	"tracker/pkg/load"
)

// Result tells the outcome as every measurement does, env being the machine meanwhile.
// cfg is that of the run, checked.
func (o *Outcome) Result(version string, cfg *Config, env load.Env, loopback bool) *load.Result {
	r := load.NewResult(version, "rpc")
	r.Started, r.DurationNS, r.Partial, r.Env = load.Instant{Time: o.Started}, int64(o.Took), o.Partial, env
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
	r.Counts.Planned, r.Counts.Sent, r.Counts.Accepted, r.Counts.Lost = o.Sent, o.Sent, o.Right, o.Lost
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
		r.Scenario.Loop = "open"
		r.Rates["offered_per_s"] = float64(o.Planned) / (cfg.Warmup + cfg.Duration).Seconds()
		r.Latency["service"] = o.Service.Summary()
	}
	r.Intervals = o.Intervals
	o.resources(r)
	o.judge(r, cfg, loopback)
	return r
}

func (o *Outcome) resources(r *load.Result) {
	calls := float64(max(1, o.Answered))
	r.Resources.Client = load.ClientUsage{CPUSeconds: o.ClientCPU.Seconds()}
	r.Rates["client_cpu_ns_per_call"] = float64(o.ClientCPU) / calls
	if o.ServerKnown {
		r.Resources.Server = &load.ServerUsage{CPUSeconds: o.ServerCPU.Seconds(), RSS: o.RSSBusy, RSSBefore: o.RSSBefore, RSSIdle: o.RSSIdle}
		r.Rates["server_cpu_ns_per_call"] = float64(o.ServerCPU) / calls
	}
}

// BusyOthers is how many processors everybody else may use while something is measured.
const BusyOthers = 0.2

func (o *Outcome) judge(r *load.Result, cfg *Config, loopback bool) {
	v := &r.Verdict
	response := r.Latency["response"]
	v.Judge(load.Evidence{Env: r.Env, Latency: &response, Loopback: loopback})
	if err := o.Err(); err != nil {
		v.Warn("W22", load.Ruin, nil, "%v", err)
	}
	if o.Answered == 0 {
		v.Warn("W23", load.Ruin, nil, "no answer came while it was measured")
	}
	if o.ClientBound() {
		server := "what the server used is unknown"
		if o.ServerKnown {
			server = fmt.Sprintf("the server used %.2f", o.ServerCPU.Seconds()/o.Took.Seconds())
		}
		v.Warn("W01", load.Doubt, map[string]any{"client_cores": o.ClientCPU.Seconds() / o.Took.Seconds()},
			"client was the limit: it used %.2f cores, %s; the server can do at least this", o.ClientCPU.Seconds()/o.Took.Seconds(), server)
	}
	if others := o.OthersCPU.Seconds() / max(o.Took.Seconds(), 1e-9); others > BusyOthers {
		v.Warn("W07", load.Doubt, map[string]any{"others_cores": others}, "other processes used %.2f cores meanwhile", others)
	}
	if !cfg.open() {
		v.Warn("W03", load.Info, nil, "closed loop: a server that stalls is sent less meanwhile, so its latency looks better than callers would feel; --rate measures from when a call was due")
		return
	}
	if offered := r.Rates["offered_per_s"]; !o.Partial && o.Rate() < 0.99*offered {
		v.Warn("W02", load.Doubt, map[string]any{"offered_per_s": offered, "answered_per_s": o.Rate()},
			"%.0f/s were due and %.0f/s were answered: latency grows with the length of the run", offered, o.Rate())
	}
}
