package main

import (
	"cmp"
	"fmt"
	"io"
	"maps"
	"os"
	"runtime"
	"slices"
	"strings"
	"time"

	"golang.org/x/term"

	"tracker/pkg/load"
)

// text tells people what came of a run, in lines that begin with a word.
type text struct {
	w      io.Writer
	colour bool
}

// text is where a result is told: on standard output, unless a file was asked for there.
func (b *bench) text(f *runFlags) text {
	t := text{w: b.out}
	if slices.ContainsFunc(f.sinks, func(s sink) bool { return s.path == "-" }) {
		t.w = b.err
	}
	t.colour = colourful(f.color, t.w)
	return t
}

// colourful tells whether colour goes to w.
func colourful(when string, w io.Writer) bool {
	switch {
	case when == "always":
		return true
	case when == "never", os.Getenv("NO_COLOR") != "", os.Getenv("TERM") == "dumb":
		return false
	}
	return terminal(w)
}

// terminal tells whether w is one.
func terminal(w any) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// header tells what is about to happen: the scenario with its settings, the target, and
// the machine.
func (t text) header(scenario, settings string, target load.Target, e *load.Env) {
	fmt.Fprintf(t.w, "trackbench %s  %s  %s  target %s\n", version, scenario, settings, targetText(&target))
	if e == nil {
		return
	}
	fmt.Fprintf(t.w, "host   %s\n", hostText(e))
}

func targetText(target *load.Target) string {
	s := target.Addr
	if target.Kind != "" {
		s = target.Kind + " " + s
	}
	var more []string
	for _, v := range []string{target.Version, target.Commit, target.Go} {
		if v != "" {
			more = append(more, v)
		}
	}
	if more != nil {
		s += " (" + strings.Join(more, ", ") + ")"
	}
	return s
}

// hostText is the machine in a line.
func hostText(e *load.Env) string {
	parts := []string{fmt.Sprintf("%d x %s", e.Cores, cmp.Or(e.CPU, runtime.GOARCH))}
	if e.Memory != nil {
		parts = append(parts, fmt.Sprintf("%d GiB", (*e.Memory+1<<29)>>30))
	}
	system, _, _ := strings.Cut(e.OS, "/")
	parts = append(parts, strings.TrimSpace(system+" "+e.Kernel))
	if e.Clocksource != "" {
		parts = append(parts, e.Clocksource)
	}
	if e.TCPCC != "" {
		parts = append(parts, "cc="+e.TCPCC)
	}
	return strings.Join(parts, ", ")
}

// result tells what came of a run. What a scenario does not measure has no line.
func (t text) result(r *load.Result, lines []string) {
	t.verdict(r)
	t.answers(r)
	t.counts(r)
	t.deliveries(r)
	t.rates(r)
	t.latencies(r)
	t.costs(r)
	for _, l := range lines {
		fmt.Fprintln(t.w, "  "+l)
	}
	for _, c := range r.Checks {
		word := "met"
		if !c.Pass {
			word = "MISSED"
		}
		t.line(c.Kind, "%s %s: %s", c.Name, word, c.Text)
	}
	t.notes(r.Verdict.Warnings)
}

func (t text) line(label, format string, args ...any) {
	fmt.Fprintf(t.w, "  %-12s %s\n", label, fmt.Sprintf(format, args...))
}

// verdict is the first line, and the only one with colour.
func (t text) verdict(r *load.Result) {
	word := string(r.Verdict.Validity)
	if t.colour {
		paint := map[load.Validity]string{load.Valid: "32", load.Suspect: "33", load.Invalid: "31"}[r.Verdict.Validity]
		word = "\x1b[1;" + paint + "m" + word + "\x1b[0m"
	}
	if r.ClientBound() {
		word += "  CLIENT-BOUND"
	}
	if r.Partial {
		word += "  PARTIAL: interrupted"
	}
	if r.Failure != nil {
		word += "  FAILED: " + r.Failure.Text
	}
	fmt.Fprintf(t.w, "result  %s\n", word)
}

