package trend

import (
	"math"
	"math/rand/v2"
	"strings"
	"testing"
)

// history is a run a day; figure tells what the i-th of them measured.
func history(n int, edit func(i int, rnd *rand.Rand, l *Line)) []Line {
	rnd := rand.New(rand.NewPCG(21, 5))
	lines := make([]Line, n)
	for i := range lines {
		lines[i] = line(i)
		lines[i].Series["rpc.cpu"] = Value{500 * math.Exp(0.02*rnd.NormFloat64()), "ns/call", 12}
		edit(i, rnd, &lines[i])
	}
	return lines
}

// times moves a figure of a line.
func times(series map[string]Value, name string, ratio float64) {
	v := series[name]
	v.Value *= ratio
	series[name] = v
}

// only is the one change of the one series.
func only(t *testing.T, lines []Line) Change {
	t.Helper()
	m := Look(lines, Options{})
	if len(m) != 1 || len(m[0].Series) != 1 || len(m[0].Series[0].Changes) != 1 {
		t.Fatalf("%d machines, %+v", len(m), m[0].Series[0].Changes)
	}
	return m[0].Series[0].Changes[0]
}

func TestAChangeTellsItsCommits(t *testing.T) {
	c := only(t, history(40, func(i int, _ *rand.Rand, l *Line) {
		if i >= 25 {
			times(l.Series, "rpc.cpu", 1.2)
		}
	}))
	if c.Last.Commit != "c0024" || c.First.Commit != "c0025" || c.Since.Commit > "c0024" || c.Until.Commit < "c0025" {
		t.Errorf("between %+v and %+v, or %+v and %+v", c.Last, c.First, c.Since, c.Until)
	}
	if c.At != 25 || c.Before != 25 || c.After != 15 || c.Says != "worse" || c.Machine || math.Abs(*c.Ratio-1.2) > 0.03 || c.Confidence < 0.99 || c.Notes != nil {
		t.Errorf("%+v", c)
	}
}

func TestARateThatFallsIsWorse(t *testing.T) {
	for ratio, want := range map[float64]string{0.8: "worse", 1.25: "better"} {
		c := only(t, history(40, func(i int, _ *rand.Rand, l *Line) {
			v := l.Series["rpc.cpu"]
			l.Series = map[string]Value{"rpc.answered": {v.Value, "/s", 1}}
			if i >= 20 {
				times(l.Series, "rpc.answered", ratio)
			}
		}))
		if c.Says != want {
			t.Errorf("%g: %s", ratio, c.Says)
		}
	}
}

// Where the null server moved too, in whatever way it tells that, the machine did it;
// where it stood still, moved a little or in the other direction, the code did.
func TestTheNullServerTellsTheMachine(t *testing.T) {
	for name, tt := range map[string]struct {
		unit    string
		by      float64
		machine bool
		note    string
	}{
		"as much":           {"ns/call", 1.2, true, "the null server moved too, by +2"},
		"fewer a second":    {"/s", 1 / 1.2, true, "the null server moved too, by -1"},
		"not at all":        {"ns/call", 1, false, ""},
		"a little":          {"ns/call", 1.05, false, "moved the same way, but by +"},
		"the other way":     {"ns/call", 1 / 1.2, false, ""},
		"more a second":     {"/s", 1.2, false, ""},
		"as much, one wild": {"ns/call", 1.21, true, "it is the machine"},
	} {
		c := only(t, history(40, func(i int, rnd *rand.Rand, l *Line) {
			l.Canary = map[string]Value{"null server": {90 * math.Exp(0.02*rnd.NormFloat64()), tt.unit, 12}}
			if i >= 25 {
				times(l.Series, "rpc.cpu", 1.2)
				times(l.Canary, "null server", tt.by)
			}
			if i == 5 && strings.Contains(name, "wild") {
				times(l.Canary, "null server", 3)
			}
		}))
		if c.Machine != tt.machine || tt.note == "" && c.Notes != nil || !strings.Contains(strings.Join(c.Notes, "\n"), tt.note) {
			t.Errorf("%s: machine %v, %q", name, c.Machine, c.Notes)
		}
	}
}

// A gate's base that is the same build all the time is a null server, too; one that is
// another build each time is none.
func TestAnUnchangedBaseTellsTheMachine(t *testing.T) {
	for _, same := range []bool{true, false} {
		c := only(t, history(40, func(i int, rnd *rand.Rand, l *Line) {
			l.Base = &Base{Commit: "release", Series: map[string]Value{"rpc.cpu": {490 * math.Exp(0.02*rnd.NormFloat64()), "ns/call", 12}}}
			if !same {
				l.Base.Commit = l.Commit
			}
			if i >= 25 {
				times(l.Series, "rpc.cpu", 1.2)
				times(l.Base.Series, "rpc.cpu", 1.2)
			}
		}))
		if c.Machine != same {
			t.Errorf("same base %v: machine %v, %q", same, c.Machine, c.Notes)
		}
	}
}

