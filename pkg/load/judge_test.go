package load

import (
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"
)

// times is a summary of n durations of each given length.
func times(n int, all ...time.Duration) *Summary {
	r := NewRecorder()
	for _, d := range all {
		for range n {
			r.Record(d)
		}
	}
	s := r.Summary()
	return &s
}

const ms = time.Millisecond

// clean is a run that nothing is held against but that it went over loopback.
func clean() Evidence {
	return Evidence{
		Env: Env{Cores: 2, GoMaxProcs: 2}, Took: 10 * time.Second, Client: ClientUsage{CPUSeconds: 4}, Hiccup: *times(5000, 60*time.Microsecond),
		Plan: Constant(1000), Offered: 1000, Achieved: 1000, Sent: 10_000, MostInMS: 3,
		Latency: times(5000, 2*ms, 3*ms), Service: times(5000, 2*ms, 3*ms), Intervals: course10(nil), Loopback: true,
	}
}

// course10 is a course of ten intervals of 3 ms each, as edit leaves them.
func course10(edit func(i int, iv *Interval)) (out []Interval) {
	for i := range 10 {
		iv := Interval{TNS: int64(i) * 1e9, LenNS: 1e9, Sent: 1000, Received: 1000, HDR: times(1000, 3*ms).HDR}
		if edit != nil {
			edit(i, &iv)
		}
		out = append(out, iv)
	}
	return out
}

func number64(n int64) *int64 { return &n }

