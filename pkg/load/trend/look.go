package trend

import (
	"cmp"
	"fmt"
	"math"
	"path"
	"slices"
	"time"

	"tracker/pkg/load"
	"tracker/pkg/load/stat"
)

// Options say what to look at.
type Options struct {
	Metrics []string // names, or patterns such as "rpc.*"; none: all
	Last    int      // the newest points of each series; 0, or more than Most: Most
}

// Most is how many points of a series are looked at: what it costs to look grows with
// them, and what lies further back is hardly anybody's question.
const Most = 1000

// Fewest is how many points a series needs for a change to be found in it at all.
const Fewest = 9

// Machine is what one machine measured.
type Machine struct {
	Fingerprint string       `json:"fingerprint"`
	Text        string       `json:"text,omitempty"`
	Runs        int          `json:"runs"`
	First       load.Instant `json:"first"`
	Last        load.Instant `json:"last"`
	Series      []*Series    `json:"series"`
}

// Series are the figures of one metric, on one machine and with one setting, the oldest
// first.
type Series struct {
	Kind    Kind     `json:"kind"`
	Setting string   `json:"setting,omitempty"`
	Metric  string   `json:"metric"`
	Unit    string   `json:"unit,omitempty"`
	Better  string   `json:"better"` // "lower" or "higher"
	Points  []Point  `json:"points"`
	Cut     int      `json:"cut,omitempty"` // older points, which were not looked at
	Changes []Change `json:"changes"`
}

// Run is where a figure comes from.
type Run struct {
	Time    load.Instant `json:"time"`
	Commit  string       `json:"commit,omitempty"`
	Version string       `json:"version,omitempty"`
}

// Point is one figure.
type Point struct {
	Run
	Value float64 `json:"value"`
	N     int     `json:"n,omitempty"`
	line  *Line
}

// Change is a place where a series has another level than before.
type Change struct {
	At    int `json:"at"`    // the first point after it
	Last  Run `json:"last"`  // before it
	First Run `json:"first"` // after it
	// Since and Until are the same with what noise leaves open: it hardly lies before or
	// after them.
	Since Run `json:"since"`
	Until Run `json:"until"`
	// Before and After are how many runs have the old level, since the change before this
	// one, and the new one, up to the next.
	Before int `json:"before"`
	After  int `json:"after"`
	// From and To are the medians of both; Ratio is absent if From is 0.
	From       float64  `json:"from"`
	To         float64  `json:"to"`
	Ratio      *float64 `json:"ratio,omitempty"`
	Says       string   `json:"says"` // "worse" or "better"
	Confidence float64  `json:"confidence"`
	// Machine says that it was not the code: what had no reason to change did, too.
	Machine bool     `json:"machine"`
	Notes   []string `json:"notes,omitempty"`
}

// Look finds what changed, machine by machine in the order in which they first measured.
// Figures of two machines are never held against each other.
func Look(lines []Line, o Options) []Machine {
	sorted := make([]*Line, len(lines))
	for i := range lines {
		sorted[i] = &lines[i]
	}
	slices.SortStableFunc(sorted, func(a, b *Line) int { return a.Time.Compare(b.Time.Time) })
	var machines []Machine
	at := map[string]int{}
	series := map[string]map[key]*Series{}
	for _, l := range sorted {
		i, known := at[l.Fingerprint]
		if !known {
			i = len(machines)
			at[l.Fingerprint] = i
			machines = append(machines, Machine{Fingerprint: l.Fingerprint, First: l.Time, Series: []*Series{}})
			series[l.Fingerprint] = map[key]*Series{}
		}
		m := &machines[i]
		m.Runs, m.Last, m.Text = m.Runs+1, l.Time, cmp.Or(l.Machine, m.Text)
		m.add(l, o, series[l.Fingerprint])
	}
	for i := range machines {
		machines[i].finish(o)
	}
	return machines
}

// key is what two figures have to share to be compared.
type key struct {
	kind                  Kind
	setting, metric, unit string
}

