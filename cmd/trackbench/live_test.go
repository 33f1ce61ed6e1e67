package main

import (
	"bytes"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"tracker/pkg/load"
)

// clocked is a display whose clock stands until it is moved.
func clocked(redraw bool) (l *live, screen *bytes.Buffer, at *time.Time) {
	now := time.Unix(1000, 0)
	screen = &bytes.Buffer{}
	return &live{w: screen, redraw: redraw, width: 200, now: func() time.Time { return now }}, screen, &now
}

func TestTheStatusLineIsDrawnFiveTimesASecondAtMost(t *testing.T) {
	l, screen, now := clocked(true)
	for range 1000 { // one second
		l.Glance(load.Tick{Sent: 5})
		*now = now.Add(time.Millisecond)
	}
	if n := strings.Count(screen.String(), "\r"); n != 5 {
		t.Errorf("it was drawn %d times in a second", n)
	}
	if strings.Contains(screen.String(), "\n") {
		t.Error("it moved on to another line")
	}
	screen.Reset()
	l.Tick(load.Tick{Sent: 7, Rate: 7})
	if s := screen.String(); !strings.HasPrefix(s, "\r\x1b[K") || !strings.HasSuffix(s, "\n") {
		t.Errorf("a line was written over the status line: %q", s)
	}
	screen.Reset()
	l.width = 20
	*now = now.Add(time.Second)
	l.Glance(load.Tick{Sent: 5})
	if line := strings.TrimPrefix(screen.String(), "\r\x1b[K"); len(line) != 19 {
		t.Errorf("%q wraps on a screen of 20", line)
	}
}

func TestWithoutATerminalThereArePlainLines(t *testing.T) {
	l, screen, _ := clocked(false)
	l.Phase("measuring")
	l.Glance(load.Tick{Sent: 5})
	for i := range everyHeader + 1 {
		l.Tick(load.Tick{At: time.Duration(i) * time.Second, Sent: 5, Received: 4, Rate: 12_345, P50: 3 * time.Millisecond, ClientCPU: 0.5})
	}
	l.close()
	s := screen.String()
	if strings.ContainsAny(s, "\r\x1b") {
		t.Errorf("it has control characters: %q", s)
	}
	if n := strings.Count(s, "time "); n != 2 {
		t.Errorf("the columns are named %d times in %d lines", n, everyHeader+1)
	}
	if !strings.Contains(s, "12.3 k") || !strings.Contains(s, "3.0ms") || !strings.Contains(s, "50%") || !strings.Contains(s, "trackbench: measuring\n") {
		t.Error(s)
	}
	l, screen, _ = clocked(false)
	l.quiet = true
	l.Phase("measuring")
	l.Tick(load.Tick{})
	if screen.Len() != 0 {
		t.Errorf("it is not quiet: %q", screen)
	}
}

func TestColourIsOnlyForThoseWhoWantIt(t *testing.T) {
	t.Setenv("NO_COLOR", "")
	for when, want := range map[string]bool{"always": true, "never": false, "auto": false} { // a buffer is no terminal
		if got := colourful(when, &bytes.Buffer{}); got != want {
			t.Errorf("%s: %v", when, got)
		}
	}
	t.Setenv("NO_COLOR", "1")
	var out bytes.Buffer
	b := &bench{out: &out, err: io.Discard}
	if err := b.conclude(load.NewResult("x", "y"), &runFlags{color: "auto"}); err != nil {
		t.Fatal(err)
	}
	if strings.Contains(out.String(), "\x1b") {
		t.Errorf("%q", &out)
	}
}

