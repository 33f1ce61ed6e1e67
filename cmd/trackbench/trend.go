package main

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"tracker/pkg/load/trend"
)

// schemaTrend names the form of what trend --json prints.
const schemaTrend = "trackbench.trend/1"

// historyFile is the history that nobody names.
const historyFile = "bench-history.jsonl"

// trendFlags say what to look at.
type trendFlags struct {
	metrics       []string
	last          int
	asJSON, plain bool
}

func (b *bench) trendCommand() *cobra.Command {
	var f trendFlags
	cmd := &cobra.Command{
		Use:   "trend [FILE]",
		Short: "Tell where the figures of a history changed, and between which commits",
		Long: `Reads a history, a line a run, and tells for each metric its course, its newest value and
the places where it went to another level, with the commits before and after. The file is
` + historyFile + ` unless another is named; - is standard input.

A change is found when at least 3 runs lie behind it, more where figures vary more, so
this is for looking back: it never fails a build, and ends with 0 whatever it finds.
Figures of different machines or settings are never compared. Where what a server costs
that does nothing, or a gate's unchanged base, moved at the same place, that is told: it
is the machine then, not the code.

The course is drawn with blocks on terminals that have them, elsewhere in digits from 0,
the lowest, to 9, the highest; a bar marks each change.`,
		Example: `  trackbench trend
  trackbench trend nightly.jsonl --metric 'rpc.*' --last 60
  trackbench trend --json | jq '.machines[].series[] | select(.changes != [])'`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			b.ran = true
			return b.trend(&f, args)
		},
	}
	fl := cmd.Flags()
	fl.StringArrayVar(&f.metrics, "metric", nil, "only this `METRIC`, or those of a pattern such as 'rpc.*'; may be given again")
	fl.IntVar(&f.last, "last", 200, fmt.Sprintf("the newest `N` figures of each metric, at most %d", trend.Most))
	fl.BoolVar(&f.asJSON, "json", false, "print JSON")
	fl.BoolVar(&f.plain, "plain", false, "digits instead of blocks, also on a terminal")
	return cmd
}

func (b *bench) trend(f *trendFlags, args []string) error {
	if f.last < 1 || f.last > trend.Most {
		return fail(exitUsage, "", "--last %d: want 1 to %d", f.last, trend.Most)
	}
	for _, m := range f.metrics {
		if _, err := path.Match(m, ""); err != nil {
			return fail(exitUsage, "", "--metric %q: %w", m, err)
		}
	}
	file := historyFile
	if len(args) > 0 {
		file = args[0]
	}
	h, err := trend.Read(file)
	if err != nil {
		return unreadable(file, err)
	}
	for _, n := range h.Torn {
		fmt.Fprintf(b.err, "trackbench: %s: line %d was cut off while it was written; it is left out\n", file, n)
	}
	machines := trend.Look(h.Lines, trend.Options{Metrics: f.metrics, Last: f.last})
	if f.asJSON {
		return b.printJSON(struct {
			Schema   string          `json:"schema"`
			File     string          `json:"file"`
			Runs     int             `json:"runs"`
			Torn     []int           `json:"torn,omitempty"`
			Machines []trend.Machine `json:"machines"`
		}{schemaTrend, file, len(h.Lines), h.Torn, append([]trend.Machine{}, machines...)})
	}
	t := trendText{text: text{w: b.out}, blocks: !f.plain && terminal(b.out) && blocky()}
	t.print(file, len(h.Lines), machines)
	if len(f.metrics) > 0 && !slices.ContainsFunc(machines, func(m trend.Machine) bool { return len(m.Series) > 0 }) {
		fmt.Fprintf(b.err, "trackbench: no metric is called %s; there are: %s\n", strings.Join(f.metrics, " or "), strings.Join(metricNames(h.Lines), " "))
	}
	return nil
}

func unreadable(file string, err error) error {
	var at *os.PathError
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return fail(exitUsage, "trackbench gate --history FILE writes one", "there is no history %s", file)
	case errors.As(err, &at):
		return fail(exitUsage, "", "read %s: %w", file, at.Err)
	case errors.Is(err, trend.ErrForeign):
		return fail(exitUsage, "mend or remove that line; every line is one run as trackbench wrote it", "read %w", err)
	}
	return fail(exitUsage, "", "read %w", err)
}

