package report

import (
	"cmp"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"

	"tracker/pkg/load"
	"tracker/pkg/load/stat"
)

// ErrInvalid says that a result must not be compared.
var ErrInvalid = errors.New("the result is INVALID and must not be quoted")

// ErrUnlike says that results cannot be compared.
var ErrUnlike = errors.New("not comparable")

// Side is the results of one thing that is compared: one launch or several.
type Side struct {
	Name  string
	Files []*File
}

// Comparison is several sides beside the first.
type Comparison struct {
	Schema     string     `json:"schema"`
	Scenario   string     `json:"scenario"`
	Confidence float64    `json:"confidence"`
	Sides      []SideInfo `json:"sides"`
	Notes      []string   `json:"notes"` // what to know before believing it
	Rows       []Row      `json:"rows"`

	metrics  []metric // of the rows
	failures []string // notes of what servers did wrong
}

// SideInfo is what a side consists of.
type SideInfo struct {
	Name    string   `json:"name"`
	Files   []string `json:"files"`
	Suspect []string `json:"suspect,omitempty"` // files with warnings that could change the conclusion
	Partial []string `json:"partial,omitempty"`
	Failed  []string `json:"failed,omitempty"` // files whose server was wrong or gone
}

// Row is one figure of all sides.
type Row struct {
	Metric string `json:"metric"`
	Unit   string `json:"unit"`
	Better string `json:"better,omitempty"` // "lower" or "higher"; absent if neither is
	Cells  []Cell `json:"cells"`            // by side
}

// Cell is one figure of one side. Ratio and its bounds are to the first side's, which
// has none.
type Cell struct {
	Value *float64 `json:"value"` // the median of the side's runs; null if not known
	Runs  int      `json:"runs"`
	Ratio *float64 `json:"ratio,omitempty"`
	Low   *float64 `json:"low,omitempty"`
	High  *float64 `json:"high,omitempty"`
	// Each is the ratio of every pair of launches, if they are paired.
	Each   []float64 `json:"each,omitempty"`
	Method Method    `json:"method,omitempty"`
	Says   Says      `json:"says,omitempty"`
}

// Method is how the bounds of a ratio were found, and so what they mean.
type Method string

// The methods.
const (
	// Paired and Welch are over launches: they say what other launches would give.
	Paired Method = "paired-t"
	Welch  Method = "welch-t"
	// Blocks is within one launch of each side: it says how far chance within these two
	// runs goes, and nothing of other launches.
	Blocks Method = "within-runs"
)

// Says is the conclusion of a cell.
type Says string

// The conclusions.
const (
	Better Says = "better"
	Worse  Says = "worse"
	// Maybe better and worse are of single runs: another launch may say otherwise.
	MaybeBetter Says = "better?"
	MaybeWorse  Says = "worse?"
	NoMatter    Says = "~" // the bounds include no change
)

// SchemaCompare names the form of a Comparison in JSON.
const SchemaCompare = "trackbench.compare/1"

// Compare puts sides beside the first one. It refuses results that are INVALID, or of
// different scenarios.
func Compare(sides []Side, confidence float64) (*Comparison, error) {
	if len(sides) < 2 {
		return nil, fmt.Errorf("%w: want two sides or more", ErrUnlike)
	}
	c := &Comparison{Schema: SchemaCompare, Confidence: confidence, Notes: []string{}, Rows: []Row{}}
	views := make([][]*view, len(sides))
	for i, s := range sides {
		if len(s.Files) == 0 {
			return nil, fmt.Errorf("%w: %s has no results", ErrUnlike, s.Name)
		}
		info := SideInfo{Name: s.Name}
		for _, f := range s.Files {
			v, err := c.take(f, &info)
			if err != nil {
				return nil, err
			}
			views[i] = append(views[i], v)
		}
		c.Sides = append(c.Sides, info)
	}
	for _, m := range metrics() {
		c.row(m, views)
	}
	c.note(views)
	return c, nil
}

