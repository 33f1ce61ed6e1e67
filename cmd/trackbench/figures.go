package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"tracker/pkg/load"
	"tracker/pkg/load/stat"
)

// figuresVerb reads what scripts/bench left and tells it against the bars.
const figuresVerb = "figures"

func (b *bench) figuresCommand() *cobra.Command {
	var quick bool
	var only []string
	cmd := &cobra.Command{
		Use:    figuresVerb + " DIR",
		Short:  "Tell what scripts/bench measured, against the bars",
		Hidden: true,
		Args:   cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			b.ran = true
			return b.figures(args[0], quick, only)
		},
	}
	cmd.Flags().BoolVar(&quick, "quick", false, "the runs were too short to hold against bars")
	cmd.Flags().StringSliceVar(&only, "only", nil, "`names` of those that were run; the others are not missed")
	return cmd
}

// figure is a row of the table: a work, what it has to reach, and what was seen. A run
// called NAME left NAME.json, NAME.cmd with its command and NAME.code with its exit code.
type figure struct {
	name, work, bar string
	read            func(dir string, f figure) []seen
}

// seen is what came of a figure.
type seen struct {
	work, bar, text string
	met             bool
	validity        string // and why
	command         string
	code            int
}

var figures = []figure{
	{"rpc-table", "calls in their shapes, Redis and gRPC beside", "every bar of rpc --table", ownTable},
	{"ingest", "10,000 datagrams a second, watched", "none lost, p50 <= 30 ms, p99 <= 60 ms", oneResult},
	{"ingest-light", "100 datagrams a second, watched", "p99 <= 5 ms", oneResult},
	{"marauder-ws", "everybody to everybody over WebSocket, n=1000 m=100 s=1s", marauderBar, oneResult},
	{"marauder-rpc", "everybody to everybody over RPC, n=1000 m=100 s=1s", marauderBar, oneResult},
	{"fanout-ws", "250 updates a second to 1,000 WebSocket viewers", fanoutBar, oneResult},
	{"fanout-rpc", "250 updates a second to 1,000 RPC viewers", fanoutBar, oneResult},
	{"peers", "deliveries per server-core-second, 20 bursts a second", "", peersTable},
	{"peers-busy", "the same, 100 bursts a second", "", peersTable},
	{"idle-ws", "15,000 idle WebSocket viewers", "<= 10 KiB RSS each", oneResult},
	{"idle-rpc", "15,000 idle RPC viewers", "<= 10 KiB RSS each", oneResult},
	{"churn-ws", "1,000 WebSocket connects a second for 60 s", churnBar, oneResult},
	{"churn-rpc", "1,000 RPC connects a second for 60 s", churnBar, oneResult},
	{"allocations", "a broadcast to 1,000 viewers", "<= 2 allocations in the hub", onlyCode},
	{"client-allocations", "an update in this program's own paths", "no allocation", onlyCode},
	{"slow", "a viewer that reads 1 % of the time, beside 999", "their p99 <= 1.10 of a run without it", slowViewer},
}

const (
	marauderBar = "complete, consistent, elapsed <= 1.02 s*m, p99 <= 100 ms, server <= 0.8 core"
	fanoutBar   = "p50 <= 30 ms, p99 <= 60 ms, server <= 0.5 core"
	churnBar    = "first snapshot p99 <= 200 ms, heap back to baseline"
)

// figures prints the table, and fails if a bar is missed, or was to be measured and was
// not.
func (b *bench) figures(dir string, quick bool, only []string) error {
	for _, name := range only {
		if !slices.ContainsFunc(figures, func(f figure) bool { return f.name == name }) {
			return fail(exitUsage, "", "there is no figure %q", name)
		}
	}
	var missed, broken []string
	tableHead(b.out)
	for _, f := range figures {
		if len(only) > 0 && !slices.Contains(only, f.name) {
			continue
		}
		for _, s := range f.rows(dir) {
			tableRow(b.out, &s)
			if !s.met {
				missed = append(missed, f.name)
			}
			if s.code != exitDone && s.code != exitThreshold {
				broken = append(broken, fmt.Sprintf("%s (exit code %d)", f.name, s.code))
			}
		}
	}
	missed = slices.Compact(missed)
	switch {
	case quick && len(broken) > 0:
		return fail(exitThreshold, "see its .txt and .err in "+dir, "did not run well: %s", strings.Join(broken, ", "))
	case quick:
		_, err := fmt.Fprintln(b.out, "\nToo short to hold against the bars: it shows that everything runs.")
		return err
	case len(missed) > 0:
		return fail(exitThreshold, "see its .txt and .err in "+dir, "missed or not measured: %s", strings.Join(missed, ", "))
	}
	_, err := fmt.Fprintln(b.out, "\nEvery bar is met.")
	return err
}

func (f figure) rows(dir string) []seen {
	if _, ok := exitCode(dir, f.name); !ok {
		return []seen{{work: f.work, bar: f.bar, text: "not measured", validity: "-", code: exitDone}}
	}
	return f.read(dir, f)
}

