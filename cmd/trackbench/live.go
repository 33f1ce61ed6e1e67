package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"

	"golang.org/x/term"

	"tracker/pkg/load"
)

// live tells how a run goes while it runs. On a terminal one line is drawn over again,
// up to five times a second, below a plain line for each interval; elsewhere there are
// only the plain lines. It writes to standard error: standard output is for the result.
//
// Scenarios call its methods from any goroutine.
type live struct {
	mu     sync.Mutex
	w      io.Writer
	quiet  bool
	redraw bool
	width  int
	lines  int
	drawn  bool      // a status line stands on the screen
	last   time.Time // it was drawn
	now    func() time.Time
	prom   *prom
}

// leastRedraw is the time between two drawings: five a second are smooth enough, and
// cost nothing.
const leastRedraw = 200 * time.Millisecond

// live begins to show a run. Its close ends that.
func (b *bench) live(f *runFlags) (*live, error) {
	l := &live{w: b.err, quiet: f.quiet, now: time.Now}
	if file, ok := b.err.(*os.File); ok && !f.noTTY && !f.quiet && os.Getenv("TERM") != "dumb" && term.IsTerminal(int(file.Fd())) {
		l.redraw, l.width = true, 80
		if w, _, err := term.GetSize(int(file.Fd())); err == nil && w > 0 {
			l.width = w
		}
	}
	if f.promListen != "" {
		p, err := servePrometheus(f.promListen)
		if err != nil {
			return nil, fail(exitUsage, "", "--prom-listen: %w", err)
		}
		l.prom = p
	}
	return l, nil
}

// close takes the status line away; what was printed stays.
func (l *live) close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.wipe()
	l.prom.close()
}

// Phase tells what begins.
func (l *live) Phase(name string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.quiet {
		return
	}
	l.wipe()
	fmt.Fprintf(l.w, "trackbench: %s\n", name)
}

// everyHeader is after how many lines the names of the columns come again.
const everyHeader = 20

// Tick tells an interval.
func (l *live) Tick(t load.Tick) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.prom.set(t)
	if l.quiet {
		return
	}
	l.wipe()
	if l.lines%everyHeader == 0 {
		fmt.Fprintln(l.w, columns)
	}
	l.lines++
	fmt.Fprintln(l.w, row(t))
}

// Glance tells how it goes between two ticks; on a terminal only, and not too often.
func (l *live) Glance(t load.Tick) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.prom.set(t)
	if !l.redraw || l.now().Sub(l.last) < leastRedraw {
		return
	}
	l.last = l.now()
	s := row(t)
	if n := l.width - 1; len(s) > n { // it must not wrap, or it could not be drawn over
		s = s[:n]
	}
	fmt.Fprintf(l.w, "\r\x1b[K%s", s)
	l.drawn = true
}

// wipe takes the status line away. Caller holds mu.
func (l *live) wipe() {
	if l.drawn {
		fmt.Fprint(l.w, "\r\x1b[K")
		l.drawn = false
	}
}

var columns = fmt.Sprintf("%8s %11s %11s %10s %8s %8s %7s %8s %8s %8s %8s", "time", "sent", "received", "per s", "p50", "p99", "late", "waiting", "cli-cpu", "srv-cpu", "lost")

// row is one interval; what a scenario does not measure is a dash.
func row(t load.Tick) string {
	known := func(ok bool, s string) string {
		if !ok {
			return "-"
		}
		return s
	}
	note := ""
	if t.Warming {
		note = "  warming up"
	}
	return strings.TrimRight(fmt.Sprintf("%7.1fs %11d %11s %10s %8s %8s %7d %8d %7.0f%% %8s %8s%s",
		t.At.Seconds(), t.Sent, known(t.Received > 0 || t.P50 > 0, fmt.Sprint(t.Received)), strings.TrimSuffix(perSecond(t.Rate), "/s"),
		known(t.P50 > 0, millis(t.P50)), known(t.P99 > 0, millis(t.P99)), t.Late, t.Queued, 100*t.ClientCPU,
		known(t.Server > 0, fmt.Sprintf("%.0f%%", 100*t.Server)), known(t.Lost > 0, fmt.Sprint(t.Lost)), note), " ")
}

func millis(d time.Duration) string { return fmt.Sprintf("%.1fms", float64(d)/1e6) }