// take checks one file and notes what it is.
func (c *Comparison) take(f *File, info *SideInfo) (*view, error) {
	r := f.Result
	if r.Verdict.Validity == load.Invalid {
		return nil, fmt.Errorf("%s: %w: %s", f.Name, ErrInvalid, ruin(r))
	}
	if c.Scenario == "" {
		c.Scenario = r.Scenario.Name
	}
	if r.Scenario.Name != c.Scenario {
		return nil, fmt.Errorf("%w: %s is of %.40q, the first of %.40q", ErrUnlike, f.Name, r.Scenario.Name, c.Scenario)
	}
	info.Files = append(info.Files, f.Name)
	if r.Verdict.Validity == load.Suspect {
		info.Suspect = append(info.Suspect, f.Name)
	}
	if r.Partial {
		info.Partial = append(info.Partial, f.Name)
	}
	if r.Failure != nil {
		info.Failed = append(info.Failed, f.Name)
		c.failures = append(c.failures, "FAILED: "+f.Name+": "+oneLine(r.Failure.Text)+"; a server that leaves work out is no faster for it")
	}
	return look(r)
}

// ruin says what made a result INVALID.
func ruin(r *load.Result) string {
	var why []string
	for _, w := range r.Verdict.Warnings {
		if w.Severity == load.Ruin {
			why = append(why, oneLine(w.ID+" "+w.Text))
		}
	}
	return cmp.Or(strings.Join(why, "; "), "no reason is given")
}

// row compares one figure, if the first side and another know it.
func (c *Comparison) row(m metric, views [][]*view) {
	row := Row{Metric: m.key, Unit: m.unit, Better: string(m.better)}
	var known int
	var values [][]float64
	for _, side := range views {
		var list []float64
		for _, v := range side {
			if x, ok := m.value(v); ok {
				list = append(list, x)
			}
		}
		cell := Cell{Runs: len(list)}
		if len(list) > 0 {
			mid := stat.Median(list)
			cell.Value, known = &mid, known+1
		}
		values = append(values, list)
		row.Cells = append(row.Cells, cell)
	}
	if known == 0 || allZero(values) {
		return
	}
	for i := 1; i < len(views); i++ {
		compareCell(&m, &row.Cells[i], values[0], values[i], views[0], views[i], c.Confidence)
	}
	c.Rows, c.metrics = append(c.Rows, row), append(c.metrics, m)
}

func allZero(values [][]float64) bool {
	for _, list := range values {
		for _, v := range list {
			if v != 0 {
				return false
			}
		}
	}
	return true
}

func compareCell(m *metric, cell *Cell, a, b []float64, va, vb []*view, confidence float64) {
	if len(a) == 0 || len(b) == 0 {
		return
	}
	if slices.Min(a) <= 0 || slices.Min(b) <= 0 { // there is no ratio to nothing
		cell.Says = fromNothing(m, stat.Median(a), stat.Median(b))
		return
	}
	la, lb := logs(a), logs(b)
	var r interval
	single := false
	switch {
	case len(a) >= 2 && len(b) >= 2:
		if len(a) == len(va) && len(b) == len(vb) && alternate(va, vb) {
			cell.Method, r = Paired, paired(la, lb, confidence)
			cell.Each = ratios(a, b)
		} else {
			cell.Method, r = Welch, unpaired(la, lb, confidence)
		}
	case len(a) == 1 && len(b) == 1:
		r.mid, single = lb[0]-la[0], true
		if lo, hi, ok := withinRuns(m, va, vb, confidence); ok {
			cell.Method = Blocks
			r.lo, r.hi = math.Log(lo), math.Log(hi)
		}
	default: // one launch on a side tells nothing of how launches of it vary
		ma, _ := stat.Moments(la)
		mb, _ := stat.Moments(lb)
		r.mid = mb - ma
	}
	cell.Ratio = number(math.Exp(r.mid))
	if cell.Method != "" {
		cell.Low, cell.High = number(math.Exp(r.lo)), number(math.Exp(r.hi))
		cell.Says = says(m.better, r, single)
	}
}

// number is nil for what JSON cannot say.
func number(v float64) *float64 {
	if math.IsNaN(v) || math.IsInf(v, 0) {
		return nil
	}
	return &v
}

func logs(list []float64) []float64 {
	out := make([]float64, len(list))
	for i, v := range list {
		out[i] = math.Log(v)
	}
	return out
}

// ratios are those of neighbours.
func ratios(a, b []float64) []float64 {
	var list []float64
	for i := range a {
		if v := b[i] / a[i]; !math.IsInf(v, 0) {
			list = append(list, v)
		}
	}
	return list
}

// fromNothing judges figures of which one is 0, such as losses.
func fromNothing(m *metric, a, b float64) Says {
	switch {
	case m.better == neither || a == b:
		return ""
	case (b < a) == (m.better == lower):
		return MaybeBetter
	}
	return MaybeWorse
}

