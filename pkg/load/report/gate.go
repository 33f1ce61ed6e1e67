package report

import (
	"encoding/json"
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"

	"tracker/pkg/load"
	"tracker/pkg/load/gate"
)

// gateWriters make each kind of report from a gate.
var gateWriters = map[string]func(io.Writer, *gate.Report, Context) error{
	"json":  gateJSON,
	"junit": gateJUnit,
	"md":    gateMarkdown,
	"html":  gateHTML,
	"bench": gateBench,
	"csv":   gateCSV,
}

// GateKinds are what WriteGate can write.
func GateKinds() []string { return sorted(gateWriters) }

// WriteGate writes a report of a gate to a file, or to standard output for "-".
func WriteGate(kind, path string, r *gate.Report, c Context) error {
	return load.WriteFile(path, func(w io.Writer) error { return PrintGate(w, kind, r, c) })
}

// PrintGate writes a report of a gate to w.
func PrintGate(w io.Writer, kind string, r *gate.Report, c Context) error {
	return printAs(w, gateWriters, kind, r, c)
}

func gateJSON(w io.Writer, r *gate.Report, _ Context) error {
	b, err := gateBytes(r)
	if err != nil {
		return err
	}
	_, err = w.Write(b)
	return err
}

// gateBytes is the report as it is published: lists that are asked for are there, also
// when nothing is in them.
func gateBytes(r *gate.Report) ([]byte, error) {
	whole := *r
	if whole.Same == nil {
		whole.Same = []string{}
	}
	if whole.Metrics == nil {
		whole.Metrics = []*gate.Metric{}
	}
	b, err := json.MarshalIndent(&whole, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("write the gate as JSON: %w", err)
	}
	return append(b, '\n'), nil
}

// finding is what a metric came to, in the order in which people want to hear of it.
type finding int

const (
	isFailed finding = iota
	isWorse
	isUndecided
	isBetter
	isSame
)

// class is that of a finding in drawings and tables.
func (f finding) class() string {
	return [...]string{isFailed: "bad", isWorse: "bad", isUndecided: "unsure", isBetter: "good", isSame: "plainly"}[f]
}

func findingOf(m *gate.Metric) finding {
	switch {
	case m.Verdict == gate.Failed:
		return isFailed
	case m.Verdict == gate.Regressed:
		return isWorse
	case m.Verdict != gate.Pass:
		return isUndecided
	case m.Says == "better":
		return isBetter
	}
	return isSame
}

// metricsOf are the metrics with one of the findings, in the order of the findings.
func metricsOf(r *gate.Report, findings ...finding) []*gate.Metric {
	var list []*gate.Metric
	for _, f := range findings {
		for _, m := range r.Metrics {
			if findingOf(m) == f {
				list = append(list, m)
			}
		}
	}
	return list
}

// ofStage are the metrics of a stage, in their order.
func ofStage(r *gate.Report, stage string) []*gate.Metric {
	return slices.DeleteFunc(slices.Clone(r.Metrics), func(m *gate.Metric) bool { return m.Stage != stage })
}

// wordOf is a metric's verdict in a word.
func wordOf(m *gate.Metric) string {
	return [...]string{isFailed: string(gate.Failed), isWorse: string(gate.Regressed), isUndecided: string(gate.Inconclusive), isBetter: "better", isSame: "pass"}[findingOf(m)]
}

// risen tells whether a metric did get worse, if by less than matters. Of a counter that
// is a share above its floor, of an amount that is not.
func risen(m *gate.Metric) bool {
	if m.Stage == gate.Counters {
		return known(m.Change) && *m.Change > m.Floor
	}
	return known(m.Low) && *m.Low > 0
}

// remarks are what has to be said of a metric beyond its row.
func remarks(m *gate.Metric) []string {
	var list []string
	if m.Moved != "" {
		list = append(list, "measured, not counted: "+oneLine(m.Moved))
	}
	is := findingOf(m)
	if says := m.Says; !slices.Contains([]string{"", "worse", "better", "no change shown", "no change that matters"}, says) && (is != isSame || m.Confirm == nil) {
		if is == isUndecided && known(m.Visible) {
			says += fmt.Sprintf("; %s can see a change of %s %%", launches(m.Launches), three(100**m.Visible))
		}
		list = append(list, oneLine(says))
	}
	if is == isSame && m.Confirm == nil && risen(m) {
		list = append(list, "worse, but by less than its limit of "+limitOf(m))
	}
	return list
}

