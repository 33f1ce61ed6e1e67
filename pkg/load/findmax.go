package load

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"

	"tracker/pkg/track"
)

// Seeker looks for the highest rate that passes, as RFC 2544 does for switches:
//
//	Start ── passes ──► twice as much, until one fails ──┐
//	   └──── fails ───► half as much, until one passes ──┤
//	                                                     ▼
//	             the middle of what passed and what failed, again and again,
//	             until they are Resolution apart
//
// A trial that fails is repeated once before it counts: one hiccup of the machine must
// not end a search. A trial that fails while this program itself was at its limit says
// nothing about the server, so what was found is then only a lower bound.
type Seeker struct {
	// Trial runs the work at a constant rate for a short while.
	Trial func(ctx context.Context, rate float64) (*Result, error)
	// Misses says why a result does not pass; nothing if it does.
	Misses func(*Result) []string
	Start  float64 // the first rate; 0: 1,000
	// Least and Most bound the search; 0: 1 and 100 million. At Most it ends even if
	// that passes.
	Least, Most float64
	Resolution  float64 // how far what passed and what failed may be apart, of the former; 0: 0.05
	OnTrial     func(Trial)
}

// Found is what a search came to.
type Found struct {
	Passed  float64  // the highest rate that passed; 0: none did
	Failed  float64  // the lowest above it that failed; 0: none did
	Reasons []string // why that failed
	Bound   string   // why Passed is only a lower bound; empty: it is not
	Trials  []Trial  // in order
	Best    *Result  // of the highest rate that passed, else of the last trial
}

// String is the outcome as a line for people.
func (f *Found) String() string {
	switch {
	case f.Passed == 0 && f.Bound != "":
		return fmt.Sprintf("no rate passed: %s", f.Bound)
	case f.Passed == 0:
		return fmt.Sprintf("no rate passed, down to %.0f/s", f.Failed)
	case f.Bound != "":
		return fmt.Sprintf(">= %.0f/s: %s", f.Passed, f.Bound)
	}
	return fmt.Sprintf("%.0f/s passed, %.0f/s did not", f.Passed, f.Failed)
}

// Judge tells a verdict what the search means for it.
func (f *Found) Judge(v *Verdict) {
	evidence := map[string]any{"passed_per_s": f.Passed, "failed_per_s": f.Failed}
	switch {
	case f.Bound != "":
		v.Warn("W01", Ruin, evidence, "the search did not end at a limit of the server: %s", f.Bound)
	case f.Passed == 0:
		v.Warn("W13", Ruin, evidence, "no rate passed")
	}
}

const (
	// trialLimit bounds a search whose trials contradict each other.
	trialLimit = 64

	clientWasBound = "CLIENT-BOUND: this program reached its own limit first"
	mostPassed     = "even the highest rate that was to be tried passed"
)

func (s *Seeker) defaults() {
	s.Start = cmp.Or(s.Start, 1000)
	s.Least = cmp.Or(s.Least, 1)
	s.Most = cmp.Or(s.Most, 1e8)
	s.Resolution = cmp.Or(s.Resolution, 0.05)
}

func (s *Seeker) check() error {
	ordered := s.Least > 0 && s.Least <= s.Start && s.Start <= s.Most && !math.IsInf(s.Most, 0)
	if !ordered || !(s.Resolution > 0 && s.Resolution < 1) {
		return fmt.Errorf("search from %v within %v and %v to %v: want rates in order and a resolution below 1: %w",
			s.Start, s.Least, s.Most, s.Resolution, track.ErrInvalid)
	}
	return nil
}

// Run searches. The error is that of a trial, which says nothing about rates; what was
// found before is there also then.
func (s *Seeker) Run(ctx context.Context) (*Found, error) {
	s.defaults()
	f := &Found{}
	if err := s.check(); err != nil {
		return f, err
	}
	err := s.bracket(ctx, f)
	if err == nil {
		err = s.narrow(ctx, f)
	}
	return f, err
}

// errEnough ends a search early, without a fault.
var errEnough = errors.New("the search has found what it can")

// bracket finds a rate that passes and one that does not.
func (s *Seeker) bracket(ctx context.Context, f *Found) error {
	for rate := s.Start; ; {
		passed, err := s.attempt(ctx, f, rate)
		switch {
		case err != nil:
			return ended(err)
		case passed && f.Failed > 0, !passed && (f.Passed > 0 || rate <= s.Least):
			return nil
		case passed && rate >= s.Most:
			f.Bound = mostPassed
			return nil
		case passed:
			rate = min(2*rate, s.Most)
		default:
			rate = max(rate/2, s.Least)
		}
	}
}

// narrow halves what lies between.
func (s *Seeker) narrow(ctx context.Context, f *Found) error {
	for f.Bound == "" && f.Passed > 0 && f.Failed-f.Passed > s.Resolution*f.Passed {
		if _, err := s.attempt(ctx, f, (f.Passed+f.Failed)/2); err != nil {
			return ended(err)
		}
	}
	return nil
}

func ended(err error) error {
	if errors.Is(err, errEnough) {
		return nil
	}
	return err
}

// attempt tries a rate, a second time if it fails, and notes what that means.
func (s *Seeker) attempt(ctx context.Context, f *Found, rate float64) (passed bool, err error) {
	var t Trial
	var res *Result
	for again := range 2 {
		if len(f.Trials) >= trialLimit {
			f.Bound = fmt.Sprintf("after %d trials it had not settled", trialLimit)
			return false, errEnough
		}
		if res, err = s.Trial(ctx, rate); err != nil {
			return false, fmt.Errorf("trial at %.0f/s: %w", rate, err)
		}
		if res.Partial || ctx.Err() != nil {
			return false, fmt.Errorf("trial at %.0f/s: %w", rate, context.Canceled)
		}
		t = Trial{Rate: rate, Again: again > 0, Reasons: s.Misses(res), ClientBound: res.Verdict.Has("W01")}
		t.Good = len(t.Reasons) == 0
		f.Trials = append(f.Trials, t)
		if s.OnTrial != nil {
			s.OnTrial(t)
		}
		if t.Good {
			break
		}
	}
	f.note(&t, res)
	if !t.Good && t.ClientBound {
		f.Bound = clientWasBound
		return false, errEnough
	}
	return t.Good, nil
}

// note keeps the highest rate that passed and the lowest that failed.
func (f *Found) note(t *Trial, res *Result) {
	if t.Good {
		if f.Passed, f.Best = t.Rate, res; f.Failed > 0 && f.Failed < f.Passed {
			f.Failed, f.Reasons = 0, nil
		}
		return
	}
	if f.Failed == 0 || t.Rate < f.Failed {
		f.Failed, f.Reasons = t.Rate, t.Reasons
	}
	if f.Passed == 0 {
		f.Best = res
	}
}

// Search is the outcome as a result tells it; expr is what was asked for.
func (f *Found) Search(expr string) *Search {
	s := &Search{Expr: expr, Best: f.Passed, Failed: f.Failed, Reasons: f.Reasons, Bound: f.Bound, Trials: f.Trials}
	if s.Trials == nil {
		s.Trials = []Trial{}
	}
	return s
}
