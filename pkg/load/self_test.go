package load

import (
	"math"
	"runtime"
	"runtime/metrics"
	"testing"
)

func TestSelfTellsWhatTheProcessUsed(t *testing.T) {
	s := WatchSelf()
	x := 0.0
	for i := range 3_000_000 {
		x += math.Sqrt(float64(i))
	}
	runtime.KeepAlive(x)
	runtime.GC()
	usage, hiccups := s.Stop()
	if runtime.GOOS == "linux" && (usage.CPUSeconds <= 0 || usage.RSS <= 0) {
		t.Errorf("got %+v", usage)
	}
	if usage.GCPauseMaxNS <= 0 || hiccups.N == 0 {
		t.Errorf("no pause of a collection, or no nap: %+v %v", usage, hiccups)
	}
}

func TestQuantileSinceLooksOnlyAtWhatWasAdded(t *testing.T) {
	edges := []float64{0, 1, 2, 4, math.Inf(1)}
	before := &metrics.Float64Histogram{Counts: []uint64{100, 0, 0, 0}, Buckets: edges}
	after := &metrics.Float64Histogram{Counts: []uint64{100, 98, 1, 1}, Buckets: edges}
	for q, want := range map[float64]float64{0.5: 2, 0.985: 4, 1: 4} {
		if got := quantileSince(before, after, q); got != want {
			t.Errorf("quantile %v: %v, want %v", q, got, want)
		}
	}
	if got := quantileSince(after, after, 0.5); got != 0 {
		t.Errorf("of nothing: %v", got)
	}
}

func TestDescribeTellsTheMachine(t *testing.T) {
	v := ReadVitals()
	e := Describe(v, ReadVitals())
	if e.Cores < 1 || e.GoMaxProcs < 1 || len(e.Fingerprint) != len("sha256:")+16 {
		t.Errorf("got %+v", e)
	}
	if again := Describe(v, ReadVitals()); again.Fingerprint != e.Fingerprint {
		t.Errorf("the fingerprint changed from %s to %s", e.Fingerprint, again.Fingerprint)
	}
	if runtime.GOOS == "linux" && (e.Kernel == "" || e.Nofile == nil || e.UDPErrors == nil) {
		t.Errorf("got %+v", e)
	}
}

func TestVerdictKeepsTheWorst(t *testing.T) {
	v := Verdict{Validity: Valid}
	for _, step := range []struct {
		id   string
		s    Severity
		want Validity
	}{{"W08", Info, Valid}, {"W01", Doubt, Suspect}, {"W17", Ruin, Invalid}, {"W02", Doubt, Invalid}} {
		v.Warn(step.id, step.s, nil, "x")
		if v.Validity != step.want {
			t.Errorf("after %s: %s, want %s", step.id, v.Validity, step.want)
		}
	}
	if !v.Has("W17") || v.Has("W99") || len(v.Warnings) != 4 {
		t.Errorf("got %+v", v)
	}
}
