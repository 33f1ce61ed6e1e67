package peers

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"tracker/pkg/load"
)

// Print tells the table to people: the machine first, then the rows.
func (t *Table) Print(w io.Writer) error {
	t.printHead(w)
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(tw, "work\tmedian\tmin-max\tserver\tbar\tratio\tbar is\t")
	for _, r := range t.Rows {
		fmt.Fprintln(tw, strings.Join(r.cells(), "\t")+"\t")
	}
	if err := tw.Flush(); err != nil {
		return err
	}
	fmt.Fprintln(w, "server: CPU of the server a call; ratio: median of the rounds' own, each between neighbours in time")
	t.note(w, "client was the limit, the server can do at least this", func(r *Row) int { return r.ClientBound })
	t.note(w, "others used the machine meanwhile", func(r *Row) int { return r.Disturbed })
	if t.Quick {
		fmt.Fprintln(w, "note: --quick: too short to mean anything")
	}
	open := 0
	for _, r := range t.Rows {
		if r.Bar != nil && r.Held == nil {
			open++
		}
	}
	_, err := fmt.Fprintf(w, "%d bars missed, %d not measured\n", len(t.Missed()), open)
	return err
}

// note lists the works, not what else was found out by them, that something is true of.
func (t *Table) note(w io.Writer, text string, rounds func(*Row) int) {
	var works []string
	for _, r := range t.Rows {
		if n := rounds(r); n > 0 && !strings.HasPrefix(r.Work, " ") {
			works = append(works, fmt.Sprintf("%s (%d of %d rounds)", r.Work, n, len(r.Values)))
		}
	}
	if len(works) > 0 {
		fmt.Fprintf(w, "note: %s: %s\n", text, strings.Join(works, "; "))
	}
}

func (t *Table) printHead(w io.Writer) {
	fmt.Fprintf(w, "trackbench %s  rpc table  %s\n", t.Tool.Version, t.Started.UTC().Format("2006-01-02 15:04 UTC"))
	fmt.Fprintf(w, "machine  %s\n", MachineOf(&t.Env, t.Tool))
	fmt.Fprintf(w, "how      %s; loopback; closed loop; one connection unless said\n", t.Seats)
	partial := ""
	if t.Partial {
		partial = "  PARTIAL: interrupted"
	}
	fmt.Fprintf(w, "rounds   %d of %d ms each, after %d ms of warm-up%s\n", t.Rounds, t.DurationNS/1e6, t.WarmupNS/1e6, partial)
	redis := "Redis " + t.Peers["redis"]
	if why, absent := t.Absent["redis"]; absent {
		redis = "no Redis: " + why
	}
	fmt.Fprintf(w, "peers    grpc-go %s, one connection; %s\n\n", t.Peers["grpc-go"], redis)
}

// MachineOf is what is known of the machine, in one line.
func MachineOf(e *load.Env, tool load.Tool) string {
	facts := []string{e.CPU, fmt.Sprintf("%d cores", e.Cores), e.OS, e.Kernel, e.Virt, tool.Go}
	if e.StealPct != nil {
		facts = append(facts, fmt.Sprintf("%.1f %% stolen", *e.StealPct))
	}
	if e.PSI != nil {
		facts = append(facts, fmt.Sprintf("CPU pressure %.0f %%", *e.PSI))
	}
	return strings.Join(Told(facts), ", ")
}

// Told leaves out what a system does not tell.
func Told(facts []string) (list []string) {
	for _, f := range facts {
		if f != "" {
			list = append(list, f)
		}
	}
	return list
}

func (r *Row) cells() []string {
	none := []string{r.Work, "-", "-", "-", "-", "-", ""}
	if r.Bar != nil {
		none[4] = r.Bar.text(r.Unit)
	}
	if r.Median == nil {
		none[6] = "not measured"
		return none
	}
	cells := none
	cells[1] = r.Unit.Text(*r.Median)
	cells[2] = r.Unit.Text(*r.Min) + " - " + r.Unit.Text(*r.Max)
	if r.ServerNS != nil {
		cells[3] = fmt.Sprintf("%.0f ns", *r.ServerNS)
	}
	if r.Ratio != nil {
		cells[5] = fmt.Sprintf("%.3gx %s", *r.Ratio, r.RatioOf)
		if *r.Ratio >= 100 {
			cells[5] = fmt.Sprintf("%.0fx %s", *r.Ratio, r.RatioOf)
		}
	}
	if r.Held != nil {
		cells[6] = map[bool]string{true: "held", false: "MISSED"}[*r.Held]
	}
	return cells
}
