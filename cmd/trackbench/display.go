package main

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"tracker/pkg/client"
	"tracker/pkg/load"
)

// display tells people how a run goes: a header, a line an interval, and the result.
type display struct {
	*bench
	quiet bool
	watch bool
	lines int
}

func (d *display) header(f *ingestFlags, conn *client.Conn, p *plan) {
	fmt.Fprintf(d.out, "trackbench %s  ingest  rate=%s duration=%v devices=%d conns=%d seed=%d  target %s\n",
		version, f.rate, f.duration, p.devices, f.conns, f.seed, conn.Server())
}

func (d *display) phase(name string) {
	if !d.quiet {
		fmt.Fprintf(d.err, "trackbench: %s\n", name)
	}
}

// everyHeader is after how many lines the names of the columns come again.
const everyHeader = 20

func (d *display) tick(t load.Tick) {
	if d.quiet {
		return
	}
	if d.lines%everyHeader == 0 {
		fmt.Fprintf(d.out, "%7s %9s %9s %9s %9s %8s %8s %8s\n", "time", "sent", "received", "p50", "p99", "late", "queued", "cli-cpu")
	}
	d.lines++
	received, p50, p99 := "-", "-", "-"
	if d.watch {
		received, p50, p99 = fmt.Sprint(t.Received), millis(t.P50), millis(t.P99)
	}
	fmt.Fprintf(d.out, "%6.1fs %9d %9s %9s %9s %8d %8d %7.0f%%\n",
		t.At.Seconds(), t.Sent, received, p50, p99, t.Late, t.Queued, 100*t.ClientCPU)
}

func millis(d time.Duration) string {
	if d == 0 {
		return "n/a"
	}
	return fmt.Sprintf("%.1fms", float64(d)/1e6)
}

func (d *display) result(r *load.Result) {
	w, c := d.out, &r.Counts
	partial := ""
	if r.Partial {
		partial = "  PARTIAL: interrupted"
	}
	fmt.Fprintf(w, "result  %s%s\n", r.Verdict.Validity, partial)
	fmt.Fprintf(w, "  accepted   %d of %d sent (%d planned), %d lost%s\n", c.Accepted, c.Sent, c.Planned, c.Lost, reasons(c.Dropped))
	fmt.Fprintf(w, "  rate       %.0f/s offered, %.0f/s sent, %.0f/s accepted\n",
		r.Rates["offered_per_s"], r.Rates["achieved_per_s"], r.Rates["accepted_per_s"])
	if v := c.Deliveries; v != nil {
		fmt.Fprintf(w, "  delivered  %d of %d, %d lost, %d duplicate, %d out of order, %.1f fixes a frame\n",
			v.Received, v.Expected, v.Lost, v.Duplicate, v.OutOfOrder, float64(v.Received)/float64(max(1, v.Frames)))
		fmt.Fprintf(w, "  latency    from the moment due   %v\n", r.Latency["response"])
		fmt.Fprintf(w, "             from actual send      %v\n", r.Latency["service"])
	}
	fmt.Fprintf(w, "  send lag   %v\n", r.Latency["send_lag"])
	took := time.Duration(r.DurationNS).Seconds()
	fmt.Fprintf(w, "  client     %.2f cores, %d MB\n", r.Resources.Client.CPUSeconds/took, r.Resources.Client.RSS>>20)
	if s := r.Resources.Server; s != nil {
		fmt.Fprintf(w, "  server     %.2f cores, %d MB, %.2f us CPU per fix\n", s.CPUSeconds/took, s.RSS>>20, 1e6*s.CPUSeconds/float64(max(1, c.Accepted)))
	}
	printWarnings(w, r.Verdict.Warnings)
}

func printWarnings(w io.Writer, list []load.Warning) {
	for i, x := range list {
		label := "notes "
		if i > 0 {
			label = ""
		}
		fmt.Fprintf(w, "%-7s %s %s\n", label, x.ID, x.Text)
	}
}

func reasons(dropped map[string]int64) string {
	var parts []string
	for _, name := range slices.Sorted(maps.Keys(dropped)) {
		parts = append(parts, fmt.Sprintf("%s %d", name, dropped[name]))
	}
	if len(parts) == 0 {
		return ""
	}
	return " (server dropped: " + strings.Join(parts, ", ") + ")"
}