// Each known mistake is provoked, and is then the only one that is found.
func TestEachMistakeIsNoticed(t *testing.T) {
	pct := func(v float64) *float64 { return &v }
	for _, tc := range []struct {
		id, name string
		says     string
		validity Validity
		provoke  func(*Evidence)
	}{
		{"", "nothing", "", Valid, func(*Evidence) {}},
		{"W01", "busy", "CLIENT-BOUND: this program used 1.80 of the 2.00", Suspect, func(e *Evidence) { e.Client.CPUSeconds = 18 }},
		{"W01", "throttled", "used 0.09 of the 0.10", Suspect, func(e *Evidence) { e.Env.CgroupMax, e.Client.CPUSeconds = "10000 100000", 0.9 }},
		{"W01", "near its ceiling", "85 % of what this program reaches", Suspect, func(e *Evidence) { e.Ceiling, e.Rate = 1e6, 850_000 }},
		{"W01", "a busy loop", "busiest sending loop worked 95 %", Suspect, func(e *Evidence) { e.Busiest = 0.95 }},
		{"W01", "starved", "kept from running for 60 %", Suspect, func(e *Evidence) {
			e.Hiccup, e.Latency, e.Service = *times(60, 100*ms), times(5000, time.Second), times(5000, time.Second)
		}},
		{"W02", "late", "2.0 % of the sends were more than 1 ms late (client lag 1.5 %, server back-pressure 0.5 %)", Suspect, func(e *Evidence) { e.Late, e.Pressed = 200, 50 }},
		{"W02", "behind", "900/s of 1000/s", Suspect, func(e *Evidence) { e.Achieved = 900 }},
		{"W03", "closed loop", "closed loop", Valid, func(e *Evidence) { e.Closed, e.Plan, e.Offered, e.Achieved = true, Plan{}, 0, 0 }},
		{"W03", "a wait that service does not see", "1.20 s from the moment due and only 3.00 ms", Valid, func(e *Evidence) { e.Latency = times(5000, 3*ms, 1200*ms) }},
		{"W05", "coarse timer", "oversleeps by 1.04ms", Valid, func(e *Evidence) { e.TimerOvershoot = 1040 * time.Microsecond }},
		{"W06", "hiccups", "woke up 2.00 ms late", Suspect, func(e *Evidence) { e.Hiccup = *times(1000, 60*time.Microsecond, 2*ms) }},
		{"W07", "stolen", "took 3.0 %", Suspect, func(e *Evidence) { e.Env.StealPct = pct(3) }},
		{"W07", "throttled", "throttled 4 times", Suspect, func(e *Evidence) { e.Env.Throttled = number64(4) }},
		{"W07", "pressed", "in 25 % of the last minute", Suspect, func(e *Evidence) { e.Env.PSI = pct(25) }},
		{"W07", "pressed by itself", "this run itself", Valid, func(e *Evidence) { e.Env.PSI, e.OthersKnown, e.Others = pct(25), true, 0.01 }},
		{"W07", "shared", "used 0.50 cores", Suspect, func(e *Evidence) { e.Others = 0.5 }},
		{"W09", "before it was sent", "1 arrived before", Suspect, func(e *Evidence) { l := *e.Latency; l.Negative = 1; e.Latency = &l }},
		{"W09", "two clocks", "good to 1.50 ms", Valid, func(e *Evidence) { e.OneWay, e.Skew = true, 1500*time.Microsecond }},
		{"W10", "delayed ACK", "lie at 40 ms", Suspect, func(e *Evidence) {
			r := NewRecorder()
			r.RecordMany(3*ms, 9800)
			r.RecordMany(41*ms, 200)
			s := r.Summary()
			e.Latency, e.Service = &s, &s
		}},
		{"W10", "Nagle", "TCP_NODELAY", Suspect, func(e *Evidence) { e.NagleOn = true }},
		{"W11", "bunches", "40 sends went out in one millisecond", Suspect, func(e *Evidence) { e.MostInMS = 40 }},
		{"W12", "overflow", "2 latencies were over 60 s", Suspect, func(e *Evidence) { l := *e.Latency; l.Overflow = 2; e.Latency = &l }},
		{"W13", "above capacity", "backlog grew from 300 to 2100", Suspect, func(e *Evidence) {
			e.Intervals = course10(func(i int, iv *Interval) {
				iv.Backlog, iv.HDR = 300*int64(i), times(1000, time.Duration(i+1)*100*ms).HDR
			})
		}},
		{"W14", "not steady", "p50 was 5.00 ms in the first third and 3.00 ms", Suspect, func(e *Evidence) {
			e.Intervals = course10(func(i int, iv *Interval) {
				if i < 4 {
					iv.HDR = times(1000, 5*ms).HDR
				}
			})
		}},
		{"W15", "loss", "30 of 10000 fixes did not arrive (0.300 %); 25 found a full receive buffer; 5 found a full send buffer", Valid, func(e *Evidence) {
			e.Lost, e.Env.UDPErrors, e.Env.SndErrors = 30, number64(25), number64(5)
		}},
		{"W16", "full queue", "3 overflows of a listen queue, 7 first packets", Suspect, func(e *Evidence) { e.Env.Overflows, e.Env.SynRetrans = number64(3), number64(7) }},
		{"W18", "stuck", "draining did not end by itself", Suspect, func(e *Evidence) { e.Unended = "draining" }},
		{"W19", "far behind", "2000000 due sends waited", Valid, func(e *Evidence) { e.Queued = 2_000_000 }},
		{"W20", "pipelined", "512 under way at once", Valid, func(e *Evidence) { e.Depth = 512 }},
		{"W21", "floor", "p50 is 1.00 ms already, of 2.00 ms here; nothing is subtracted", Valid, func(e *Evidence) { e.Floor = times(1000, ms) }},
	} {
		e := clean()
		tc.provoke(&e)
		v := Verdict{Validity: Valid}
		v.Judge(e)
		var found []string
		for _, w := range v.Warnings {
			if w.ID != "W08" {
				found = append(found, w.ID)
			}
			if w.ID == tc.id && !strings.Contains(w.Text, tc.says) {
				t.Errorf("%s: it says %q, want %q", tc.name, w.Text, tc.says)
			}
		}
		if want := strings.Fields(tc.id); !slices.Equal(found, want) {
			t.Errorf("%s: found %v, want %v", tc.name, v.Warnings, want)
		}
		if v.Validity != tc.validity || !v.Has("W08") {
			t.Errorf("%s: %s, want %s", tc.name, v.Validity, tc.validity)
		}
		if _, err := json.Marshal(v); err != nil {
			t.Errorf("%s: %v", tc.name, err)
		}
	}
}

// What only looks like a mistake is none.
func TestNoMistakeIsNoticedWhereThereIsNone(t *testing.T) {
	for name, edit := range map[string]func(*Evidence){
		"a plan of bursts may send in bunches": func(e *Evidence) { e.Plan, e.MostInMS = Bursts(1000, time.Second), 1000 },
		"few sends are no bunch":               func(e *Evidence) { e.Plan, e.MostInMS = Constant(10), 9 },
		"a ramp is not steady by intent": func(e *Evidence) {
			e.Plan, _ = ParsePlan("100:1000:10s")
			e.Intervals = course10(func(i int, iv *Interval) {
				iv.HDR, iv.Backlog = times(1000, time.Duration(i+1)*ms).HDR, 300*int64(i)
			})
		},
		"a tick of 40 ms fills all of it": func(e *Evidence) {
			r := NewRecorder()
			for d := range 46 * ms / (10 * time.Microsecond) {
				r.Record(d * 10 * time.Microsecond)
			}
			s := r.Summary()
			e.Latency, e.Service, e.Intervals = &s, &s, nil
		},
		"a backlog that stays": func(e *Evidence) { e.Intervals = course10(func(_ int, iv *Interval) { iv.Backlog = 5000 }) },
		"a difference of grain": func(e *Evidence) {
			e.Intervals = course10(func(i int, iv *Interval) {
				iv.HDR = times(1000, 100*time.Microsecond+time.Duration(i)*10*time.Microsecond).HDR
			})
		},
		"too short to tell": func(e *Evidence) {
			e.Intervals = course10(func(i int, iv *Interval) { iv.Backlog = 1e6 * int64(i) })[:3]
		},
	} {
		e := clean()
		edit(&e)
		v := Verdict{Validity: Valid}
		v.Judge(e)
		if v.Validity != Valid || len(v.Warnings) != 1 {
			t.Errorf("%s: %v", name, v.Warnings)
		}
	}
}