// add puts the figures of a line into their series.
func (m *Machine) add(l *Line, o Options, series map[key]*Series) {
	for name, v := range l.Series {
		if !o.wants(name) || !(v.Value >= 0) || math.IsInf(v.Value, 0) {
			continue
		}
		k := key{l.Kind, l.Setting, name, v.Unit}
		s := series[k]
		if s == nil {
			s = &Series{Kind: l.Kind, Setting: l.Setting, Metric: name, Unit: v.Unit, Better: "lower", Changes: []Change{}}
			if rate(v.Unit) {
				s.Better = "higher"
			}
			series[k] = s
			m.Series = append(m.Series, s)
		}
		s.Points = append(s.Points, Point{Run{l.Time, l.Commit, l.Version}, v.Value, v.N, l})
	}
}

func (o *Options) wants(name string) bool {
	return len(o.Metrics) == 0 || slices.ContainsFunc(o.Metrics, func(pattern string) bool {
		ok, err := path.Match(pattern, name)
		return ok && err == nil || pattern == name
	})
}

// finish cuts the series to what is to be looked at, and finds their changes.
func (m *Machine) finish(o Options) {
	slices.SortFunc(m.Series, func(a, b *Series) int {
		return cmp.Or(cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Setting, b.Setting), cmp.Compare(a.Metric, b.Metric), cmp.Compare(a.Unit, b.Unit))
	})
	most := Most
	if o.Last > 0 {
		most = min(o.Last, Most)
	}
	for _, s := range m.Series {
		if s.Cut = max(0, len(s.Points)-most); s.Cut > 0 {
			s.Points = s.Points[s.Cut:]
		}
		s.find()
	}
}

// least is the smallest change that is worth a line. Counters repeat to many digits, and
// would show every byte.
const least = 0.01

// find finds the changes of the series and what speaks for and against each.
func (s *Series) find() {
	values := make([]float64, len(s.Points))
	for i := range s.Points {
		values[i] = s.Points[i].Value
	}
	found := steps(logs(values))
	small := func(k int) bool {
		lo, hi := bounds(found, k, len(values))
		from, to := stat.Median(values[lo:found[k].at]), stat.Median(values[found[k].at:hi])
		return math.Abs(to-from) < least*max(from, to)
	}
	for k := 0; k < len(found); k++ {
		if small(k) {
			found = slices.Delete(found, k, k+1)
			k = -1 // the levels beside it are others now
		}
	}
	for k, c := range found {
		lo, hi := bounds(found, k, len(values))
		s.Changes = append(s.Changes, s.change(values, lo, c, hi))
	}
}

// bounds are where the levels before and after a change begin and end.
func bounds(list []step, k, n int) (lo, hi int) {
	lo, hi = 0, n
	if k > 0 {
		lo = list[k-1].at
	}
	if k+1 < len(list) {
		hi = list[k+1].at
	}
	return lo, hi
}

// logs are the logarithms of figures. There is none of 0; it gets that of half the
// smallest figure, which keeps it the lowest.
func logs(values []float64) []float64 {
	smallest := math.Inf(1)
	for _, v := range values {
		if v > 0 {
			smallest = min(smallest, v)
		}
	}
	out := make([]float64, len(values))
	for i, v := range values {
		switch {
		case v > 0:
			out[i] = math.Log(v)
		case !math.IsInf(smallest, 1):
			out[i] = math.Log(smallest) - math.Ln2
		}
	}
	return out
}

// change tells of a step between levels that begin at lo and end at hi.
func (s *Series) change(values []float64, lo int, of step, hi int) Change {
	at := of.at
	c := Change{
		At: at, Last: s.Points[at-1].Run, First: s.Points[at].Run, Since: s.Points[of.from-1].Run, Until: s.Points[of.to].Run,
		Before: at - lo, After: hi - at,
		From: stat.Median(values[lo:at]), To: stat.Median(values[at:hi]), Says: "better", Confidence: 1 - of.p,
	}
	if (c.To > c.From) == (s.Better == "lower") {
		c.Says = "worse"
	}
	if c.From > 0 {
		ratio := c.To / c.From
		c.Ratio = &ratio
	}
	if name := c.Since.Name(); name != "" && name == c.Until.Name() {
		c.Machine = true
		c.Notes = append(c.Notes, "the same build lies before and after it: it is not the code")
	}
	for _, w := range s.witnesses(lo, at, hi) {
		w.testify(&c, s)
	}
	return c
}

