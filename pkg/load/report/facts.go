package report

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"tracker/pkg/load"
)

// table is figures in words: what stands beside a drawing for those who cannot see it,
// and all there is in a report of Markdown.
type table struct {
	Title string
	Head  []string
	Rows  [][]string
}

func sorted[K cmp.Ordered, V any](m map[K]V) []K { return slices.Sorted(maps.Keys(m)) }

// pairs makes a table of names and values, leaving out what nobody knows.
func pairs(title string, list ...string) *table {
	t := &table{Title: title}
	for i := 0; i+1 < len(list); i += 2 {
		if list[i+1] != "" {
			t.Rows = append(t.Rows, []string{list[i], list[i+1]})
		}
	}
	return t
}

func (t *table) add(name, value string) {
	if value != "" {
		t.Rows = append(t.Rows, []string{name, value})
	}
}

var shown = []float64{50, 90, 99, 99.9, 99.99}

func latencyTable(v *view) *table {
	t := &table{Title: "Latencies", Head: []string{"what", "values", "min", "mean"}}
	for _, p := range shown {
		t.Head = append(t.Head, nines(p))
	}
	t.Head = append(t.Head, "max", "> 60 s", "< 0")
	for _, k := range v.latencies() {
		s, h := v.Latency[k], v.hists[k]
		row := []string{strings.ReplaceAll(k, "_", " "), count(s.N)}
		if s.N == 0 {
			row = append(row, "–", "–", "–", "–", "–", "–", "–", "–")
		} else {
			row = append(row, dur(float64(s.Min)), dur(s.Mean))
			for _, p := range shown {
				row = append(row, percentile(&s, &h, p))
			}
			row = append(row, dur(float64(s.Max)))
		}
		t.Rows = append(t.Rows, append(row, count(s.Overflow), count(s.Negative)))
	}
	return t
}

// percentile is what the histogram says, or the summary if there is no histogram.
func percentile(s *load.Summary, h *hist, p float64) string {
	if h.total > 0 {
		if !h.firm(p) {
			return "n/a"
		}
		return dur(float64(h.at(p)))
	}
	if d, ok := s.Quantile(strings.TrimPrefix(nines(p), "p")); ok {
		return dur(float64(d))
	}
	return "n/a"
}

func countsTable(r *load.Result) *table {
	c := &r.Counts
	t := pairs("Counts", "planned", count(c.Planned), "sent", count(c.Sent))
	t.add("accepted", count(c.Accepted))
	t.add("lost", count(c.Lost)+ofAll(c.Lost, c.Sent))
	for _, k := range sorted(c.Errors) {
		t.add("errors: "+k, count(c.Errors[k]))
	}
	for _, k := range sorted(c.Dropped) {
		t.add("dropped by the server: "+k, count(c.Dropped[k]))
	}
	if d := c.Deliveries; d != nil {
		t.add("deliveries", fmt.Sprintf("%s of %s", count(d.Received), count(d.Expected)))
		t.add("deliveries lost", count(d.Lost)+ofAll(d.Lost, d.Expected))
		t.add("duplicate", count(d.Duplicate))
		t.add("out of order", count(d.OutOfOrder))
		t.add("conflated", count(d.Conflated))
		if d.Frames > 0 {
			t.add("frames", fmt.Sprintf("%s, %s deliveries in each", count(d.Frames), three(float64(d.Received)/float64(d.Frames))))
		}
	}
	if a := c.Answers; a != nil {
		t.add("answers right", count(a.Right))
		for _, x := range []struct {
			name string
			n    int64
		}{{"wrong", a.Wrong}, {"refused", a.Refused}, {"lost", a.Lost}, {"doubled", a.Doubled}, {"never asked for", a.Unknown}} {
			t.add("answers "+x.name, count(x.n))
		}
		for _, f := range a.Faults {
			t.add("fault", f)
		}
	}
	for _, f := range c.Faults {
		t.add("fault", f)
	}
	if c.BytesOut > 0 {
		t.add("bytes sent", size(float64(c.BytesOut)))
	}
	if c.BytesIn > 0 {
		t.add("bytes received", size(float64(c.BytesIn)))
	}
	return t
}