// W17: a result whose figures contradict each other is not told.
func TestFiguresThatDoNotAddUp(t *testing.T) {
	sound := func() *Result {
		r := NewResult("x", "fanout")
		r.DurationNS = 2e9
		r.Counts.Planned, r.Counts.Sent, r.Counts.Accepted = 20, 20, 20
		r.Counts.Deliveries = &Deliveries{Expected: 40, Received: 37, Lost: 2, Conflated: 1, Missing: []int64{3, 0}}
		r.Rates["achieved_per_s"] = 10
		half := times(10, ms)
		r.Intervals = []Interval{{LenNS: 1e9, Sent: 10, HDR: half.HDR}, {TNS: 1e9, LenNS: 1e9, Sent: 10, HDR: half.HDR}}
		r.Latency["response"] = *times(20, ms)
		return r
	}
	if err := sound().Check(); err != nil {
		t.Fatal(err)
	}
	for name, spoil := range map[string]func(*Result){
		"an interval has a send too many":    func(r *Result) { r.Intervals[1].Sent++ },
		"an interval has lost a latency":     func(r *Result) { r.Intervals[1].HDR = times(9, ms).HDR },
		"lost and accepted are not sent":     func(r *Result) { r.Counts.Lost = 1 },
		"more was sent than planned":         func(r *Result) { r.Counts.Planned = 19 },
		"deliveries do not add up":           func(r *Result) { r.Counts.Deliveries.Lost++ },
		"receivers miss something else":      func(r *Result) { r.Counts.Deliveries.Missing[1] = 1 },
		"a rate that is no number":           func(r *Result) { r.Rates["x"] = 0; r.Rates["x"] /= r.Rates["x"] },
		"a negative rate":                    func(r *Result) { r.Rates["x"] = -1 },
		"the rate of another time":           func(r *Result) { r.Rates["achieved_per_s"] = 5 },
		"the run ends before its intervals":  func(r *Result) { r.DurationNS = 0.5e9; r.Rates["achieved_per_s"] = 40 },
		"answers that were never called for": func(r *Result) { r.Counts.Answers = &Answers{Right: 21} },
		"a negative count":                   func(r *Result) { r.Counts.Lost, r.Counts.Accepted = -1, 21 },
	} {
		r := sound()
		spoil(r)
		if err := r.Check(); !errors.Is(err, ErrUnsound) {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

func TestBunchesCountSendsOfAMillisecond(t *testing.T) {
	var b Bunches
	for i := range 100 {
		b.Note(time.Duration(i)*250*time.Microsecond, 1)
	}
	if b.Most() != 4 {
		t.Errorf("got %d, want 4", b.Most())
	}
	b.Note(time.Second, 50)
	b.Note(time.Second+ms, 1)
	if b.Most() != 50 {
		t.Errorf("got %d, want 50", b.Most())
	}
	if n := testing.AllocsPerRun(100, func() { b.Note(2*time.Second, 1) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func TestAWarmupEndsWhenTwoWindowsAreAlike(t *testing.T) {
	var s Steady
	for i, w := range []struct {
		median time.Duration
		done   float64
		want   bool
	}{{10 * ms, 100, false}, {5 * ms, 100, false}, {5 * ms, 90, false}, {5 * ms, 91, true}, {5*ms + 90*time.Microsecond, 91, true}, {0, 91, false}, {0, 91, true}} {
		if got := s.Window(w.median, w.done); got != w.want {
			t.Errorf("window %d: %v, want %v", i, got, w.want)
		}
	}
}

func TestAFailureOfTheTargetExplainsAllOthers(t *testing.T) {
	r := NewResult("x", "y")
	r.Fail(Incorrect, "", "one was lost")
	r.Fail(Incorrect, "", "another")
	if r.Failure.Text != "one was lost" {
		t.Error(r.Failure)
	}
	r.Fail(TargetGone, "", "it died")
	r.Fail(Incorrect, "", "a third")
	if r.Failure.Kind != TargetGone {
		t.Error(r.Failure)
	}
}
