package trend

import (
	"cmp"
	"fmt"
	"math"
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
	l := Line{
		Schema: Schema, ID: printable(r.ID, maxName), Time: r.Started, Kind: Gate,
		Fingerprint: r.Env.Fingerprint, Machine: printable(machine(&r.Env, r.Tool), maxText), Setting: printable(strings.Join(r.Same, " "), maxText),
		Series: map[string]Value{}, Base: &Base{Series: map[string]Value{}}, Canary: map[string]Value{},
	}
	l.Commit, l.Version = whose(r.Head)
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