func tableHead(w io.Writer) {
	fmt.Fprintln(w, "| work | bar | seen | met | validity | command |\n|---|---|---|---|---|---|")
}

func tableRow(w io.Writer, s *seen) {
	met := "yes"
	if !s.met {
		met = "**NO**"
	}
	cell := strings.NewReplacer("|", "\\|", "\n", " ")
	fmt.Fprintf(w, "| %s | %s | %s | %s | %s | `%s` |\n", cell.Replace(s.work), cell.Replace(s.bar), cell.Replace(s.text), met, cell.Replace(s.validity), cell.Replace(s.command))
}

// exitCode is how a run ended; unknown if it was not run.
func exitCode(dir, name string) (code int, known bool) {
	b, err := os.ReadFile(filepath.Join(dir, name+".code"))
	if err != nil {
		return 0, false
	}
	code, err = strconv.Atoi(strings.TrimSpace(string(b)))
	return code, err == nil
}

// begin is a row before anything was read.
func (f figure) begin(dir string) seen {
	s := seen{work: f.work, bar: f.bar, validity: "-"}
	s.code, _ = exitCode(dir, f.name)
	if b, err := os.ReadFile(filepath.Join(dir, f.name+".cmd")); err == nil {
		s.command = strings.TrimSpace(string(b))
	}
	return s
}

func readResult(dir, name string) (*load.Result, error) {
	b, err := os.ReadFile(filepath.Join(dir, name+".json"))
	if err != nil {
		return nil, err
	}
	var r load.Result
	return &r, json.Unmarshal(b, &r)
}

// oneResult is a figure of one run, whose bars were its thresholds.
func oneResult(dir string, f figure) []seen {
	s := f.begin(dir)
	r, err := readResult(dir, f.name)
	if err != nil {
		s.text = "it left no result: " + err.Error()
		return []seen{s}
	}
	s.text, s.validity = facts(r), validity(r)
	s.met = s.code == exitDone && r.Failure == nil && r.Verdict.Validity != load.Invalid
	for _, c := range r.Checks {
		s.met = s.met && c.Pass
	}
	return []seen{s}
}

// facts are what was found, in the order in which people ask for it.
func facts(r *load.Result) string {
	var list []string
	add := func(format string, args ...any) { list = append(list, fmt.Sprintf(format, args...)) }
	if r.Failure != nil {
		add("FAILED: %s", r.Failure.Text)
	}
	if d := r.Counts.Deliveries; d != nil {
		add("%d of %d delivered", d.Received, d.Expected)
	} else if r.Counts.Sent > 0 {
		add("%d of %d", r.Counts.Accepted, r.Counts.Sent)
	}
	if c := r.Consistency; c != nil {
		add("%d/%d agree", c.Agree, c.Clients)
	}
	if v, ok := r.Rates["elapsed_ratio"]; ok {
		add("elapsed %.3fx", v)
	}
	if l, ok := r.Latency["response"]; ok {
		for _, q := range []string{"50", "99"} {
			if d, known := l.Quantile(q); known {
				add("p%s %v", q, d.Round(10*time.Microsecond))
			}
		}
	}
	if each, ok := r.Findings["each"].(map[string]any); ok {
		kib := func(name string) float64 {
			v, _ := each[name].(float64)
			return v / 1024
		}
		add("%.1f KiB RSS each (stack %.1f, heap %.1f), kernel %.1f KiB a socket", kib("rss_each"), kib("stack_each"), kib("heap_each"), kib("kernel_slab_each"))
	}
	if u := r.Resources.Server; u != nil && r.DurationNS > 0 {
		add("server %.2f cores", u.CPUSeconds/time.Duration(r.DurationNS).Seconds())
	}
	for _, c := range r.Checks {
		if !c.Pass {
			add("%s missed: %s", c.Name, c.Text)
		}
	}
	return strings.Join(list, ", ")
}

// validity is the verdict and every reason that it is not better.
func validity(r *load.Result) string {
	var why []string
	for _, w := range r.Verdict.Warnings {
		if w.Severity != load.Info {
			why = append(why, w.ID+" "+w.Text)
		}
	}
	if len(why) == 0 {
		return string(r.Verdict.Validity)
	}
	return string(r.Verdict.Validity) + ": " + strings.Join(why, "; ")
}

// onlyCode is a figure that is a test: it passes or not.
func onlyCode(dir string, f figure) []seen {
	s := f.begin(dir)
	s.validity = string(load.Valid) // allocations are counted, not timed
	s.met, s.text = s.code == exitDone, "the test fails"
	if s.met {
		s.text = "the test passes"
	}
	return []seen{s}
}