func (t text) answers(r *load.Result) {
	a := r.Counts.Answers
	if a == nil {
		return
	}
	t.line("answers", "%d of %d right, %d wrong, %d refused, %d lost, %d doubled, %d never asked for",
		a.Right, r.Counts.Sent, a.Wrong, a.Refused, a.Lost, a.Doubled, a.Unknown)
	t.faults(a.Faults)
}

func (t text) faults(list []string) {
	for _, fault := range list {
		t.line("", "%s", fault)
	}
}

func (t text) counts(r *load.Result) {
	c := &r.Counts
	if c.Answers == nil && c.Sent > 0 {
		t.line("accepted", "%d of %d sent (%d planned), %d lost%s", c.Accepted, c.Sent, c.Planned, c.Lost, reasons(c.Dropped))
	}
	t.faults(c.Faults)
}

func reasons(dropped map[string]int64) string {
	var parts []string
	for _, name := range slices.Sorted(maps.Keys(dropped)) {
		parts = append(parts, fmt.Sprintf("%s %d", name, dropped[name]))
	}
	if len(parts) == 0 {
		return ""
	}
	return " (server dropped: " + strings.Join(parts, ", ") + ")"
}

func (t text) deliveries(r *load.Result) {
	if d := r.Counts.Deliveries; d != nil {
		conflated := ""
		if d.Conflated > 0 {
			conflated = fmt.Sprintf(", %s conflated", count(d.Conflated))
		}
		t.line("complete", "%s / %s deliveries   %s lost, %s duplicate, %s out of order%s",
			count(d.Received), count(d.Expected), count(d.Lost), count(d.Duplicate), count(d.OutOfOrder), conflated)
	}
	if s := r.Consistency; s != nil {
		t.line("consistency", "%d/%d clients agree with the plan on the final state (hash %s, planned %s)", s.Agree, s.Clients, brief(s.State), brief(s.Planned))
		for _, m := range s.Mismatches {
			t.line("", "receiver %s has %s of sender %s, not %s", m.Receiver, m.Got, m.Sender, m.Want)
		}
	}
}

// brief is the beginning and the end of a hash.
func brief(hash string) string {
	if len(hash) <= 12 {
		return hash
	}
	return hash[:4] + ".." + hash[len(hash)-2:]
}

func (t text) rates(r *load.Result) {
	atLeast := ""
	if r.ClientBound() {
		atLeast = ">= "
	}
	if ideal, ok := r.Rates["ideal_s"]; ok {
		t.line("elapsed", "%.3f s, ideal %.3f s (%.3fx)   drain after the last send %.3f s",
			r.Rates["elapsed_s"], ideal, r.Rates["elapsed_ratio"], r.Rates["drain_s"])
	}
	var parts []string
	for _, x := range []struct{ name, word string }{
		{"offered_per_s", "offered"}, {"achieved_per_s", "sent"}, {"accepted_per_s", "accepted"},
		{"answered_per_s", "answered"}, {"deliveries_per_s", "delivered"},
	} {
		if v, ok := r.Rates[x.name]; ok {
			least := atLeast
			if x.name == "offered_per_s" {
				least = "" // that is what we asked for
			}
			parts = append(parts, fmt.Sprintf("%s%s %s", least, perSecond(v), x.word))
		}
	}
	loop := ""
	if args := r.Scenario.Args; args["depth"] != nil {
		loop = fmt.Sprintf("  (%s loop, %v under way on each of %v)", r.Scenario.Loop, args["depth"], args["conns"])
	}
	if parts != nil {
		t.line("rate", "%s%s", strings.Join(parts, ", "), loop)
	}
	if s := r.Search; s != nil {
		t.line("search", "%s%s with %s, %d trials", atLeast, perSecond(s.Best), s.Expr, len(s.Trials))
	}
}

