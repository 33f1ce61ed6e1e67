package broadcast

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"tracker/pkg/load/peers"
)

// Print tells the table to people: the machine and the servers first.
func (t *Table) Print(w io.Writer) error {
	t.printHead(w)
	last := 0
	var tw *tabwriter.Writer
	for _, r := range t.Rows {
		if r.Updates != last {
			if tw != nil {
				_ = tw.Flush()
			}
			manner := "at once"
			if t.Spread {
				manner = "one by one"
			}
			fmt.Fprintf(w, "\n%d a burst, %s, %d viewers, %d bursts a second\n", r.Updates, manner, t.Viewers, t.Bursts)
			tw = tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
			fmt.Fprintln(tw, strings.Join(columns, "\t")+"\t")
			last = r.Updates
		}
		fmt.Fprintln(tw, strings.Join(r.cells(), "\t")+"\t")
	}
	if tw != nil {
		_ = tw.Flush()
	}
	fmt.Fprintln(w)
	t.printNotes(w)
	return t.printBars(w)
}

var columns = []string{"target", "deliveries/s", "per server core", "trackerd to it", "95 %", "n", "server s/M", "client s/M", "RSS MB", "B each", "reads/burst", "p50", "p99", "sent"}

func (r *Row) cells() []string {
	c := make([]string, len(columns))
	for i := range c {
		c[i] = "-"
	}
	c[0] = r.Target
	figure := func(at int, v *float64, format string, scale float64) {
		if v != nil {
			c[at] = fmt.Sprintf(format, *v/scale)
		}
	}
	figure(1, r.Rate, "%.3f M", 1e6)
	figure(2, r.PerCore, "%.3f M", 1e6)
	if r.Ratio != nil {
		c[3], c[5] = times(r.Ratio.Mean), fmt.Sprint(r.Ratio.N)
		if r.Ratio.Low != nil {
			c[4] = times(*r.Ratio.Low) + " - " + times(*r.Ratio.High)
		}
	}
	figure(6, r.ServerCPU, "%.3f", 1)
	figure(7, r.ClientCPU, "%.3f", 1)
	figure(8, r.RSS, "%.1f", 1e6)
	figure(9, r.Bytes, "%.1f", 1)
	figure(10, r.Reads, "%.2f", 1)
	for i, q := range []string{"50", "99"} {
		if d, ok := r.Latency.Quantile(q); ok {
			c[11+i] = brief(d)
		}
	}
	if r.Planned > 0 {
		c[13] = fmt.Sprintf("%.0f %%", 100*float64(r.Sent)/float64(r.Planned))
	}
	return c
}

func times(v float64) string { return fmt.Sprintf("%.3gx", v) }

func brief(d time.Duration) string {
	switch {
	case d >= time.Second:
		return fmt.Sprintf("%.2f s", d.Seconds())
	case d >= 10*time.Millisecond:
		return fmt.Sprintf("%.0f ms", float64(d)/1e6)
	}
	return fmt.Sprintf("%.1f ms", float64(d)/1e6)
}

func (t *Table) printHead(w io.Writer) {
	fmt.Fprintf(w, "trackbench %s  peers  %s\n", t.Tool.Version, t.Started.UTC().Format("2006-01-02 15:04 UTC"))
	fmt.Fprintf(w, "machine  %s\n", peers.MachineOf(&t.Env, t.Tool))
	fmt.Fprintf(w, "how      %s; loopback, plain TCP; messages of %d bytes, %d bursts under way at most\n", t.Seats, t.Payload, t.Window)
	partial := ""
	if t.Partial {
		partial = "  PARTIAL: interrupted"
	}
	fmt.Fprintf(w, "rounds   %d of %v each, after %v of warm-up, in random order, seed %d%s\n", t.Rounds, time.Duration(t.DurationNS), time.Duration(t.WarmupNS), t.Seed, partial)
	for _, f := range t.Targets {
		if f.Absent != "" {
			fmt.Fprintf(w, "%-15s  skipped: %s\n", f.Name, f.Absent)
			continue
		}
		fmt.Fprintf(w, "%-15s  %s\n", f.Name, strings.Join(peers.Told([]string{f.Version, strings.Join(f.Settings, ", "), f.Promise}), "; "))
	}
}

// busyIdle is how much of a processor a server may use that is not measured.
const busyIdle = 0.01

func (t *Table) printNotes(w io.Writer) {
	fmt.Fprintln(w, "per server core: deliveries a second of the server's CPU time; s/M: CPU seconds a million deliveries; p50, p99: from when a burst was due")
	note := func(text string, rounds func(*Row) int) {
		var rows []string
		for _, r := range t.Rows {
			if n := rounds(r); n > 0 {
				rows = append(rows, fmt.Sprintf("%s at %d (%d)", r.Target, r.Updates, n))
			}
		}
		if len(rows) > 0 {
			fmt.Fprintf(w, "note: %s: %s\n", text, strings.Join(rows, "; "))
		}
	}
	note("client was the limit, rounds", func(r *Row) int { return r.ClientBound })
	note("others used the machine meanwhile, rounds", func(r *Row) int { return r.Disturbed })
	note("could not be sent in time, bursts", func(r *Row) int { return int(r.Planned - r.Sent) })
	note("lost, doubled or out of order, deliveries", func(r *Row) int { return int(r.Lost + r.Duplicate + r.OutOfOrder) })
	for _, r := range t.Rows {
		for _, why := range r.Failed {
			fmt.Fprintf(w, "note: %s at %d failed: %s\n", r.Target, r.Updates, why)
		}
	}
	for _, f := range t.Targets {
		if f.IdleCPU >= busyIdle {
			fmt.Fprintf(w, "note: %s used up to %.1f %% of a processor while others were measured\n", f.Name, 100*f.IdleCPU)
		}
	}
	if t.Spread {
		fmt.Fprintln(w, "note: --spread: messages came one by one, but for the bare loop, which writes whole bursts")
	}
	if t.Quick {
		fmt.Fprintln(w, "note: --quick: too short to mean anything")
	}
}

func (t *Table) printBars(w io.Writer) error {
	for _, b := range t.Bars {
		is, value := "not measured", "-"
		if b.Held != nil {
			is = map[bool]string{true: "held", false: "MISSED"}[*b.Held]
			value = times(b.Ratio.Mean)
		}
		fmt.Fprintf(w, "bar  %3d a burst  trackerd to %-6s  >= %-5s  %-6s  %s\n", b.Updates, b.Target, times(b.Least), value, is)
	}
	_, err := fmt.Fprintf(w, "%d bars missed, %d not measured\n", len(t.Missed()), len(t.Open()))
	return err
}
