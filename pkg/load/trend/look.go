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

// Percent writes a ratio as a change: +10.4 %.
func Percent(ratio float64) string { return fmt.Sprintf("%+.1f %%", 100*(ratio-1)) }