// limitOf is by how much a metric may get worse.
func limitOf(m *gate.Metric) string {
	s := three(100*m.Floor) + " %"
	if m.Absolute > 0 {
		unit, _, _ := strings.Cut(oneLine(m.Unit), "/")
		s += strings.TrimRight(" and "+three(m.Absolute)+" "+unit, " ")
	}
	return s
}

func known(v *float64) bool { return v != nil && !math.IsNaN(*v) && !math.IsInf(*v, 0) }

// cost is a value of a metric, in four digits.
func cost(v *float64) string {
	if !known(v) {
		return "n/a"
	}
	switch a := math.Abs(*v); {
	case a >= 99_999.5:
		return si(*v)
	case a >= 999.5 || *v == 0:
		return strconv.FormatFloat(*v, 'f', 0, 64)
	case a < 0.0005:
		return strconv.FormatFloat(*v, 'e', 1, 64)
	}
	s := strconv.FormatFloat(*v, 'f', 3-int(math.Floor(math.Log10(math.Abs(*v))+1e-9)), 64)
	if strings.Contains(s, ".") {
		s = strings.TrimRight(strings.TrimRight(s, "0"), ".")
	}
	return s
}

// signed is a change in percent, with its sign. 0 % is what has not changed at all.
func signed(v *float64) string {
	if !known(v) {
		return "n/a"
	}
	return percentage(*v) + " %"
}

func percentage(v float64) string {
	p := 100 * v
	switch a := math.Abs(p); {
	case a == 0:
		return "0"
	case a < 0.005:
		return "0.00"
	case a < 0.095:
		return fmt.Sprintf("%+.2f", p)
	case a < 99.95:
		return fmt.Sprintf("%+.1f", p)
	case a < 99_999.5:
		return fmt.Sprintf("%+.0f", p)
	}
	return fmt.Sprintf("%+.1e", p)
}

// changeOf is the change of a batch. From nothing to something there is no share.
func changeOf(b *gate.Batch) string {
	if !known(b.Change) && known(b.Base) && known(b.Head) && *b.Base == 0 && *b.Head > 0 {
		return "from 0"
	}
	return signed(b.Change)
}

// spanOf is the bounds of a change: "-2.1 to +19.0 %".
func spanOf(low, high *float64) string {
	switch {
	case known(low) && known(high):
		return percentage(*low) + " to " + percentage(*high) + " %"
	case known(low):
		return "at least " + signed(low)
	case known(high):
		return "at most " + signed(high)
	}
	return ""
}

// boundsOf is spanOf, and how sure each bound is where that is not as usual.
func boundsOf(b *gate.Batch, usual float64) string {
	s := spanOf(b.Low, b.High)
	if s != "" && b.Confidence > 0 && b.Confidence != usual {
		s += " (" + three(100*b.Confidence) + " %)"
	}
	return s
}

// usualOf is the confidence that most bounds have.
func usualOf(r *gate.Report) float64 {
	n := map[float64]int{}
	best := 0.99
	for _, m := range r.Metrics {
		if m.Confidence > 0 && m.Low != nil {
			n[m.Confidence]++
		}
	}
	for _, c := range sorted(n) {
		if n[c] > n[best] {
			best = c
		}
	}
	return best
}

// boundsName heads a column of bounds.
func boundsName(r *gate.Report) string { return three(100*usualOf(r)) + " % bounds" }

// launchesOf says how many launches a stage took. Metrics that were decided early have
// fewer than others.
func launchesOf(r *gate.Report, stage string, s *gate.Stage) string {
	least, most := s.Launches, s.Launches
	for i, m := range ofStage(r, stage) {
		if i == 0 {
			least, most = m.Launches, m.Launches
		}
		least, most = min(least, m.Launches), max(most, m.Launches)
	}
	text := launches(most) + " of each side"
	if least < most {
		text = fmt.Sprintf("%d to %s", least, text)
	}
	if s.Discarded > 0 {
		text += fmt.Sprintf(", %d more thrown away", s.Discarded)
	}
	if s.TookNS > 0 {
		text += ", " + spent(s.TookNS)
	}
	return text
}

