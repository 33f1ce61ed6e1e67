package report

import (
	"fmt"
	"io"
	"strconv"
	"strings"

	"tracker/pkg/load"
)

// promEdges are the upper edges of the buckets, in seconds.
var promEdges = []float64{0.0001, 0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 60}

// Prom writes a text file for Prometheus: gauges of each run, and its latencies as
// histograms.
func Prom(w io.Writer, files []*File, _ Context) error {
	var p prom
	for _, f := range files {
		if err := p.run(f.Result); err != nil {
			return err
		}
	}
	_, err := io.WriteString(w, p.text())
	return err
}

// family is all samples of one metric, which must stand together.
type family struct {
	name, kind, help string
	lines            []string
}

type prom struct {
	families []*family
	seen     map[string]bool // sets of labels: a sample may stand there only once
}

func (p *prom) family(name, kind, help string) *family {
	for _, f := range p.families {
		if f.name == name {
			return f
		}
	}
	f := &family{name: name, kind: kind, help: help}
	p.families = append(p.families, f)
	return f
}

func (f *family) add(suffix, labels string, v float64) {
	f.lines = append(f.lines, f.name+suffix+"{"+labels+"} "+strconv.FormatFloat(v, 'g', -1, 64))
}

func (p *prom) text() string {
	var b strings.Builder
	for _, f := range p.families {
		fmt.Fprintf(&b, "# HELP %s %s\n# TYPE %s %s\n", f.name, promHelp.Replace(f.help), f.name, f.kind)
		for _, l := range f.lines {
			b.WriteString(l + "\n")
		}
	}
	return b.String()
}

var (
	promHelp  = strings.NewReplacer(`\`, `\\`, "\n", `\n`)
	promValue = strings.NewReplacer(`\`, `\\`, "\n", `\n`, `"`, `\"`)
)

func label(name, value string) string {
	return name + `="` + promValue.Replace(strings.ToValidUTF8(value, "\ufffd")) + `"`
}

func (p *prom) run(r *load.Result) error {
	v, err := look(r)
	if err != nil {
		return err
	}
	who := p.labels(r)
	gauge := func(name, help, labels string, x float64) {
		if labels != "" {
			labels = who + "," + labels
		} else {
			labels = who
		}
		p.family("trackbench_"+name, "gauge", help).add("", labels, x)
	}
	for _, state := range []load.Validity{load.Valid, load.Suspect, load.Invalid} {
		is := 0.0
		if r.Verdict.Validity == state {
			is = 1
		}
		gauge("validity", "Whether the result may be quoted: 1 for the state that holds.", label("state", string(state)), is)
	}
	flag := func(name, help string, is bool) {
		x := 0.0
		if is {
			x = 1
		}
		gauge(name, help, "", x)
	}
	flag("partial", "1 if the run was interrupted: the figures are of a part of it.", r.Partial)
	flag("failed", "1 if the server was wrong or gone.", r.Failure != nil)
	gauge("start_time_seconds", "When the run began.", "", float64(r.Started.UnixMilli())/1e3)
	gauge("duration_seconds", "How long the run took.", "", float64(r.DurationNS)/1e9)
	for _, k := range sorted(r.Rates) {
		if name, ok := strings.CutSuffix(k, "_per_s"); ok {
			gauge("rate_per_second", "Rates of the run.", label("kind", name), r.Rates[k])
		}
	}
	p.counts(r, gauge)
	p.resources(r, gauge)
	for _, k := range v.latencies() {
		p.histogram(r.Latency[k], v.hists[k], who+","+label("kind", k))
		gauge("latency_overflow", "Latencies of more than 60 s, which are in no bucket.", label("kind", k), float64(r.Latency[k].Overflow))
	}
	return nil
}

// labels tell runs apart. Those of the user come last, and cannot take the place of
// ours.
func (p *prom) labels(r *load.Result) string {
	list := []string{label("scenario", r.Scenario.Name), label("target", r.Target.Addr)}
	names := map[string]bool{}
	for _, k := range sorted(r.Labels) {
		name := "label_" + promName(k)
		for names[name] {
			name += "_"
		}
		names[name] = true
		list = append(list, label(name, r.Labels[k]))
	}
	s := strings.Join(list, ",")
	if p.seen == nil {
		p.seen = map[string]bool{}
	}
	for n := 2; p.seen[s]; n++ {
		s = strings.Join(append(list, label("run", strconv.Itoa(n))), ",")
	}
	p.seen[s] = true
	return s
}

// promName keeps of a name what a label may be called.
func promName(s string) string {
	return strings.Map(func(c rune) rune {
		if c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' {
			return c
		}
		return '_'
	}, s)
}

type gaugeFunc func(name, help, labels string, x float64)

func (p *prom) counts(r *load.Result, gauge gaugeFunc) {
	const help = "Counts of the run."
	c := &r.Counts
	for _, x := range []struct {
		kind string
		n    int64
	}{{"planned", c.Planned}, {"sent", c.Sent}, {"accepted", c.Accepted}, {"lost", c.Lost}} {
		gauge("count", help, label("kind", x.kind), float64(x.n))
	}
	if d := c.Deliveries; d != nil {
		for _, x := range []struct {
			kind string
			n    int64
		}{{"expected", d.Expected}, {"received", d.Received}, {"lost", d.Lost}, {"duplicate", d.Duplicate}, {"out_of_order", d.OutOfOrder}, {"conflated", d.Conflated}} {
			gauge("deliveries", "Deliveries of the run.", label("kind", x.kind), float64(x.n))
		}
	}
	for _, k := range r.Checks {
		held := 0.0
		if k.Pass {
			held = 1
		}
		labels := label("kind", k.Kind) + "," + label("check", k.Name)
		if key := "check " + labels + p.last(); !p.seen[key] {
			p.seen[key] = true
			gauge("check", "1 for what was asked of the run and holds.", labels, held)
		}
	}
}

// last tells runs apart within the families.
func (p *prom) last() string {
	return strconv.Itoa(len(p.family("trackbench_duration_seconds", "gauge", "").lines))
}

func (p *prom) resources(r *load.Result, gauge gaugeFunc) {
	side := func(who string, cpu float64, rss int64) {
		gauge("cpu_seconds", "CPU time of either side.", label("side", who), cpu)
		if rss > 0 {
			gauge("resident_memory_bytes", "Memory of either side.", label("side", who), float64(rss))
		}
	}
	side("client", r.Resources.Client.CPUSeconds, r.Resources.Client.RSS)
	if s := r.Resources.Server; s != nil {
		side("server", s.CPUSeconds, s.RSS)
	}
}

// histogram writes cumulated buckets. A bar that lies across an edge counts above it,
// so that no bucket holds what might have been longer.
func (p *prom) histogram(s load.Summary, h hist, labels string) {
	f := p.family("trackbench_latency_seconds", "histogram", "Latencies of the run.")
	var below int64
	i := 0
	for _, edge := range promEdges {
		for i < len(h.bars) && float64(h.bars[i].hi) <= edge*1e9 {
			below += h.bars[i].n
			i++
		}
		f.add("_bucket", labels+","+label("le", strconv.FormatFloat(edge, 'g', -1, 64)), float64(below))
	}
	f.add("_bucket", labels+`,le="+Inf"`, float64(h.total))
	f.add("_sum", labels, s.Mean*float64(s.N)/1e9)
	f.add("_count", labels, float64(h.total))
}
