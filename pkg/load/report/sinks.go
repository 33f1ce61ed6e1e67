package report

import (
	"cmp"
	"encoding/csv"
	"fmt"
	"io"
	"strconv"
	"strings"
	"unicode"

	"tracker/pkg/load"
)

// CSV writes a row for each interval; cells are empty where nobody knows. Times are
// seconds, latencies milliseconds.
func CSV(w io.Writer, files []*File, _ Context) error {
	out := csv.NewWriter(w)
	_ = out.Write([]string{"run", "t_s", "len_s", "offered", "sent", "received", "lost", "sent_per_s", "received_per_s",
		"n", "p50_ms", "p90_ms", "p99_ms", "max_ms", "send_lag_p99_ms", "send_lag_max_ms", "client_cores", "server_cores", "marks"})
	for _, f := range files {
		for i := range f.Result.Intervals {
			s, err := slotOf(f.Result.Intervals[i : i+1])
			if err != nil {
				return err
			}
			_ = out.Write(csvRow(harmless(f.Result.ID), &s))
		}
	}
	out.Flush()
	return out.Error()
}

func csvRow(run string, s *slot) []string {
	num := func(v float64, digits int, known bool) string {
		if !known {
			return ""
		}
		return strconv.FormatFloat(v, 'f', digits, 64)
	}
	ms := func(ns int64, known bool) string { return num(float64(ns)/1e6, 3, known) }
	at := func(p float64) string { return ms(s.hist.at(p), s.hist.firm(p)) }
	whole := func(n int64) string { return strconv.FormatInt(n, 10) }
	some := s.hist.total > 0
	return []string{run, num(s.from, 3, true), num(s.long(), 3, true), whole(s.offered), whole(s.sent), whole(s.received), whole(s.lost),
		num(s.rate(s.sent), 1, true), num(s.rate(s.received), 1, true),
		whole(s.hist.total), at(50), at(90), at(99), ms(s.hist.max(), some), ms(s.lagP99, s.hasLagP99), ms(s.lagMax, s.hasLag),
		num(s.clientCPU, 3, s.hasClient), num(s.serverCPU, 3, s.hasServe), harmless(strings.Join(s.marks, " "))}
}

// harmless keeps a cell from being read as a formula.
func harmless(s string) string {
	if strings.ContainsAny(s[:min(1, len(s))], "=+-@\t\r") {
		return "'" + s
	}
	return s
}

// Bench writes Go's benchmark format, for benchstat: a line for each result. Several
// runs of the same are the samples that benchstat wants.
func Bench(w io.Writer, files []*File, _ Context) error {
	var b strings.Builder
	all := metrics()
	used := map[string]bool{}
	config := ""
	for _, f := range files {
		v, err := look(f.Result)
		if err != nil {
			return err
		}
		if c := benchConfig(f.Result); c != config {
			b.WriteString(c)
			config = c
		}
		fmt.Fprintf(&b, "# %s %s\n", oneLine(f.Result.ID), f.Result.State())
		fmt.Fprintf(&b, "%s\t%d", benchName(f.Result), max(1, f.Result.Counts.Sent))
		for j := range all {
			if x, ok := all[j].value(v); ok && all[j].better != neither {
				fmt.Fprintf(&b, "\t%s %s", strconv.FormatFloat(x, 'g', -1, 64), benchUnit(&all[j]))
				used[benchUnit(&all[j])] = true
			}
		}
		b.WriteByte('\n')
	}
	var units strings.Builder
	for i := range all {
		if m := &all[i]; used[benchUnit(m)] {
			fmt.Fprintf(&units, "Unit %s better=%s\n", benchUnit(m), m.better)
		}
	}
	_, err := io.WriteString(w, units.String()+b.String())
	return err
}

// benchUnit is a metric as a unit: response-p99-ns, sent/s.
func benchUnit(m *metric) string {
	name := strings.ReplaceAll(m.key, " ", "-")
	if m.unit == "/s" {
		return name + "/s"
	}
	return name + "-" + m.unit
}

// benchConfig is what results must have in common to stand in one table.
func benchConfig(r *load.Result) string {
	os, arch, _ := strings.Cut(r.Env.OS, "/")
	var b strings.Builder
	for _, kv := range [][2]string{{"goos", os}, {"goarch", arch}, {"pkg", "trackbench/" + r.Scenario.Name}, {"cpu", r.Env.CPU}} {
		if kv[1] != "" {
			fmt.Fprintf(&b, "%s: %s\n", kv[0], oneLine(kv[1]))
		}
	}
	return b.String()
}