// ownTable is a figure that holds itself against its bars.
func ownTable(dir string, f figure) []seen {
	s := f.begin(dir)
	s.met, s.text = s.code == exitDone, "see "+f.name+".txt"
	var t struct {
		Rows []struct {
			Work      string `json:"work"`
			Held      *bool  `json:"held"`
			Bar       any    `json:"bar"`
			Bound     int    `json:"client_bound"`
			Disturbed int    `json:"disturbed"`
		} `json:"rows"`
	}
	b, err := os.ReadFile(filepath.Join(dir, f.name+".json"))
	if err != nil || json.Unmarshal(b, &t) != nil || len(t.Rows) == 0 {
		s.text = "it left no table"
		s.met = false
		return []seen{s}
	}
	held, all := 0, 0
	var not []string
	s.validity = string(load.Valid)
	for _, r := range t.Rows {
		if r.Bound > 0 || r.Disturbed > 0 {
			s.validity = fmt.Sprintf("%s: %s was CLIENT-BOUND in %d rounds, others used the machine in %d", load.Suspect, r.Work, r.Bound, r.Disturbed)
		}
		if r.Bar == nil {
			continue
		}
		if all++; r.Held != nil && *r.Held {
			held++
		} else {
			not = append(not, r.Work)
		}
	}
	s.text = fmt.Sprintf("%d of %d bars held", held, all)
	if len(not) > 0 {
		s.met = false
		s.text += ", not: " + strings.Join(not, ", ")
	}
	return []seen{s}
}

// peersTable is one row for each ratio that has a bar.
func peersTable(dir string, f figure) []seen {
	var t struct {
		Bars []struct {
			Updates int     `json:"updates"`
			Target  string  `json:"target"`
			Least   float64 `json:"least"`
			Held    *bool   `json:"held"`
			Ratio   *struct {
				Mean float64  `json:"mean"`
				Low  *float64 `json:"low"`
				High *float64 `json:"high"`
			} `json:"ratio"`
		} `json:"bars"`
		Rows []struct {
			Updates     int    `json:"updates"`
			Target      string `json:"target"`
			ClientBound int    `json:"client_bound"`
			Disturbed   int    `json:"disturbed"`
		} `json:"rows"`
	}
	s := f.begin(dir)
	b, err := os.ReadFile(filepath.Join(dir, f.name+".json"))
	if err == nil {
		err = json.Unmarshal(b, &t)
	}
	if err != nil || len(t.Bars) == 0 {
		s.text = "it left no table"
		return []seen{s}
	}
	var all []seen
	for _, bar := range t.Bars {
		one := s
		one.work = fmt.Sprintf("%s of %d updates, beside %s", f.work, bar.Updates, bar.Target)
		one.bar = fmt.Sprintf(">= %g times", bar.Least)
		one.text, one.validity = "not measured", string(load.Valid)
		one.met = bar.Held != nil && *bar.Held
		if bar.Ratio != nil {
			one.text = fmt.Sprintf("%.2f", bar.Ratio.Mean)
			if bar.Ratio.Low != nil && bar.Ratio.High != nil {
				one.text += fmt.Sprintf(" [%.2f, %.2f]", *bar.Ratio.Low, *bar.Ratio.High)
			}
		}
		for _, r := range t.Rows {
			if r.Updates != bar.Updates || r.Target != bar.Target && r.Target != "trackerd" {
				continue
			}
			if r.ClientBound > 0 || r.Disturbed > 0 {
				one.validity = fmt.Sprintf("%s: %s was CLIENT-BOUND in %d rounds, others used the machine in %d", load.Suspect, r.Target, r.ClientBound, r.Disturbed)
			}
		}
		all = append(all, one)
	}
	return all
}

// slowMost is how much worse the others' p99 may be for a slow viewer beside them.
const slowMost = 1.10

// slowViewer compares runs with and without a slow viewer, which took turns.
func slowViewer(dir string, f figure) []seen {
	s := f.begin(dir)
	var with, without []float64
	doubt := map[string]bool{}
	for round := 1; ; round++ {
		a, errA := readResult(dir, fmt.Sprintf("slow-without-%d", round))
		b, errB := readResult(dir, fmt.Sprintf("slow-with-%d", round))
		if errA != nil || errB != nil {
			break
		}
		x, ok := a.Latency["response"].Quantile("99")
		y, ok2 := b.Latency["response"].Quantile("99")
		if !ok || !ok2 || a.Failure != nil || b.Failure != nil {
			doubt[fmt.Sprintf("round %d gave no figure", round)] = true
			continue
		}
		without, with = append(without, x.Seconds()), append(with, y.Seconds())
		for _, r := range []*load.Result{a, b} {
			if r.Verdict.Validity != load.Valid {
				doubt[validity(r)] = true
			}
		}
	}
	if len(with) == 0 {
		s.text = "no round gave a figure"
		return []seen{s}
	}
	ratio := stat.Median(with) / stat.Median(without)
	s.text = fmt.Sprintf("p99 %.1f ms with it, %.1f ms without: %.3f, medians of %d rounds in turn", 1e3*stat.Median(with), 1e3*stat.Median(without), ratio, len(with))
	s.met = ratio <= slowMost
	s.validity = string(load.Valid)
	for why := range doubt {
		s.validity = string(load.Suspect) + ": " + strings.TrimPrefix(why, string(load.Suspect)+": ")
	}
	return []seen{s}
}