func withinRuns(m *metric, va, vb []*view, confidence float64) (lo, hi float64, ok bool) {
	if m.part == nil || len(va) != 1 || len(vb) != 1 {
		return 0, 0, false
	}
	figure := func(v *view) figureOf {
		return func(pick []int) (float64, bool) { return m.part(v, pick) }
	}
	return within(pieces(va[0]), pieces(vb[0]), figure(va[0]), figure(vb[0]), confidence)
}

// pieces are the places of the slots that are long enough to be counted.
func pieces(v *view) []int {
	var list []int
	for i := range v.slots {
		if v.slots[i].long() >= 0.5*v.slots[0].long() {
			list = append(list, i)
		}
	}
	return list
}

// alternate tells whether the launches of two sides were taken in turns, so that each
// of one side has its neighbour in time on the other: sorted by time, every pair has
// one of each.
func alternate(a, b []*view) bool {
	if len(a) != len(b) {
		return false
	}
	type launch struct {
		at   int64
		side int
		i    int
	}
	var all []launch
	for i := range a {
		all = append(all, launch{a[i].Started.UnixNano(), 0, i}, launch{b[i].Started.UnixNano(), 1, i})
	}
	slices.SortFunc(all, func(x, y launch) int { return cmp.Compare(x.at, y.at) })
	for i := 0; i < len(all); i += 2 {
		x, y := all[i], all[i+1]
		if x.side == y.side || x.i != y.i || x.at == y.at {
			return false
		}
	}
	return true
}

func says(b better, r interval, single bool) Says {
	if b == neither {
		return ""
	}
	if r.lo <= 0 && r.hi >= 0 {
		return NoMatter
	}
	good := (r.mid < 0) == (b == lower)
	switch {
	case good && single:
		return MaybeBetter
	case good:
		return Better
	case single:
		return MaybeWorse
	}
	return Worse
}

// note says what has to be known before any of the figures is believed.
func (c *Comparison) note(views [][]*view) {
	c.Notes = append(c.Notes, c.failures...)
	for _, s := range c.Sides {
		for _, f := range s.Suspect {
			c.Notes = append(c.Notes, "SUSPECT: "+f+" has warnings that could change the conclusion")
		}
		for _, f := range s.Partial {
			c.Notes = append(c.Notes, "PARTIAL: "+f+" was interrupted")
		}
	}
	c.differ("machine", views, func(v *view) string { return v.Env.Fingerprint }, "a ratio may be the machine's and not the program's")
	c.differ("loop", views, func(v *view) string { return v.Scenario.Loop }, "latencies do not compare")
	for _, k := range argNames(views) {
		c.differ("argument "+k, views, func(v *view) string { return argument(v.Scenario.Args[k]) }, "the sides did not do the same")
	}
	c.differ("plan", views, func(v *view) string { return v.Scenario.Plan }, "")
	c.method()
}

func argNames(views [][]*view) []string {
	names := map[string]bool{}
	for _, side := range views {
		for _, v := range side {
			for k := range v.Scenario.Args {
				names[k] = true
			}
		}
	}
	return sorted(names)
}

// differ notes that something is not the same in all runs.
func (c *Comparison) differ(what string, views [][]*view, of func(*view) string, so string) {
	first := of(views[0][0])
	for _, side := range views {
		for _, v := range side {
			other := of(v)
			if other == first || what == "plan" && (v.Scenario.Seed != views[0][0].Scenario.Seed || other == "" || first == "") {
				continue // other seeds are other plans, as they should be
			}
			text := fmt.Sprintf("%s differs: %s and %s", oneLine(what), cmp.Or(oneLine(first), "none"), cmp.Or(oneLine(other), "none"))
			if so != "" {
				text += "; " + so
			}
			c.Notes = append(c.Notes, text)
			return
		}
	}
}

// method says what the bounds mean that are there.
func (c *Comparison) method() {
	used := map[Method]bool{}
	bare := false
	for _, r := range c.Rows {
		for i, cell := range r.Cells {
			used[cell.Method] = true
			bare = bare || i > 0 && cell.Method == "" && cell.Ratio != nil
		}
	}
	pct := three(100*c.Confidence) + " %"
	if used[Paired] {
		c.Notes = append(c.Notes, pct+" bounds over launches, by Student's t on log ratios of launches that were taken in turns")
	}
	if used[Welch] {
		c.Notes = append(c.Notes, pct+" bounds over launches, by Welch's t on logarithms; launches taken in turns would be paired and see more")
	}
	if used[Blocks] {
		c.Notes = append(c.Notes, pct+" bounds within these two runs only, from how their intervals varied (block bootstrap); single runs "+
			"cannot tell how launches vary, so a mark has a question mark: compare several launches a side, A... -- B...")
	}
	if bare {
		c.Notes = append(c.Notes, "ratios without bounds: too few intervals or launches to say how far chance goes")
	}
}