func oneLine(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || r == '\u2028' || r == '\u2029' || r == '\u0085' || bidi(r) {
			return ' '
		}
		return r
	}, s)
}

// benchName is BenchmarkIngest/rate=10k/watch=true-2.
func benchName(r *load.Result) string {
	s := benchTitle(r.Scenario.Name)
	for _, k := range sorted(r.Scenario.Args) {
		s += "/" + benchWord(k, "/") + "=" + benchWord(argument(r.Scenario.Args[k]), "/")
	}
	return fmt.Sprintf("%s-%d", s, max(1, r.Env.GoMaxProcs))
}

// benchTitle is BenchmarkIngest.
func benchTitle(what string) string {
	name := []rune(cmp.Or(benchWord(what, "/"), "_"))
	name[0] = unicode.ToUpper(name[0])
	if !unicode.IsUpper(name[0]) { // after Benchmark no lower case letter may follow
		name = append([]rune("_"), name...)
	}
	return "Benchmark" + string(name)
}

// benchWord is a text without what would end it.
func benchWord(s, ends string) string {
	return strings.Map(func(c rune) rune {
		if unicode.IsSpace(c) || unicode.IsControl(c) || !unicode.IsPrint(c) || strings.ContainsRune(ends, c) {
			return '_'
		}
		return c
	}, s)
}

// JUnit writes a suite for each result: a case for every check, one for the validity
// and one for correctness.
func JUnit(w io.Writer, files []*File, _ Context) error {
	var all junitDoc
	for _, f := range files {
		r := f.Result
		s := junitSuite{Name: "trackbench " + r.Scenario.Name, Time: strconv.FormatFloat(float64(r.DurationNS)/1e9, 'f', 3, 64),
			Timestamp: r.Started.UTC().Format("2006-01-02T15:04:05")}
		for _, c := range cases(r) {
			t := junitCase{Class: "trackbench." + r.Scenario.Name, Name: c.name, Time: "0", Out: c.note}
			switch {
			case c.broken:
				t.Error, s.Errors = &junitMessage{c.why, c.kind, c.why}, s.Errors+1
			case c.why != "":
				t.Failure, s.Failures = &junitMessage{c.why, c.kind, c.why}, s.Failures+1
			}
			s.Cases = append(s.Cases, t)
		}
		s.Tests = len(s.Cases)
		all.Suites = append(all.Suites, s)
	}
	return all.write(w)
}

// testCase is one thing that a result is asked; why is empty if it holds.
type testCase struct {
	kind, name, why, note string
	broken                bool // the question could not be answered
}

func cases(r *load.Result) []testCase {
	valid := testCase{kind: "validity", name: "the result may be quoted", note: warningText(r)}
	switch {
	case r.Partial:
		valid.why, valid.broken = "interrupted: the figures are of a part of the run", true
	case r.Verdict.Validity == load.Invalid:
		valid.why, valid.broken = "the measurement is INVALID: "+valid.note, true
	}
	list := []testCase{valid, {kind: "correctness", name: "nothing was lost, wrong, doubled or out of order", why: strings.Join(faults(r), "; ")}}
	for _, c := range r.Checks {
		t := testCase{kind: c.Kind, name: c.Kind + " " + c.Name}
		if !c.Pass {
			if t.why = c.Text; t.why == "" {
				t.why = c.Name + " does not hold"
			}
		}
		list = append(list, t)
	}
	return list
}

func warningText(r *load.Result) string {
	var lines []string
	for _, w := range r.Verdict.Warnings {
		lines = append(lines, w.ID+" "+w.Text)
	}
	return strings.Join(lines, "\n")
}

// faults says what was not correct. Where the run itself judged what it allows, such
// as a loss of some datagrams, its word counts.
func faults(r *load.Result) (list []string) {
	if f := r.Failure; f != nil {
		return []string{f.Text}
	}
	judged := false
	for _, c := range r.Checks {
		if c.Kind == "correctness" {
			judged = true
			if !c.Pass {
				list = append(list, strings.TrimSuffix(c.Name+": "+c.Text, ": "))
			}
		}
	}
	if judged {
		return list
	}
	add := func(n int64, what string) {
		if n > 0 {
			list = append(list, count(n)+" "+what)
		}
	}
	if d := r.Counts.Deliveries; d != nil {
		add(d.Lost, "deliveries lost")
		add(d.Duplicate, "duplicate")
		add(d.OutOfOrder, "out of order")
	}
	if a := r.Counts.Answers; a != nil {
		add(a.Wrong, "answers wrong")
		add(a.Refused, "refused")
		add(a.Lost, "answers lost")
		add(a.Doubled, "doubled")
		add(a.Unknown, "never asked for")
	}
	return list
}