func TestPrometheusReadsTheRunWhileItRuns(t *testing.T) {
	p, err := servePrometheus("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p.set(load.Tick{AllSent: 42, P99: 5 * time.Millisecond, ClientCPU: 0.25})
	resp, err := http.Get("http://" + p.addr + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(resp.Body)
	_ = resp.Body.Close()
	http.DefaultClient.CloseIdleConnections()
	if err != nil || !strings.HasPrefix(resp.Header.Get("Content-Type"), "text/plain; version=0.0.4") {
		t.Errorf("%v %v", err, resp.Header)
	}
	for _, want := range []string{"\ntrackbench_sent_total 42\n", "\ntrackbench_latency_p99_seconds 0.005\n", "# TYPE trackbench_client_cores gauge\ntrackbench_client_cores 0.25\n"} {
		if !strings.Contains(string(body), want) {
			t.Errorf("no %q in %s", want, body)
		}
	}
	p.close()
	if _, err := http.Get("http://" + p.addr + "/metrics"); err == nil {
		t.Error("it is served on after the run")
	}
	if _, err := (&bench{err: io.Discard}).live(&runFlags{promListen: "nowhere"}); err == nil || !strings.Contains(err.Error(), "--prom-listen") {
		t.Errorf("got %v", err)
	}
}

// The figures of a client that was the limit are told as what they are.
func TestAClientThatWasTheLimitIsToldAsSuch(t *testing.T) {
	r := load.NewResult("x", "rpc")
	r.Rates["answered_per_s"], r.Rates["offered_per_s"] = 812_345, 900_000
	r.Calibration.NullCeiling, r.Calibration.FractionUsed, r.DurationNS = 9e5, 0.9, 1e9
	r.Verdict.Warn("W01", load.Doubt, nil, "CLIENT-BOUND: …")
	var out bytes.Buffer
	if err := (&bench{out: &out, err: io.Discard}).conclude(r, &runFlags{color: "never"}); err != nil {
		t.Error(err)
	}
	for _, want := range []string{"result  SUSPECT  CLIENT-BOUND", "900 k/s offered, >= 812 k/s answered", "its ceiling on this machine is 900 k/s (90 % used)"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q in\n%s", want, &out)
		}
	}
}

func TestHowARunEnds(t *testing.T) {
	for name, tc := range map[string]struct {
		strict bool
		edit   func(*load.Result)
		limit  string
		want   int
	}{
		"well":                       {want: exitDone},
		"a threshold is missed":      {limit: "rate>1", want: exitThreshold},
		"a threshold is met":         {limit: "errors<1", want: exitDone},
		"suspect":                    {edit: func(r *load.Result) { r.Verdict.Warn("W07", load.Doubt, nil, "x") }, want: exitDone},
		"suspect and strict":         {strict: true, edit: func(r *load.Result) { r.Verdict.Warn("W07", load.Doubt, nil, "x") }, want: exitInvalid},
		"invalid":                    {edit: func(r *load.Result) { r.Verdict.Warn("W22", load.Ruin, nil, "x") }, want: exitInvalid},
		"invalid and a threshold":    {limit: "rate>1", edit: func(r *load.Result) { r.Verdict.Warn("W22", load.Ruin, nil, "x") }, want: exitInvalid},
		"incorrect, and invalid":     {edit: func(r *load.Result) { r.Fail(load.Incorrect, "", "x"); r.Verdict.Warn("W22", load.Ruin, nil, "x") }, want: exitIncorrect},
		"the target died":            {edit: func(r *load.Result) { r.Fail(load.TargetGone, "", "x"); r.Partial = true }, want: exitUnreachable},
		"interrupted":                {limit: "rate>1", edit: func(r *load.Result) { r.Partial = true }, want: exitInterrupted},
		"interrupted, and incorrect": {edit: func(r *load.Result) { r.Partial = true; r.Fail(load.Incorrect, "", "x") }, want: exitIncorrect},
		"unsound":                    {edit: func(r *load.Result) { r.Counts.Lost = 1 }, want: exitInternal},
	} {
		r := load.NewResult("x", "y")
		if tc.edit != nil {
			tc.edit(r)
		}
		f := &runFlags{color: "never", strict: tc.strict}
		if tc.limit != "" {
			limit, err := load.ParseThreshold(tc.limit)
			if err != nil {
				t.Fatal(err)
			}
			f.limits = append(f.limits, limit)
		}
		var out, errs bytes.Buffer
		b := &bench{out: &out, err: &errs}
		code := exitDone
		if err := b.conclude(r, f); err != nil {
			code = b.report(err)
		}
		if code != tc.want {
			t.Errorf("%s: code %d, want %d: %s%s", name, code, tc.want, &out, &errs)
		}
		if tc.want == exitInternal && out.Len() > 0 {
			t.Errorf("figures that do not add up were told: %s", &out)
		}
	}
}

func TestFiguresAreEasyToRead(t *testing.T) {
	for n, want := range map[int64]string{0: "0", 999: "999", 1000: "1 000", 100_000_000: "100 000 000", -1234: "-1 234"} {
		if got := count(n); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	for v, want := range map[float64]string{0.5: "0.5/s", 200: "200/s", 9994: "9994/s", 20_100: "20.1 k/s", 999_499: "999 k/s", 1e6: "1 M/s"} {
		if got := perSecond(v); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}