// Formats are what Print can print.
var Formats = []string{"text", "md", "csv", "json", "html"}

// Print writes the comparison in one of the Formats.
func (c *Comparison) Print(w io.Writer, format string, ctx Context) error {
	switch format {
	case "text":
		return c.text(w)
	case "md":
		return c.markdown(w)
	case "csv":
		return c.csv(w)
	case "html":
		return c.html(w, ctx)
	case "json":
		e := json.NewEncoder(w)
		e.SetIndent("", "  ")
		return e.Encode(c)
	}
	return fmt.Errorf("%w as %q: want %s", ErrKind, format, strings.Join(Formats, ", "))
}

// table is the comparison in cells of text.
func (c *Comparison) table() *table {
	t := &table{Head: []string{oneLine(c.Scenario), "better is", c.Sides[0].head()}}
	for _, s := range c.Sides[1:] {
		t.Head = append(t.Head, s.head(), "ratio", "bounds", "")
	}
	for i, r := range c.Rows {
		show := c.metrics[i].show
		row := []string{r.Metric, cmp.Or(r.Better, "–"), value(&r.Cells[0], show)}
		for _, cell := range r.Cells[1:] {
			row = append(row, value(&cell, show), ratio(cell.Ratio), bounds(&cell), string(cell.Says))
		}
		t.Rows = append(t.Rows, row)
	}
	return t
}

// head names a side, and labels it where one must not forget it.
func (s *SideInfo) head() string {
	name := oneLine(s.Name)
	if len(s.Suspect) > 0 {
		name += " SUSPECT"
	}
	if len(s.Partial) > 0 {
		name += " PARTIAL"
	}
	if len(s.Failed) > 0 {
		name += " FAILED"
	}
	return name
}

func value(c *Cell, show func(float64) string) string {
	if c.Value == nil {
		return "n/a"
	}
	s := show(*c.Value)
	if c.Runs > 1 {
		s += fmt.Sprintf(" (%d)", c.Runs)
	}
	return s
}

func ratio(v *float64) string {
	if v == nil {
		return "–"
	}
	return strconv.FormatFloat(*v, 'f', 3, 64)
}

func bounds(c *Cell) string {
	if c.Low == nil || c.High == nil {
		return "–"
	}
	return ratio(c.Low) + " to " + ratio(c.High)
}

func (c *Comparison) text(out io.Writer) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	t := c.table()
	for _, row := range append([][]string{t.Head}, t.Rows...) {
		fmt.Fprintln(w, strings.ReplaceAll(strings.TrimRight(strings.Join(row, "\t"), "\t "), thinSpace, " "))
	}
	if err := w.Flush(); err != nil {
		return err
	}
	for _, n := range c.Notes {
		if _, err := fmt.Fprintln(out, "note  "+n); err != nil {
			return err
		}
	}
	return nil
}

func (c *Comparison) markdown(w io.Writer) error {
	var b strings.Builder
	c.table().markdown(&b)
	for _, n := range c.Notes {
		b.WriteString("- " + plain(n) + "\n")
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// csv writes a row for each figure of each side beyond the first, in bare numbers.
func (c *Comparison) csv(w io.Writer) error {
	out := csv.NewWriter(w)
	_ = out.Write([]string{"metric", "unit", "better", "a", "b", "a_value", "b_value", "a_runs", "b_runs", "ratio", "low", "high", "method", "says"})
	num := func(v *float64) string {
		if v == nil {
			return ""
		}
		return strconv.FormatFloat(*v, 'g', -1, 64)
	}
	for _, r := range c.Rows {
		a := &r.Cells[0]
		for i, b := range r.Cells[1:] {
			_ = out.Write([]string{r.Metric, r.Unit, r.Better, harmless(c.Sides[0].Name), harmless(c.Sides[i+1].Name), num(a.Value), num(b.Value),
				strconv.Itoa(a.Runs), strconv.Itoa(b.Runs), num(b.Ratio), num(b.Low), num(b.High), string(b.Method), string(b.Says)})
		}
	}
	out.Flush()
	return out.Error()
}
