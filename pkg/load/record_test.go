package load

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

func TestRecorderKeepsWhatDoesNotFitApart(t *testing.T) {
	r := NewRecorder()
	for i := 1; i <= 1000; i++ {
		r.Record(time.Duration(i) * time.Millisecond)
	}
	r.Record(-time.Nanosecond)
	r.Record(61 * time.Second)
	s := r.Summary()
	if s.N != 1000 || s.Negative != 1 || s.Overflow != 1 {
		t.Fatalf("got %+v", s)
	}
	for q, want := range map[string]time.Duration{"50": 500 * time.Millisecond, "90": 900 * time.Millisecond, "99": 990 * time.Millisecond} {
		if got, ok := s.Quantile(q); !ok || got < want || got > want+want/500 {
			t.Errorf("p%s is %v, want %v", q, got, want)
		}
	}
	if _, ok := s.Quantile("99.9"); ok {
		t.Error("p99.9 of a thousand values has one value beyond it and is no figure")
	}
	if !strings.Contains(s.String(), "p99.9 n/a") || !strings.Contains(s.String(), "n=1000") {
		t.Error(s.String())
	}
}

func TestRecorderSummaryHoldsTheWholeHistogram(t *testing.T) {
	r := NewRecorder()
	for i := range 5000 {
		r.Record(time.Duration(i) * 10 * time.Microsecond)
	}
	h, err := hdrhistogram.Decode([]byte(r.Summary().HDR))
	if err != nil || h.TotalCount() != 5000 {
		t.Fatalf("read back %v, %v", h, err)
	}
	if a, b := h.ValueAtQuantile(99), r.h.ValueAtQuantile(99); a != b {
		t.Errorf("p99 %d read back as %d", b, a)
	}
}

func TestRecorderMerges(t *testing.T) {
	a, b := NewRecorder(), NewRecorder()
	a.Record(time.Millisecond)
	b.Record(time.Second)
	b.Record(-1)
	a.Merge(b)
	if s := a.Summary(); s.N != 2 || s.Negative != 1 || s.Max < int64(999*time.Millisecond) {
		t.Errorf("got %+v", s)
	}
	a.Reset()
	if s := a.Summary(); s.N != 0 || s.Negative != 0 || s.Max != 0 {
		t.Errorf("after reset %+v", s)
	}
}

func TestSummaryOfNothingIsValidJSON(t *testing.T) {
	b, err := json.Marshal(NewRecorder().Summary())
	if err != nil || !strings.Contains(string(b), `"99":null`) {
		t.Errorf("%s %v", b, err)
	}
}

func TestRecordDoesNotAllocate(t *testing.T) {
	r := NewRecorder()
	if n := testing.AllocsPerRun(1000, func() { r.Record(time.Millisecond) }); n != 0 {
		t.Errorf("%v allocations a record", n)
	}
}

func BenchmarkRecord(b *testing.B) {
	r := NewRecorder()
	b.ReportAllocs()
	for n := time.Duration(0); b.Loop(); n++ {
		r.Record(n % time.Second)
	}
}
