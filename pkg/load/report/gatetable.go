package report

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"tracker/pkg/load/gate"
)

// metricsTable puts metrics below each other, each with its second batch.
func metricsTable(r *gate.Report, list []*gate.Metric) *table {
	bounds, usual := boundsName(r), usualOf(r)
	t := &table{Title: "Metrics", Head: []string{"metric", "verdict", "change", bounds, "base", "head", "unit", "limit", "launches"}}
	row := func(name, word string, b *gate.Batch, unit, limit string) {
		t.Rows = append(t.Rows, []string{name, word, changeOf(b), orNone(boundsOf(b, usual)), cost(b.Base), cost(b.Head), unit, limit, strconv.Itoa(b.Launches)})
	}
	for _, m := range list {
		row(fullName(m), wordOf(m), &m.Batch, oneLine(m.Unit), limitOf(m))
		if m.Confirm != nil {
			row("second batch", confirmText(m), m.Confirm, "", "")
		}
	}
	return t.without(bounds)
}

// without takes out a column, if it says nothing in any row.
func (t *table) without(name string) *table {
	if c := slices.Index(t.Head, name); t.blank(c) {
		t.cut(c)
	}
	return t
}

func orNone(s string) string {
	if s == "" {
		return "–"
	}
	return s
}

// gateNotes are what to know before believing it.
func gateNotes(r *gate.Report) []string {
	var list []string
	for _, m := range r.Metrics {
		for _, text := range remarks(m) {
			list = append(list, fullName(m)+": "+text)
		}
	}
	if s := visibleText(r); s != "" {
		list = append(list, s)
	}
	if r.Control != nil {
		list = append(list, controlText(r.Control))
	}
	for _, n := range r.Notes {
		list = append(list, oneLine(n))
	}
	return list
}

// howToRead explains the report to who sees one for the first time.
func howToRead(r *gate.Report) []string {
	return []string{
		"Every metric is a cost, so less is better: +5 % is head costing five per cent more than base. A change below the limit of a metric is nobody's business.",
		"Counters are of work that is always the same, and repeat from launch to launch. What is measured does not: there, base and head work in turns in fresh " +
			"launches, one launch is one value, and each bound holds the true change in " + three(100*usualOf(r)) + " of 100 cases.",
		"REGRESSED: worse in two batches of launches that share nothing. PASS: shown not to be worse by what matters. INCONCLUSIVE: neither could be shown, because the machine was too " +
			"noisy for so many launches; that is no proof of either. FAILED: a server died, answered wrongly, or no longer tells a metric.",
	}
}

// launchTable has the change in every launch, of both batches.
func launchTable(r *gate.Report) *table {
	t := &table{Title: "Every launch", Head: []string{"metric", "batch"}}
	most := 0
	add := func(name, batch string, each []float64) {
		if len(each) == 0 {
			return
		}
		row := []string{name, batch}
		for i := range each {
			row = append(row, signed(&each[i]))
		}
		most = max(most, len(each))
		t.Rows = append(t.Rows, row)
	}
	for _, m := range r.Metrics {
		add(fullName(m), "first", m.Each)
		if m.Confirm != nil {
			add(fullName(m), "second", m.Confirm.Each)
		}
	}
	if r.Control != nil {
		add("null server", "control", r.Control.Each)
	}
	for i := range most {
		t.Head = append(t.Head, strconv.Itoa(i+1))
	}
	for i, row := range t.Rows {
		for len(row) < len(t.Head) {
			row = append(row, "")
		}
		t.Rows[i] = row
	}
	return t
}

// binariesTable puts base and head beside each other.
func binariesTable(r *gate.Report) *table {
	t := &table{Title: "Binaries", Head: []string{"", "base", "head"}}
	add := func(name, a, b string) {
		if a != "" || b != "" {
			t.Rows = append(t.Rows, []string{name, orNone(a), orNone(b)})
		}
	}
	a, b := &r.Base, &r.Head
	add("name", a.Name, b.Name)
	add("version", a.Version, b.Version)
	add("commit", a.Commit, b.Commit)
	add("SHA-256", a.SHA256, b.SHA256)
	add("Go", a.Go, b.Go)
	names := map[string]bool{}
	for _, m := range []map[string]string{a.Settings, b.Settings} {
		for k := range m {
			names[k] = true
		}
	}
	for _, k := range sorted(names) {
		add(k, a.Settings[k], b.Settings[k])
	}
	add("only this side was given", strings.Join(a.Env, " "), strings.Join(b.Env, " "))
	return t
}

// gateTable is how the gate went.
func gateTable(r *gate.Report) *table {
	t := pairs("Gate", "id", r.ID)
	t.Head = []string{"gate", ""}
	if !r.Started.IsZero() {
		t.add("started", r.Started.UTC().Format("2006-01-02 15:04:05 UTC"))
	}
	t.add("took", spent(r.TookNS))
	t.add("seed", fmt.Sprint(r.Seed))
	t.add("same for both", strings.Join(r.Same, ", "))
	for _, s := range []struct {
		name string
		s    *gate.Stage
	}{{gate.Counters, r.Counters}, {gate.Statistics, r.Statistics}} {
		if s.s != nil {
			t.add(s.name, launchesOf(r, s.name, s.s))
		}
	}
	t.add("trackbench", strings.Join(strings.Fields(r.Tool.Version+" "+r.Tool.Commit+" "+r.Tool.Go), " "))
	t.add("command", commandLine(r.Command))
	return t
}

// meaningTable says what each metric is.
func meaningTable(r *gate.Report) *table {
	t := &table{Title: "What the metrics are"}
	for _, m := range r.Metrics {
		t.add(fullName(m), m.Text)
	}
	return t
}