func TestTheSameBuildOnBothSidesIsNotTheCode(t *testing.T) {
	c := only(t, history(40, func(i int, _ *rand.Rand, l *Line) {
		l.Commit = "one"
		if i >= 25 {
			times(l.Series, "rpc.cpu", 1.2)
		}
	}))
	if !c.Machine || len(c.Notes) != 1 || !strings.Contains(c.Notes[0], "the same build") {
		t.Errorf("%+v", c)
	}
}

// Another machine, another setting or another unit is a series of its own, never a change.
func TestAnotherMachineIsNoChange(t *testing.T) {
	for name, other := range map[string]func(l *Line){
		"machine": func(l *Line) { l.Fingerprint = "sha256:bb" },
		"setting": func(l *Line) { l.Setting = "GOGC=400" },
		"kind":    func(l *Line) { l.Kind = "other" },
		"unit":    func(l *Line) { l.Series["rpc.cpu"] = Value{l.Series["rpc.cpu"].Value, "us/call", 12} },
	} {
		n := 0
		for _, m := range Look(history(40, func(i int, _ *rand.Rand, l *Line) {
			if i >= 20 {
				times(l.Series, "rpc.cpu", 2)
				other(l)
			}
		}), Options{}) {
			for _, s := range m.Series {
				n++
				if len(s.Points) != 20 || len(s.Changes) != 0 {
					t.Errorf("%s: %d points, %+v", name, len(s.Points), s.Changes)
				}
			}
		}
		if n != 2 {
			t.Errorf("%s: %d series", name, n)
		}
	}
}

func TestACostThatWasNothingChangesToSomething(t *testing.T) {
	c := only(t, history(30, func(i int, _ *rand.Rand, l *Line) {
		l.Series["rpc.cpu"] = Value{0, "writes/call", 3}
		if i >= 20 {
			l.Series["rpc.cpu"] = Value{1, "writes/call", 3}
		}
	}))
	if c.At != 20 || c.Ratio != nil || c.From != 0 || c.To != 1 || c.Says != "worse" {
		t.Errorf("%+v", c)
	}
}

func TestAChangeTooSmallToMatterIsNotTold(t *testing.T) {
	lines := history(40, func(i int, _ *rand.Rand, l *Line) {
		l.Series["rpc.cpu"] = Value{500 + float64(i%3)/100, "bytes/call", 3}
		if i >= 20 {
			times(l.Series, "rpc.cpu", 1.005)
		}
	})
	if c := Look(lines, Options{})[0].Series[0].Changes; len(c) != 0 {
		t.Errorf("%+v", c)
	}
}

func TestHistoriesOfNearlyNothing(t *testing.T) {
	if m := Look(nil, Options{}); len(m) != 0 {
		t.Errorf("%+v", m)
	}
	for n := 1; n < 8; n++ {
		m := Look(history(n, func(i int, _ *rand.Rand, l *Line) { l.Series["rpc.cpu"] = Value{float64(i * i), "", 0} }), Options{})
		if len(m) != 1 || len(m[0].Series[0].Points) != n || len(m[0].Series[0].Changes) != 0 {
			t.Errorf("%d runs: %+v", n, m)
		}
	}
}

func TestMetricsAreChosenByNameOrPattern(t *testing.T) {
	l := line(0)
	l.Series = map[string]Value{"rpc.cpu": {1, "", 0}, "rpc.p50": {1, "", 0}, "fanout.cpu": {1, "", 0}}
	for pattern, want := range map[string]int{"rpc.cpu": 1, "rpc.*": 2, "*.cpu": 2, "*": 3, "none": 0, "rpc": 0} {
		if m := Look([]Line{l}, Options{Metrics: []string{pattern}}); len(m[0].Series) != want {
			t.Errorf("%s: %d", pattern, len(m[0].Series))
		}
	}
}

// Runs are put in order by their time: files may have been joined.
func TestLinesNeedNotBeInOrder(t *testing.T) {
	lines := history(40, func(i int, _ *rand.Rand, l *Line) {
		if i >= 25 {
			times(l.Series, "rpc.cpu", 1.2)
		}
	})
	rand.New(rand.NewPCG(1, 1)).Shuffle(len(lines), func(i, j int) { lines[i], lines[j] = lines[j], lines[i] })
	if c := only(t, lines); c.First.Commit != "c0025" {
		t.Errorf("%+v", c)
	}
}
