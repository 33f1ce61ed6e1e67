package trend

import (
	"cmp"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"unicode"

	"tracker/pkg/load"
	"tracker/pkg/load/gate"
)

// null is the name of what a server that does nothing costs.
const null = "null server"

// FromGate is what to remember of a gate: what both sides cost, in the first batch of
// each metric. One that was interrupted, or whose head failed, has no figures worth it,
// and Append answers ErrNothing.
func FromGate(r *gate.Report) Line {
	l := newLine(Gate, r.ID, r.Started, &r.Env, r.Tool)
	l.Setting = printable(strings.Join(r.Same, " "), maxText)
	l.Commit, l.Version = whose(r.Head)
	l.Base = &Base{Series: map[string]Value{}}
	l.Base.Commit, l.Base.Version = whose(r.Base)
	if r.Partial || r.Verdict == gate.Failed || r.Failure != nil {
		return l
	}
	for _, m := range r.Metrics {
		put(l.Series, m.FullName(), m.Head, m.Unit, m.Launches)
		put(l.Base.Series, m.FullName(), m.Batch.Base, m.Unit, m.Launches)
	}
	if c := r.Control; c != nil {
		put(l.Canary, null, c.Base, "ns/call", c.Launches)
	}
	return l
}

// whose tells a binary; one that knows no commit goes by what it contains.
func whose(b gate.Binary) (commit, version string) {
	version = b.Version
	if b.Commit == "" && version == "" && b.SHA256 != "" {
		version = "sha256:" + b.SHA256[:min(12, len(b.SHA256))]
	}
	return printable(b.Commit, maxName), printable(version, maxName)
}

// FromResult is what to remember of a measurement. One that must not be quoted, that was
// interrupted or whose server failed has no figures worth it, and Append answers
// ErrNothing.
//
// The ceiling in a result's calibration is no canary: most runs take it from an earlier
// one.
func FromResult(r *load.Result) Line {
	l := newLine(Result, r.ID, r.Started, &r.Env, r.Tool)
	l.Setting = setting(r)
	l.Commit, l.Version = printable(r.Target.Commit, maxName), printable(r.Target.Version, maxName)
	if r.Verdict.Validity == load.Invalid || r.Partial || r.Failure != nil {
		return l
	}
	name := printable(r.Scenario.Name, 40) + "."
	rates := []string{"answered_per_s", "accepted_per_s", "deliveries_per_s"}
	if r.ClientBound() {
		rates = nil // they are the client's
	}
	for _, k := range rates {
		if v, ok := r.Rates[k]; ok {
			put(l.Series, name+strings.TrimSuffix(k, "_per_s"), &v, "/s", 1)
		}
	}
	quantiles(l.Series, name, r.Latency["response"])
	costs(l.Series, name, r)
	if f := r.Calibration.Floor; f != nil {
		quantiles(l.Canary, null+" ", *f)
	}
	return l
}

func quantiles(into map[string]Value, name string, s load.Summary) {
	for _, q := range []string{"50", "90", "99"} {
		if d, ok := s.Quantile(q); ok {
			ns := float64(d)
			put(into, name+"p"+q, &ns, "ns", 1)
		}
	}
}

// costs are what the server used for a call, a delivery or a fix, and what it held.
func costs(into map[string]Value, name string, r *load.Result) {
	s := r.Resources.Server
	if s == nil {
		return
	}
	done := float64(r.Counts.Accepted)
	switch {
	case r.Counts.Answers != nil:
		done = r.Rates["answered_per_s"] * float64(r.DurationNS) / 1e9
	case r.Counts.Deliveries != nil && r.Counts.Deliveries.Received > 0:
		done = float64(r.Counts.Deliveries.Received)
	}
	if cpu := 1e9 * s.CPUSeconds / done; done >= 1 {
		put(into, name+"cpu", &cpu, "ns/op", 1)
	}
	if rss := float64(s.RSS); rss > 0 {
		put(into, name+"rss", &rss, "bytes", 1)
	}
}

// setting is what a scenario was told, but for what differs from run to run and changes
// nothing.
func setting(r *load.Result) string {
	parts := []string{r.Scenario.Name}
	for _, k := range slices.Sorted(maps.Keys(r.Scenario.Args)) {
		parts = append(parts, fmt.Sprintf("%s=%v", k, r.Scenario.Args[k]))
	}
	return printable(strings.Join(parts, " "), maxText)
}

func newLine(k Kind, id string, at load.Instant, e *load.Env, tool load.Tool) Line {
	return Line{
		Schema: Schema, ID: printable(id, maxName), Time: at, Kind: k,
		Fingerprint: e.Fingerprint, Machine: printable(machine(e, tool), maxText),
		Series: map[string]Value{}, Canary: map[string]Value{},
	}
}

// machine is what a fingerprint is made of, with ", " between, so that two of them tell
// what the difference is.
func machine(e *load.Env, tool load.Tool) string {
	parts := []string{fmt.Sprintf("%d x %s", e.Cores, cmp.Or(e.CPU, "processor")), e.OS}
	for _, p := range []struct{ before, text string }{
		{"kernel ", e.Kernel}, {"", e.Clocksource}, {"virtual ", e.Virt}, {"cc=", e.TCPCC}, {"cpu.max=", e.CgroupMax},
	} {
		if p.text != "" {
			parts = append(parts, p.before+p.text)
		}
	}
	return strings.Join(append(parts, fmt.Sprintf("GOMAXPROCS=%d", e.GoMaxProcs), fmt.Sprintf("GOGC=%d", e.GOGC), tool.Go), ", ")
}

// put remembers a figure that can be compared; what was not told, or is none, is absent.
func put(into map[string]Value, name string, v *float64, unit string, n int) {
	if v == nil || !(*v >= 0) || math.IsInf(*v, 0) {
		return
	}
	into[printable(name, maxName)] = Value{Value: *v, Unit: printable(unit, maxName), N: n}
}

// printable makes a text such that a line may have it.
func printable(s string, most int) string {
	s = strings.ToValidUTF8(strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return ' '
		}
		return r
	}, s), "")
	if len(s) > most {
		s = strings.ToValidUTF8(s[:most], "")
	}
	return s
}