// Name is what a run's build goes by: its commit, or else its version.
func (r Run) Name() string { return cmp.Or(r.Commit, r.Version) }

// Day is when it was.
func (r Run) Day() string { return r.Time.UTC().Format(time.DateOnly) }

// witness is something that was measured in the same runs and that the code cannot have
// changed.
type witness struct {
	name          string
	unit          string
	before, after []float64
}

// witnesses are what the null server cost, and what the same metric was of a gate's base,
// if that was one and the same build all the time.
func (s *Series) witnesses(lo, at, hi int) []witness {
	series := map[string]*witness{}
	add := func(i int, name string, v Value) {
		id := name + "\x00" + v.Unit
		w := series[id]
		if w == nil {
			w = &witness{name: name, unit: v.Unit}
			series[id] = w
		}
		if i < at {
			w.before = append(w.before, v.Value)
		} else {
			w.after = append(w.after, v.Value)
		}
	}
	base := s.sameBase(lo, hi)
	for i := lo; i < hi; i++ {
		l := s.Points[i].line
		for name, v := range l.Canary {
			add(i, "the "+name, v)
		}
		if base == "" {
			continue
		}
		if v, ok := l.Base.Series[s.Metric]; ok {
			add(i, "the base, "+base+" all the time,", v)
		}
	}
	var list []witness
	for _, w := range series {
		list = append(list, *w)
	}
	slices.SortFunc(list, func(a, b witness) int { return cmp.Or(cmp.Compare(a.name, b.name), cmp.Compare(a.unit, b.unit)) })
	return list
}

// sameBase is the base of all the runs, empty if there is not one.
func (s *Series) sameBase(lo, hi int) (name string) {
	for i := lo; i < hi; i++ {
		b := s.Points[i].line.Base
		if b == nil {
			return ""
		}
		switch this := cmp.Or(b.Commit, b.Version); {
		case this == "" || i > lo && this != name:
			return ""
		default:
			name = this
		}
	}
	return name
}

// sure is how sure a witness has to be, one-sided, and enough how much of the change it
// has to have made itself for the machine to be the reason.
const (
	sure   = 0.99
	enough = 0.5
)

// testify notes what a witness says of a change. It speaks only of a move in the same
// direction; in the other one it explains nothing.
func (w *witness) testify(c *Change, s *Series) {
	if len(w.before) < shortest || len(w.after) < shortest {
		return
	}
	worse := 1.0
	if c.Says == "better" {
		worse = -1
	}
	if rate(w.unit) {
		worse = -worse // a rate gets worse by falling
	}
	all := logs(slices.Concat(w.before, w.after))
	before, after := all[:len(w.before)], all[len(w.before):]
	if !above(before, after, worse) {
		return
	}
	moved := worse * (stat.Median(after) - stat.Median(before))
	if moved < math.Log1p(least) {
		return
	}
	percent := Percent(math.Exp(worse * moved))
	if moved < enough*math.Abs(math.Log(c.To/c.From)) {
		c.Notes = append(c.Notes, fmt.Sprintf("%s moved the same way, but by %s only", w.name, percent))
		return
	}
	c.Machine = true
	c.Notes = append(c.Notes, fmt.Sprintf("%s moved too, by %s: it is the machine", w.name, percent))
}

// above tells whether figures got higher (sign 1) or lower (-1), by Welch's version of
// Student's t.
func above(before, after []float64, sign float64) bool {
	noise := scores(slices.Concat(before, after)) // a wild one would hide what the others say
	if noise == nil {
		return false
	}
	moved, half := stat.Welch(noise[:len(before)], noise[len(before):], sure)
	return sign*moved > half
}

// Percent writes a ratio as a change: +10.4 %.
func Percent(ratio float64) string { return fmt.Sprintf("%+.1f %%", 100*(ratio-1)) }