// consistencyTable says whether everybody ended with the state of the plan.
func consistencyTable(r *load.Result) *table {
	c := r.Consistency
	if c == nil {
		return &table{}
	}
	t := pairs("Final state", "clients that agree with the plan", fmt.Sprintf("%s of %s", count(int64(c.Agree)), count(int64(c.Clients))),
		"state of most", c.State, "planned", c.Planned)
	for _, m := range c.Mismatches {
		t.add(fmt.Sprintf("receiver %s about sender %s", m.Receiver, m.Sender), fmt.Sprintf("want %s, got %s", m.Want, m.Got))
	}
	return t
}

// searchTable is what a search for the highest rate tried.
func searchTable(r *load.Result) *table {
	s := r.Search
	if s == nil {
		return &table{}
	}
	t := &table{Title: "Search for " + s.Expr + ": best " + per(max(0, s.Best)), Head: []string{"rate", "", "why not"}}
	if s.Bound != "" {
		t.Title += ", a lower bound: " + s.Bound
	}
	for _, x := range s.Trials {
		state := "held"
		if !x.Good {
			state = "missed"
		}
		if x.ClientBound {
			state += ", client at its limit"
		}
		t.Rows = append(t.Rows, []string{per(x.Rate), state, strings.Join(x.Reasons, "; ")})
	}
	return t
}

// findingsTable is what only this scenario finds.
func findingsTable(r *load.Result) *table {
	t := &table{Title: "Findings"}
	for _, k := range sorted(r.Findings) {
		t.add(strings.ReplaceAll(k, "_", " "), argument(r.Findings[k]))
	}
	return t
}

func eventsTable(r *load.Result) *table {
	t := &table{Title: "Events"}
	for _, e := range r.Events {
		t.add(clock(round(float64(e.TNS)/1e9, 0.001)), e.Text)
	}
	return t
}

func ofAll(n, all int64) string {
	if n == 0 || all <= 0 {
		return ""
	}
	return " (" + share(float64(n)/float64(all)) + ")"
}

func ratesTable(r *load.Result) *table {
	t := &table{Title: "Rates"}
	for _, k := range sorted(r.Rates) {
		name, unit := rateName(k)
		t.add(name, si(r.Rates[k])+unit)
	}
	return t
}

// rateName turns offered_per_s into words.
func rateName(k string) (name, unit string) {
	if s, ok := strings.CutSuffix(k, "_per_s"); ok {
		return strings.ReplaceAll(s, "_", " "), "/s"
	}
	if s, after, ok := strings.Cut(k, "_ns_per_"); ok {
		return strings.ReplaceAll(s+" per "+after, "_", " "), " ns"
	}
	return strings.ReplaceAll(k, "_", " "), ""
}