func metricNames(lines []trend.Line) []string {
	var names []string
	for _, l := range lines {
		for name := range l.Series {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// blocky tells whether the terminal has block characters.
func blocky() bool {
	locale := cmp.Or(os.Getenv("LC_ALL"), os.Getenv("LC_CTYPE"), os.Getenv("LANG"))
	locale = strings.ToLower(strings.ReplaceAll(locale, "-", ""))
	return strings.Contains(locale, "utf8") && os.Getenv("TERM") != "dumb"
}

// trendText tells people of a history.
type trendText struct {
	text
	blocks bool
}

func (t trendText) print(file string, runs int, machines []trend.Machine) {
	fmt.Fprintf(t.w, "trend   %s, %s", file, plural(runs, "run"))
	if len(machines) > 1 {
		fmt.Fprintf(t.w, " on %d machines, each for itself", len(machines))
	}
	fmt.Fprintln(t.w)
	for i := range machines {
		m := &machines[i]
		fmt.Fprintf(t.w, "\nmachine %s  %s, %s\n", m.Fingerprint, plural(m.Runs, "run"), span(m.First.UTC().Format("2006-01-02"), m.Last.UTC().Format("2006-01-02")))
		if i == 0 {
			t.line("is", "%s", cmp.Or(m.Text, "unknown"))
		} else {
			t.line("differs by", "%s", cmp.Or(difference(machines[i-1].Text, m.Text), "what was not told"))
		}
		t.machine(m)
	}
}

func plural(n int, word string) string {
	if n == 1 {
		return "1 " + word
	}
	return fmt.Sprintf("%d %ss", n, word)
}

func span(from, to string) string {
	if from == to {
		return from
	}
	return from + " to " + to
}

// difference is what two machines' texts do not share.
func difference(before, after string) string {
	old, now := strings.Split(before, ", "), strings.Split(after, ", ")
	var parts []string
	for _, p := range now {
		if !slices.Contains(old, p) {
			parts = append(parts, p)
		}
	}
	for _, p := range old {
		if !slices.Contains(now, p) {
			parts = append(parts, "before: "+p)
		}
	}
	return strings.Join(parts, ", ")
}

func (t trendText) machine(m *trend.Machine) {
	wide := 0
	for _, s := range m.Series {
		wide = max(wide, len(s.Metric))
	}
	setting := ""
	for _, s := range m.Series {
		if s.Setting != setting {
			setting = s.Setting
			t.line("setting", "%s", cmp.Or(setting, "none"))
		}
		t.series(s, wide)
	}
}

func (t trendText) series(s *trend.Series, wide int) {
	last := s.Points[len(s.Points)-1]
	says := "no change found"
	switch n := len(s.Changes); {
	case n > 0:
		says = plural(n, "change")
	case len(s.Points) < trend.Fewest:
		says = fmt.Sprintf("%s, too few", plural(len(s.Points), "run"))
	}
	if s.Cut > 0 {
		says += fmt.Sprintf("; %d older not looked at", s.Cut)
	}
	fmt.Fprintf(t.w, "  %-*s  %s  %s  %s\n", wide, s.Metric, t.course(s), strings.TrimSpace(digits(last.Value)+" "+s.Unit), says)
	for i := range s.Changes {
		t.change(s, &s.Changes[i])
	}
}

func (t trendText) change(s *trend.Series, c *trend.Change) {
	by := "from 0"
	if c.Ratio != nil {
		by = trend.Percent(*c.Ratio)
	}
	fmt.Fprintf(t.w, "    %s %s: %s to %s, %.1f %% sure by %d runs before, %d after\n",
		by, c.Says, digits(c.From), strings.TrimSpace(digits(c.To)+" "+s.Unit), 100*c.Confidence, c.Before, c.After)
	fmt.Fprintf(t.w, "      after %s, not after %s\n", built(c.Last), built(c.First))
	if c.Since != c.Last || c.Until != c.First {
		fmt.Fprintf(t.w, "      noise leaves open: after %s, not after %s\n", built(c.Since), built(c.Until))
	}
	for _, n := range c.Notes {
		fmt.Fprintf(t.w, "      %s\n", n)
	}
}

// built is what was measured, and when.
func built(r trend.Run) string {
	return fmt.Sprintf("%s (%s)", brisk(cmp.Or(r.Name(), "a build without a name")), r.Day())
}

// brisk is the beginning of a commit, as long as people write it.
func brisk(name string) string {
	if len(name) >= 40 && strings.Trim(name, "0123456789abcdef") == "" {
		return name[:12]
	}
	return name
}

// digits writes four digits, and all those before the point.
func digits(v float64) string {
	if a := math.Abs(v); a >= 1000 && a < 1e15 {
		return strconv.FormatFloat(math.Round(v), 'f', -1, 64)
	}
	return strconv.FormatFloat(v, 'g', 4, 64)
}

// cells is how many columns a course takes, without its bars.
const cells = 24

// course draws a series: the median of each cell as one of ten, or eight, heights, with a
// bar where it changed.
func (t trendText) course(s *trend.Series) string {
	marks := []rune("0123456789")
	if t.blocks {
		marks = []rune("▁▂▃▄▅▆▇█")
	}
	levels := make([]float64, min(cells, len(s.Points)))
	ends := make([]int, len(levels)) // of each cell, the point after its last one
	for i := range levels {
		from := i * len(s.Points) / len(levels)
		ends[i] = (i + 1) * len(s.Points) / len(levels)
		levels[i] = middle(s.Points[from:ends[i]])
	}
	low, high := slices.Min(levels), slices.Max(levels)
	var b strings.Builder
	changes := s.Changes
	for i, v := range levels {
		place := 0
		if high > low {
			place = min(int(float64(len(marks))*(v-low)/(high-low)), len(marks)-1)
		}
		b.WriteRune(marks[place])
		if len(changes) > 0 && changes[0].At <= ends[i] {
			b.WriteByte('|')
			for len(changes) > 0 && changes[0].At <= ends[i] {
				changes = changes[1:]
			}
		}
	}
	return b.String()
}

func middle(list []trend.Point) float64 {
	values := make([]float64, len(list))
	for i := range list {
		values[i] = list[i].Value
	}
	slices.Sort(values)
	return values[len(values)/2]
}
