package main

import (
	"fmt"
	"strings"
	"time"

	"tracker/pkg/load"
	"tracker/pkg/load/rpcload"
)

// rpcDisplay tells people how a measurement of calls goes.
type rpcDisplay struct {
	*bench
	quiet bool
	json  bool // the result is for programs, and so is standard output
	lines int
}

func (d *rpcDisplay) header(cfg *rpcload.Config, s *site) {
	if d.json {
		return
	}
	what := []string{"method=" + cfg.Method.String()}
	switch cfg.Method {
	case rpcload.Sleep:
		what = append(what, fmt.Sprintf("sleep=%v share=%v", cfg.Sleep, cfg.Share))
	case rpcload.Echo:
		what = append(what, fmt.Sprintf("payload=%d", cfg.Payload))
	}
	if s.target.TLS {
		what = append(what, "tls=1.3")
	}
	fmt.Fprintf(d.out, "trackbench %s  rpc  %s conns=%d depth=%d warmup=%v duration=%v\ntarget  %s\n",
		version, strings.Join(what, " "), cfg.Conns, cfg.Depth, cfg.Warmup, cfg.Duration, s.words)
}

func (d *rpcDisplay) tick(t rpcload.Tick) {
	if d.quiet || d.json {
		return
	}
	if d.lines%everyHeader == 0 {
		fmt.Fprintf(d.err, "%8s %12s %12s\n", "time", "sent", "answers/s")
	}
	d.lines++
	note := ""
	if t.Warming {
		note = "  warming up"
	}
	fmt.Fprintf(d.err, "%7.1fs %12d %12.0f%s\n", t.At.Seconds(), t.Sent, t.Rate, note)
}

func (d *rpcDisplay) result(r *load.Result, o *rpcload.Outcome, cfg *rpcload.Config) error {
	if d.json {
		return d.printJSON(r)
	}
	w, a := d.out, r.Counts.Answers
	partial := ""
	if r.Partial {
		partial = "  PARTIAL: interrupted"
	}
	fmt.Fprintf(w, "result  %s%s\n", r.Verdict.Validity, partial)
	fmt.Fprintf(w, "  answers    %d of %d right, %d wrong, %d refused, %d lost, %d doubled, %d never asked for\n",
		a.Right, o.Sent, a.Wrong, a.Refused, a.Lost, a.Doubled, a.Unknown)
	for _, fault := range a.Faults {
		fmt.Fprintf(w, "             %s\n", fault)
	}
	from := "from the write of a batch to the read that brought the answer"
	offered := ""
	if r.Scenario.Loop == "open" {
		from = "from the moment due to the read that brought the answer"
		offered = fmt.Sprintf(" of %.0f/s that were due", r.Rates["offered_per_s"])
	}
	fmt.Fprintf(w, "  rate       %.0f/s answered%s (%s loop, %d under way on each of %d)\n", o.Rate(), offered, r.Scenario.Loop, cfg.Depth, cfg.Conns)
	fmt.Fprintf(w, "  latency    %s\n", from)
	for _, row := range []struct{ name, label string }{{"response", ""}, {"sleeping", "sleeping: "}, {"service", "since the write: "}} {
		if l, ok := r.Latency[row.name]; ok && l.N > 0 {
			fmt.Fprintf(w, "             %s%v\n", row.label, l)
		}
	}
	server := "unknown"
	if per, ok := o.PerCall(); ok {
		server = fmt.Sprintf("%s a call, %d MB", side(o.ServerCPU, o.Took, per), o.RSSBusy>>20)
	}
	fmt.Fprintf(w, "  server     %s\n", server)
	if o.RSSBefore > 0 && cfg.Conns > 1 {
		each := func(rss int64) float64 { return float64(rss-o.RSSBefore) / float64(cfg.Conns) / 1024 }
		fmt.Fprintf(w, "             %.1f KiB a connection before the load, %.1f KiB after it\n", each(o.RSSIdle), each(o.RSSBusy))
	}
	fmt.Fprintf(w, "  client     %s a call\n", side(o.ClientCPU, o.Took, o.ClientCPU/time.Duration(max(1, o.Answered))))
	printWarnings(w, r.Verdict.Warnings)
	return nil
}

func side(cpu, took, per time.Duration) string {
	if took <= 0 {
		return "nothing"
	}
	return fmt.Sprintf("%.2f cores, %d ns CPU", cpu.Seconds()/took.Seconds(), per.Nanoseconds())
}