// spent is a time in minutes and seconds.
func spent(ns int64) string {
	s := int64(math.Round(float64(ns) / 1e9))
	if s < 60 {
		return fmt.Sprintf("%d s", s)
	}
	return fmt.Sprintf("%d min %d s", s/60, s%60)
}

// verdictLine is the gate's verdict, with what else it is.
func verdictLine(r *gate.Report) string {
	s := oneLine(string(r.Verdict))
	if r.Partial {
		s += ", PARTIAL"
	}
	return s
}

// reasonOf says why the verdict is what it is, in a sentence.
func reasonOf(r *gate.Report) string {
	if r.Reason != "" {
		return oneLine(r.Reason)
	}
	if f := r.Failure; f != nil {
		return failureText(f)
	}
	for _, x := range []struct {
		is   finding
		what string
	}{{isFailed, "cannot be told"}, {isWorse, "regressed"}, {isUndecided, "could not be decided"}} {
		if list := metricsOf(r, x.is); len(list) > 0 {
			return fmt.Sprintf("%d of %s %s: %s", len(list), metricCount(len(r.Metrics)), x.what, fullNames(list))
		}
	}
	if r.Partial {
		return "interrupted before it was done"
	}
	return "none of " + metricCount(len(r.Metrics)) + " got worse by what matters"
}

func failureText(f *gate.Failure) string {
	s := f.Side + " " + map[string]string{gate.Died: "died", gate.Wrong: "answered wrongly", gate.Missing: "does not tell a metric"}[f.Kind]
	if f.Work != "" {
		s += " in " + f.Work
	}
	return oneLine(strings.Join(strings.Fields(s+": "+f.Text), " "))
}

func fullNames(list []*gate.Metric) string {
	var names []string
	for _, m := range list {
		names = append(names, fullName(m))
	}
	return strings.Join(names, ", ")
}

func fullName(m *gate.Metric) string { return oneLine(m.FullName()) }

func metricCount(n int) string {
	if n == 1 {
		return "1 metric"
	}
	return fmt.Sprintf("%d metrics", n)
}

func launches(n int) string {
	if n == 1 {
		return "1 launch"
	}
	return fmt.Sprintf("%d launches", n)
}

// hintOf is what to do next.
func hintOf(r *gate.Report) string {
	switch {
	case r.Hint != "":
		return oneLine(r.Hint)
	case r.Partial:
		return "run it again, or with --budget so that it ends by itself"
	case r.Verdict == gate.Inconclusive:
		return "more launches (--most), more time (--budget) or a quieter machine show smaller changes"
	}
	return ""
}

// visibleText says what this gate could have missed.
func visibleText(r *gate.Report) string {
	if !known(r.Visible) {
		return ""
	}
	return "smallest change visible today: " + three(100**r.Visible) + " %"
}

// controlText is what the control came to.
func controlText(c *gate.Control) string {
	s := "the null server beside itself: " + signed(c.Change)
	if span := spanOf(c.Low, c.High); span != "" {
		s += ", " + span
	}
	return s + ", " + steadyText(c)
}

func steadyText(c *gate.Control) string {
	switch {
	case c.Text != "":
		return oneLine(c.Text)
	case c.Steady:
		return "steady"
	}
	return "not steady"
}

// confirmText is what the second batch said.
func confirmText(m *gate.Metric) string {
	c := m.Confirm
	again := "not again"
	if c.Shows != "" && c.Shows == m.Shows {
		again = c.Shows + " again"
		if m.Verdict == gate.Regressed {
			again = "REGRESSED again"
		}
	}
	return again
}

// confirmed are the metrics that were looked at twice.
func confirmed(r *gate.Report) []*gate.Metric {
	return slices.DeleteFunc(slices.Clone(r.Metrics), func(m *gate.Metric) bool { return m.Confirm == nil })
}

// binaryText is one side in a line.
func binaryText(b *gate.Binary) string {
	parts := []string{b.Name}
	for _, s := range append([]string{b.Version, short(b.Commit), b.Go}, b.Env...) {
		if s != "" {
			parts = append(parts, s)
		}
	}
	return oneLine(strings.Join(parts, "  "))
}

// short is the beginning of a hash.
func short(s string) string { return s[:min(12, len(s))] }