func resourcesTable(r *load.Result) *table {
	t := &table{Title: "Cost", Head: []string{"", "client", "server"}}
	c, s := &r.Resources.Client, r.Resources.Server
	if s == nil {
		s = &load.ServerUsage{}
	}
	took := float64(r.DurationNS) / 1e9
	row := func(name string, client, server float64, show func(float64) string) {
		if client <= 0 && server <= 0 {
			return
		}
		cell := func(v float64) string {
			if v <= 0 {
				return "–"
			}
			return show(v)
		}
		t.Rows = append(t.Rows, []string{name, cell(client), cell(server)})
	}
	seconds := func(v float64) string { return three(v) + " s" }
	row("CPU", c.CPUSeconds, s.CPUSeconds, seconds)
	if took > 0 {
		row("cores, on average", c.CPUSeconds/took, s.CPUSeconds/took, three)
	}
	if n := work(r); n > 0 {
		row("CPU for each "+unitOf(r), 1e9*c.CPUSeconds/n, 1e9*s.CPUSeconds/n, dur)
	}
	if n := work(r); n > 0 {
		row("write calls for each "+unitOf(r), 0, of1(s.Writes)/n, three)
		row("bytes written for each "+unitOf(r), 0, of1(s.Written)/n, three)
		row("allocations for each "+unitOf(r), 0, of1(s.Allocs)/n, three)
	}
	row("memory", float64(c.RSS), float64(s.RSS), size)
	row("memory before", 0, float64(s.RSSBefore), size)
	row("memory idle", 0, float64(s.RSSIdle), size)
	row("longest collector pause", float64(c.GCPauseMaxNS), 0, dur)
	row("scheduling, p99", float64(c.SchedP99NS), 0, dur)
	if o := r.Resources.Others; o != nil && took > 0 && *o > 0 {
		t.Rows = append(t.Rows, []string{"cores that others used", three(*o / took), "–"})
	}
	return t
}

// of1 is what a pointer points to, and nothing for nothing.
func of1(n *int64) float64 {
	if n == nil {
		return 0
	}
	return float64(*n)
}

func received(r *load.Result) int64 {
	if r.Counts.Deliveries == nil {
		return 0
	}
	return r.Counts.Deliveries.Received
}

// unitOf says what the work is counted in.
func unitOf(r *load.Result) string {
	switch {
	case received(r) > r.Counts.Accepted:
		return "delivery"
	case r.Counts.Answers != nil:
		return "call"
	}
	return "fix"
}

func calibrationTable(r *load.Result) *table {
	c := &r.Calibration
	t := &table{Title: "The instrument"}
	if c.TimerOvershootP99 > 0 {
		t.add("timer oversleeps, p99", dur(float64(c.TimerOvershootP99)))
	}
	if c.Hiccup.N > 0 {
		if d, ok := c.Hiccup.Quantile("99"); ok {
			t.add("a thread that wants nothing wakes late, p99", dur(float64(d)))
		}
		t.add("the same, max", dur(float64(c.Hiccup.Max)))
	}
	if c.NullCeiling > 0 {
		t.add("ceiling against a server that does nothing", per(c.NullCeiling))
		t.add("of that in use", share(min(1, max(0, c.FractionUsed))))
	}
	if f := c.Floor; f != nil && f.N > 0 {
		for _, p := range []float64{50, 99} {
			t.add("latency against a server that does nothing, "+nines(p), percentile(f, &hist{}, p))
		}
	}
	return t
}

func envTable(e *load.Env) *table {
	t := pairs("Machine", "fingerprint", e.Fingerprint, "system", e.OS, "kernel", e.Kernel, "CPU", e.CPU)
	if e.Cores > 0 {
		t.add("cores", count(int64(e.Cores)))
	}
	if e.GoMaxProcs > 0 {
		t.add("GOMAXPROCS", count(int64(e.GoMaxProcs)))
	}
	if e.GOGC != 0 {
		t.add("GOGC", fmt.Sprint(e.GOGC))
	}
	t.add("cgroup cpu.max", e.CgroupMax)
	t.add("virtual", e.Virt)
	t.add("clock source", e.Clocksource)
	t.add("TCP congestion control", e.TCPCC)
	addInt := func(name string, n *int64) {
		if n != nil {
			t.add(name, count(*n))
		}
	}
	addInt("rmem_max", e.RmemMax)
	addInt("open files", e.Nofile)
	if e.StealPct != nil {
		t.add("CPU time stolen", three(*e.StealPct)+" %")
	}
	if e.PSI != nil {
		t.add("CPU pressure, last minute", three(*e.PSI)+" %")
	}
	addInt("periods throttled", e.Throttled)
	addInt("TCP segments sent again", e.TCPRetrans)
	addInt("UDP receive buffer errors", e.UDPErrors)
	addInt("listen queue overflows", e.Overflows)
	return t
}