// headings are what the latencies count from, in words; those that are not here go by
// their key.
func heading(r *load.Result, key string) (label, from string) {
	switch {
	case key == "response" && r.Scenario.Loop == "closed":
		return "latency", "from the write of a batch to the read that brought the answer"
	case key == "response":
		return "latency", "from the moment due"
	case key == "service":
		return "", "from the actual send"
	case key == "send_lag":
		return "send lag", ""
	}
	return strings.ReplaceAll(key, "_", " "), ""
}

func (t text) latencies(r *load.Result) {
	keys := []string{"response", "service", "send_lag"}
	for _, key := range slices.Sorted(maps.Keys(r.Latency)) {
		if !slices.Contains(keys, key) {
			keys = append(keys, key)
		}
	}
	for _, key := range keys {
		l, ok := r.Latency[key]
		if !ok || l.N == 0 {
			continue
		}
		label, from := heading(r, key)
		if from != "" {
			t.line(label, "%-22s %v", from, l)
			continue
		}
		t.line(label, "%v", l)
	}
}

// costs are what both sides used, by what was done meanwhile.
func (t text) costs(r *load.Result) {
	took := time.Duration(r.DurationNS).Seconds()
	if took <= 0 {
		return
	}
	if d := r.Counts.Deliveries; d != nil && d.Frames > 0 {
		frames := float64(d.Frames)
		bytes := ""
		if in := r.Counts.BytesIn; in > 0 {
			bytes = fmt.Sprintf(", %.2f kB/frame, %.1f MB/s", float64(in)/frames/1e3, float64(in)/took/1e6)
		}
		t.line("batching", "%.1f updates/frame%s", float64(d.Received)/frames, bytes)
	}
	per, unit := work(r)
	if s := r.Resources.Server; s != nil {
		t.line("server", "%.2f cores, %d MB, %s CPU a %s", s.CPUSeconds/took, s.RSS>>20, each(s.CPUSeconds, per), unit)
		if conns, ok := r.Scenario.Args["conns"].(int); ok && s.RSSBefore > 0 && conns > 1 {
			kib := func(rss int64) float64 { return float64(rss-s.RSSBefore) / float64(conns) / 1024 }
			t.line("", "%.1f KiB a connection before the load, %.1f KiB after it", kib(s.RSSIdle), kib(s.RSS))
		}
	} else {
		t.line("server", "unknown")
	}
	ceiling := ""
	if c := r.Calibration; c.NullCeiling > 0 {
		ceiling = fmt.Sprintf("; its ceiling on this machine is %s (%.0f %% used)", perSecond(c.NullCeiling), 100*c.FractionUsed)
	}
	t.line("client", "%.2f cores, %d MB, %s CPU a %s%s", r.Resources.Client.CPUSeconds/took, r.Resources.Client.RSS>>20, each(r.Resources.Client.CPUSeconds, per), unit, ceiling)
}

// work is how much of what a scenario is about was done while it was measured.
func work(r *load.Result) (n float64, unit string) {
	c := &r.Counts
	switch {
	case c.Answers != nil:
		return r.Rates["answered_per_s"] * float64(r.DurationNS) / 1e9, "call"
	case c.Accepted > 0 && r.Scenario.Name == "ingest":
		return float64(c.Accepted), "fix"
	case c.Deliveries != nil:
		return float64(c.Deliveries.Received), "delivery"
	}
	return float64(c.Sent), "send"
}

func each(cpu, n float64) string {
	if n < 1 {
		return "unknown"
	}
	switch ns := 1e9 * cpu / n; {
	case ns < 10_000:
		return fmt.Sprintf("%.0f ns", ns)
	default:
		return fmt.Sprintf("%.1f us", ns/1e3)
	}
}

func (t text) notes(list []load.Warning) {
	for i, x := range list {
		label := "notes"
		if i > 0 {
			label = ""
		}
		fmt.Fprintf(t.w, "%-7s %s %s\n", label, x.ID, x.Text)
	}
}
