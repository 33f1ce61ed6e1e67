package load

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"tracker/pkg/track"
)

// model is a server with a limit, and a client with one.
type model struct {
	capacity float64
	client   float64        // 0: no limit
	hiccups  map[int]bool   // trials, from 0, that fail for no reason of the server's
	noise    func() float64 // of the capacity, anew each trial
	fails    map[int]error  // trials that end in an error
	tried    []float64
}

func (m *model) trial(_ context.Context, rate float64) (*Result, error) {
	n := len(m.tried)
	m.tried = append(m.tried, rate)
	if err := m.fails[n]; err != nil {
		return nil, err
	}
	limit := m.capacity
	if m.noise != nil {
		limit *= m.noise()
	}
	r := NewResult("test", "model")
	r.Rates["accepted_per_s"] = min(rate, limit)
	if m.client > 0 && rate > m.client {
		r.Rates["accepted_per_s"] = min(r.Rates["accepted_per_s"], m.client)
		r.Verdict.Warn("W01", Doubt, nil, "busy")
	}
	if m.hiccups[n] {
		r.Rates["accepted_per_s"] = 0
	}
	return r, nil
}

func (m *model) search(start float64) (*Found, error) {
	s := Seeker{Trial: m.trial, Start: start}
	s.Misses = func(r *Result) []string {
		if rate := m.tried[len(m.tried)-1]; r.Rates["accepted_per_s"] < 0.999*rate {
			return []string{fmt.Sprintf("only %.0f/s", r.Rates["accepted_per_s"])}
		}
		return nil
	}
	return s.Run(context.Background())
}

func TestSearchFindsACliff(t *testing.T) {
	for _, capacity := range []float64{1.5, 37, 999, 1000, 1001, 123_456, 3_000_000} {
		for _, start := range []float64{1, 1000, 200_000} {
			m := model{capacity: capacity}
			f, err := m.search(start)
			if err != nil {
				t.Fatal(err)
			}
			within := f.Passed <= capacity*1.002 && f.Failed > capacity && (f.Failed-f.Passed) <= 0.05*f.Passed
			if !within || f.Bound != "" || len(f.Reasons) != 1 {
				t.Errorf("capacity %v from %v: got %v, %+v", capacity, start, f, f.Reasons)
			}
			if f.Best == nil || math.Abs(f.Best.Rates["accepted_per_s"]-f.Passed) > 0.002*f.Passed {
				t.Errorf("capacity %v from %v: the best result is not that of the highest rate", capacity, start)
			}
			if len(f.Trials) > 45 {
				t.Errorf("capacity %v from %v: %d trials", capacity, start, len(f.Trials))
			}
		}
	}
}

func TestSearchRepeatsWhatFailsOnce(t *testing.T) {
	m := model{capacity: 5000, hiccups: map[int]bool{1: true, 5: true}}
	f, err := m.search(1000)
	if err != nil {
		t.Fatal(err)
	}
	if f.Passed < 4750 || f.Passed > 5005 {
		t.Errorf("two hiccups moved it to %v", f)
	}
	i := slices.IndexFunc(f.Trials, func(t Trial) bool { return t.Again && t.Good })
	if i < 1 || f.Trials[i-1].Good || f.Trials[i-1].Rate != f.Trials[i].Rate {
		t.Errorf("no trial was repeated: %+v", f.Trials)
	}
}

func TestSearchComesCloseInNoise(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for range 200 {
		m := model{capacity: 20_000, noise: func() float64 { return 1 + 0.03*rng.NormFloat64() }}
		f, err := m.search(1000)
		if err != nil || f.Passed < 17_000 || f.Passed > 23_000 {
			t.Fatalf("got %v, %v", f, err)
		}
	}
}

func TestSearchSaysWhenTheClientWasTheLimit(t *testing.T) {
	m := model{capacity: 100_000, client: 30_000}
	f, err := m.search(1000)
	if err != nil {
		t.Fatal(err)
	}
	if f.Passed != 16_000 || f.Bound != clientWasBound || !strings.HasPrefix(f.String(), ">= 16000/s: CLIENT-BOUND") {
		t.Errorf("got %v, %+v", f, f)
	}
	v := Verdict{Validity: Valid}
	if f.Judge(&v); v.Validity != Invalid || !v.Has("W01") {
		t.Errorf("got %+v", v)
	}
}

func TestSearchEndsAtItsBounds(t *testing.T) {
	m := model{capacity: 1e12}
	f, err := m.search(1000)
	if err != nil || f.Passed != 1e8 || f.Bound != mostPassed {
		t.Errorf("got %v, %v", f, err)
	}
	m = model{capacity: 0.1}
	f, err = m.search(1000)
	if err != nil || f.Passed != 0 || f.Failed != 1 || f.String() != "no rate passed, down to 1/s" {
		t.Errorf("got %v, %v", f, err)
	}
	v := Verdict{Validity: Valid}
	if f.Judge(&v); v.Validity != Invalid {
		t.Errorf("got %+v", v)
	}
}

// A server whose limit falls while it is searched makes trials contradict each other; the
// search ends all the same.
func TestSearchEndsWhateverTheServerDoes(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	for range 300 {
		m := model{capacity: 10_000, noise: func() float64 { return math.Exp(3 * rng.NormFloat64()) }}
		f, err := m.search(1000)
		if err != nil || len(f.Trials) > trialLimit {
			t.Fatalf("got %v, %v after %d trials", f, err, len(f.Trials))
		}
	}
}

func TestSearchKeepsWhatItFoundWhenATrialFails(t *testing.T) {
	gone := errors.New("gone")
	m := model{capacity: 10_000, fails: map[int]error{3: gone}}
	f, err := m.search(1000)
	if !errors.Is(err, gone) || f.Passed != 4000 || !strings.Contains(err.Error(), "8000/s") {
		t.Errorf("got %v, %v", f, err)
	}
}

func TestSearchRefusesNonsense(t *testing.T) {
	for _, s := range []Seeker{{Start: -1}, {Start: 10, Most: 5}, {Least: 10, Start: 5}, {Resolution: 2}, {Start: math.NaN()}, {Most: math.Inf(1)}} {
		if _, err := s.Run(context.Background()); !errors.Is(err, track.ErrInvalid) {
			t.Errorf("%+v: got %v", s, err)
		}
	}
}