func runTable(r *load.Result) *table {
	t := pairs("Run", "id", r.ID, "scenario", r.Scenario.Name, "loop", r.Scenario.Loop)
	if !r.Started.IsZero() {
		t.add("started", r.Started.UTC().Format("2006-01-02 15:04:05 UTC"))
	}
	t.add("duration", dur(float64(r.DurationNS)))
	if r.WarmupNS > 0 {
		t.add("warm-up before it", dur(float64(r.WarmupNS)))
	}
	t.add("seed", fmt.Sprint(r.Scenario.Seed))
	t.add("plan", r.Scenario.Plan)
	t.add("target", strings.TrimSpace(strings.Join([]string{r.Target.Kind, r.Target.Version, r.Target.Addr}, " ")))
	t.add("datagrams to", r.Target.UDP)
	t.add("its commit", strings.TrimSpace(r.Target.Commit+" "+r.Target.Go))
	t.add("trackbench", strings.Join(strings.Fields(r.Tool.Version+" "+r.Tool.Commit+" "+r.Tool.Go), " "))
	for _, k := range sorted(r.Scenario.Args) {
		t.add(k, argument(r.Scenario.Args[k]))
	}
	for _, k := range sorted(r.Labels) {
		t.add("label "+k, r.Labels[k])
	}
	return t
}

// argument shows the value of an argument, which may be any JSON.
func argument(v any) string {
	s, ok := v.(string)
	if !ok {
		b, err := json.Marshal(v)
		if err != nil {
			return ""
		}
		s = string(b)
	}
	if r := []rune(s); len(r) > 200 {
		s = string(r[:200]) + "…"
	}
	return s
}

func checksTable(r *load.Result) *table {
	t := &table{Title: "Checks", Head: []string{"check", "", "found"}}
	for _, c := range r.Checks {
		state := "held"
		if !c.Pass {
			state = "MISSED"
		}
		t.Rows = append(t.Rows, []string{c.Name, state, c.Text})
	}
	return t
}

// slotsTable is the text equivalent of everything that is drawn over time.
func slotsTable(v *view) *table {
	t := &table{Title: "The course of the run", Head: []string{"from", "to", "offered", "sent", "received", "p50", "p99", "max", "lag p99", "late", "backlog", "client", "server", "marks"}}
	for i := range v.slots {
		s := &v.slots[i]
		row := []string{clock(round(s.from, 0.001)), clock(round(s.to, 0.001)), count(s.offered), count(s.sent), count(s.received)}
		if s.hist.total > 0 {
			row = append(row, orNA(&s.hist, 50), orNA(&s.hist, 99), dur(float64(s.hist.max())))
		} else {
			row = append(row, "–", "–", "–")
		}
		t.Rows = append(t.Rows, append(row, orDash(dur(float64(s.lagP99)), s.hasLagP99), count(s.late), count(s.backlog), orDash(three(s.clientCPU), s.hasClient),
			orDash(three(s.serverCPU), s.hasServe), s.why()))
	}
	return t.prune()
}

// prune takes out columns that say nothing in any row.
func (t *table) prune() *table {
	for c := len(t.Head) - 1; c > 1; c-- {
		if t.blank(c) {
			t.cut(c)
		}
	}
	return t
}

func (t *table) blank(column int) bool {
	return !slices.ContainsFunc(t.Rows, func(row []string) bool { return !slices.Contains([]string{"", "–", "0"}, row[column]) })
}

func (t *table) cut(column int) {
	t.Head = slices.Delete(t.Head, column, column+1)
	for i := range t.Rows {
		t.Rows[i] = slices.Delete(t.Rows[i], column, column+1)
	}
}

func orNA(h *hist, p float64) string {
	if !h.firm(p) {
		return "n/a"
	}
	return dur(float64(h.at(p)))
}

