package report

import (
	"cmp"
	"encoding/csv"
	"fmt"
	"io"
	"strconv"
	"strings"

	"tracker/pkg/load/gate"
)

// gateJUnit writes a case for each metric, and one for the gate itself, so that a gate
// that found no metric does not look as if all was well.
func gateJUnit(w io.Writer, r *gate.Report, _ Context) error {
	s := junitSuite{Name: "trackbench gate", Time: strconv.FormatFloat(float64(r.TookNS)/1e9, 'f', 3, 64),
		Timestamp: r.Started.UTC().Format("2006-01-02T15:04:05"), Properties: gateProperties(r)}
	for _, m := range r.Metrics {
		s.Cases = append(s.Cases, gateCase(m))
	}
	s.Cases = append(s.Cases, wholeCase(r))
	for i := range s.Cases {
		if s.Cases[i].Failure != nil {
			s.Failures++
		}
		if s.Cases[i].Skipped != nil {
			s.Skipped++
		}
	}
	s.Tests = len(s.Cases)
	return (&junitDoc{Suites: []junitSuite{s}}).write(w)
}

func gateCase(m *gate.Metric) junitCase {
	text := metricText(m)
	c := junitCase{Class: "gate." + cmp.Or(oneLine(m.Stage), "none") + "." + oneLine(m.Work), Name: oneLine(m.Name), Time: "0", Out: text}
	message, _, _ := strings.Cut(text, "\n")
	switch findingOf(m) {
	case isFailed, isWorse:
		c.Failure = &junitMessage{message, string(m.Verdict), text}
	case isUndecided:
		c.Skipped = &junitMessage{Message: message, Text: text}
	}
	return c
}

// wholeCase is about what no metric tells.
func wholeCase(r *gate.Report) junitCase {
	c := junitCase{Class: "gate", Name: "verdict", Time: "0", Out: verdictLine(r) + ": " + reasonOf(r)}
	told := len(metricsOf(r, isFailed, isWorse)) > 0
	switch {
	case r.Failure != nil:
		c.Failure = &junitMessage{failureText(r.Failure), string(gate.Failed), c.Out}
	case r.Verdict == gate.Inconclusive || r.Partial:
		c.Skipped = &junitMessage{Message: reasonOf(r), Text: c.Out}
	case r.Verdict != gate.Pass && !told:
		c.Failure = &junitMessage{reasonOf(r), oneLine(string(r.Verdict)), c.Out}
	}
	return c
}

// metricText is a metric in a line, and what is to be said of it in more.
func metricText(m *gate.Metric) string {
	s := fmt.Sprintf("%s: %s, limit %s: %s, from %s to %s %s", fullName(m), wordOf(m), limitOf(m), changeOf(&m.Batch), cost(m.Base), cost(m.Head), oneLine(m.Unit))
	s += "\n" + batchText(&m.Batch)
	if m.Confirm != nil {
		s += "\nsecond batch: " + changeOf(m.Confirm) + ", " + batchText(m.Confirm) + ", " + confirmText(m)
	}
	for _, text := range remarks(m) {
		s += "\n" + text
	}
	return strings.ReplaceAll(s, thinSpace, " ")
}

// batchText is how sure a change is.
func batchText(b *gate.Batch) string {
	if span := spanOf(b.Low, b.High); span != "" {
		return fmt.Sprintf("%s %% bounds %s, %s", three(100*b.Confidence), span, launches(b.Launches))
	}
	return launches(b.Launches)
}