// missingTable names the receivers that miss something, the worst first.
func missingTable(v *view) *table {
	type gap struct {
		who int
		got float64
	}
	var list []gap
	for i, got := range v.Completeness {
		if got < 1 {
			list = append(list, gap{i, got})
		}
	}
	slices.SortStableFunc(list, func(a, b gap) int { return cmp.Compare(a.got, b.got) })
	t := &table{Title: "Receivers that miss something", Head: []string{"receiver", "received"}}
	for _, g := range list[:min(len(list), 50)] {
		t.Rows = append(t.Rows, []string{fmt.Sprint(g.who), share(g.got)})
	}
	return t
}

// tile is a figure that stands at the top of a report.
type tile struct{ Name, Value, Note string }

func tiles(v *view) []tile {
	var list []tile
	if h, ok := v.hists["response"]; ok && h.total > 0 {
		for _, p := range []float64{50, 99, 99.9} {
			list = append(list, tile{nines(p), orNA(&h, p), "response time"})
		}
		list = append(list, tile{"max", dur(float64(v.Latency["response"].Max)), "response time"})
	}
	for _, k := range []string{"achieved_per_s", "deliveries_per_s", "answered_per_s", "accepted_per_s"} {
		if x, ok := v.Rates[k]; ok && x > 0 && (k != "accepted_per_s" || v.Rates["deliveries_per_s"] == 0) {
			name, _ := rateName(k)
			note := ""
			if o := v.Rates["offered_per_s"]; o > 0 && k == "achieved_per_s" {
				note = "of " + per(o) + " offered"
			}
			list = append(list, tile{name, atLeast(v.Result) + per(x), note})
		}
	}
	return append(list, lossTile(v.Result))
}

// atLeast marks figures of which only a lower bound is known, the client having been
// at its limit.
func atLeast(r *load.Result) string {
	if r.ClientBound() {
		return "≥ "
	}
	return ""
}

func lossTile(r *load.Result) tile {
	if d := r.Counts.Deliveries; d != nil && d.Expected > 0 {
		return tile{"complete", share(max(0, 1-float64(d.Lost)/float64(d.Expected))), count(d.Lost) + " of " + count(d.Expected) + " lost"}
	}
	if r.Counts.Sent <= 0 {
		return tile{"lost", count(r.Counts.Lost), ""}
	}
	return tile{"lost", share(float64(max(0, r.Counts.Lost)) / float64(r.Counts.Sent)), count(r.Counts.Lost) + " of " + count(r.Counts.Sent)}
}

// headline says in one sentence what was done.
func headline(r *load.Result) string {
	target := strings.TrimSpace(strings.Join([]string{r.Target.Kind, r.Target.Version, r.Target.Addr}, " "))
	s := r.Scenario.Name + " on " + target + ", " + dur(float64(r.DurationNS))
	if !r.Started.IsZero() {
		s += ", " + r.Started.UTC().Format("2 January 2006, 15:04 UTC")
	}
	return s
}

// name is a short file name for a result.
func name(r *load.Result) string { return fileName(r.Scenario.Name, r.ID) }

// fileName is of nothing but harmless letters.
func fileName(what, id string) string {
	if len(id) > 12 {
		id = id[:12]
	}
	return strings.Trim(strings.Map(func(c rune) rune {
		if c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '-' || c == '.' {
			return c
		}
		return '-'
	}, "trackbench-"+what+"-"+id), "-.")
}

// repeat is the command line that does the run again, quoted for a shell.
func repeat(r *load.Result) string { return commandLine(r.Command) }

func commandLine(command []string) string {
	var words []string
	for _, w := range command {
		words = append(words, quote(w))
	}
	return strings.Join(words, " ")
}

func quote(w string) string {
	plain := func(c rune) bool {
		return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.ContainsRune("-_./:=@%+,", c)
	}
	if w != "" && strings.IndexFunc(w, func(c rune) bool { return !plain(c) }) < 0 {
		return w
	}
	return "'" + strings.ReplaceAll(w, "'", `'\''`) + "'"
}