func gateProperties(r *gate.Report) []junitProperty {
	var list []junitProperty
	add := func(name, value string) {
		if value != "" {
			list = append(list, junitProperty{name, oneLine(value)})
		}
	}
	add("gate", r.ID)
	add("verdict", verdictLine(r))
	add("seed", fmt.Sprint(r.Seed))
	for _, side := range []struct {
		name string
		b    *gate.Binary
	}{{"base", &r.Base}, {"head", &r.Head}} {
		add(side.name, side.b.Name)
		add(side.name+".version", side.b.Version)
		add(side.name+".commit", side.b.Commit)
		add(side.name+".sha256", side.b.SHA256)
		add(side.name+".go", side.b.Go)
		add(side.name+".env", strings.Join(side.b.Env, " "))
	}
	add("same", strings.Join(r.Same, ", "))
	if known(r.Visible) {
		add("visible", three(100**r.Visible)+" %")
	}
	for _, row := range envTable(&r.Env).Rows {
		add("env."+strings.ReplaceAll(row[0], " ", "_"), strings.ReplaceAll(row[1], thinSpace, ""))
	}
	return list
}

// gateBench writes the medians of both sides in Go's benchmark format, apart by side, so
// that benchstat -col side puts them beside each other. Whether a difference means
// anything it cannot know from one value a side; the gate says.
func gateBench(w io.Writer, r *gate.Report, _ Context) error {
	var units, b strings.Builder
	seen := map[string]bool{}
	os, arch, _ := strings.Cut(r.Env.OS, "/")
	for _, kv := range [][2]string{{"goos", os}, {"goarch", arch}, {"pkg", "trackbench/gate"}, {"cpu", r.Env.CPU}} {
		if kv[1] != "" {
			fmt.Fprintf(&b, "%s: %s\n", kv[0], oneLine(kv[1]))
		}
	}
	fmt.Fprintf(&b, "# %s %s: medians over launches\n", oneLine(r.ID), verdictLine(r))
	for _, side := range []struct {
		name  string
		value func(*gate.Metric) *float64
	}{{"base", func(m *gate.Metric) *float64 { return m.Base }}, {"head", func(m *gate.Metric) *float64 { return m.Head }}} {
		fmt.Fprintf(&b, "side: %s\n", side.name)
		for _, m := range r.Metrics {
			v := side.value(m)
			if !known(v) {
				continue
			}
			unit := benchWord(cmp.Or(m.Unit, "value"), " ")
			fmt.Fprintf(&b, "%s/%s-%d\t%d\t%s %s\n", benchTitle(m.Work), benchWord(m.Name, "/"), max(1, r.Env.GoMaxProcs), max(1, m.Launches),
				strconv.FormatFloat(*v, 'g', -1, 64), unit)
			if !seen[unit] {
				fmt.Fprintf(&units, "Unit %s better=lower\n", unit)
			}
			seen[unit] = true
		}
	}
	_, err := io.WriteString(w, units.String()+b.String())
	return err
}

// gateCSV writes a row for each metric, in bare numbers; changes are shares. Cells are
// empty where nobody knows.
func gateCSV(w io.Writer, r *gate.Report, _ Context) error {
	out := csv.NewWriter(w)
	_ = out.Write([]string{"gate", "work", "metric", "unit", "stage", "floor", "absolute", "verdict", "says", "launches", "base", "head", "change", "low", "high",
		"confidence", "visible", "confirm_launches", "confirm_change", "confirm_low", "confirm_high", "confirm_shows", "moved", "each"})
	num := func(v *float64) string {
		if !known(v) {
			return ""
		}
		return strconv.FormatFloat(*v, 'g', -1, 64)
	}
	for _, m := range r.Metrics {
		c, again := m.Confirm, ""
		if c == nil {
			c = &gate.Batch{}
		} else {
			again = strconv.Itoa(c.Launches)
		}
		var each []string
		for i := range m.Each {
			each = append(each, num(&m.Each[i]))
		}
		_ = out.Write([]string{harmless(r.ID), harmless(m.Work), harmless(m.Name), harmless(m.Unit), harmless(m.Stage), num(&m.Floor), num(&m.Absolute),
			harmless(string(m.Verdict)), harmless(m.Says), strconv.Itoa(m.Launches), num(m.Base), num(m.Head), num(m.Change), num(m.Low), num(m.High),
			num(&m.Confidence), num(m.Visible), again, num(c.Change), num(c.Low), num(c.High), harmless(c.Shows), harmless(m.Moved), strings.Join(each, " ")})
	}
	out.Flush()
	return out.Error()
}
