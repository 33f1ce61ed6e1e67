package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"tracker/pkg/load"
)

// trialLength is how long one trial of a search lasts, as RFC 2544 has it for loss; a
// shorter --duration makes it shorter.
const trialLength = 5 * time.Second

// firstTrial is where a search begins without a --rate.
const firstTrial = 1000

// findMax looks for the highest rate at which a scenario holds what limits ask for, and
// concludes with the run at that rate. expr is how they were given.
func (b *bench) findMax(ctx context.Context, f *runFlags, expr string, limits []load.Threshold, run load.Run) error {
	s := load.Seeker{Start: firstTrial, Most: 5e6, Misses: func(r *load.Result) []string { return misses(r, limits) }}
	if !f.plan.Zero() {
		s.Start = f.plan.Peak()
		s.Least = min(1, s.Start)
	}
	var last *load.Result
	s.Trial = func(ctx context.Context, rate float64) (*load.Result, error) {
		res, err := run(ctx, load.Constant(rate), min(trialLength, f.duration))
		if res != nil {
			last = res
		}
		if err == nil && res.Failure != nil && res.Failure.Kind == load.TargetGone {
			err = fail(exitUnreachable, res.Failure.Hint, "%s", res.Failure.Text)
		}
		return res, err
	}
	s.OnTrial = func(t load.Trial) { b.trial(f, &t) }
	found, err := s.Run(ctx)
	res := found.Best
	if res == nil {
		res = last
	}
	if res == nil {
		return err
	}
	res.Search = found.Search(expr)
	res.Partial = res.Partial || err != nil
	found.Judge(&res.Verdict)
	if found.Passed == 0 {
		res.Failure = nil // that it fails beyond its limit is what a search is for
	}
	return errors.Join(b.conclude(res, f, "find-max     "+found.String()), err)
}

// trial tells of an attempt as it ends.
func (b *bench) trial(f *runFlags, t *load.Trial) {
	if f.quiet {
		return
	}
	how := "passed"
	if !t.Good {
		how = "failed: " + strings.Join(t.Reasons, "; ")
	}
	if t.ClientBound {
		how += " (CLIENT-BOUND)"
	}
	fmt.Fprintf(b.err, "trackbench: %.0f/s %s\n", t.Rate, how)
}

// keptShare is how much of what was due has to be sent for a rate to have been tried.
const keptShare = 0.99

// misses says why a result does not pass. A rate that was not reached does not, whatever
// was asked for: latencies of a smaller one say nothing about it.
func misses(r *load.Result, limits []load.Threshold) (why []string) {
	if bad := r.Failure; bad != nil {
		why = append(why, bad.Text)
	}
	offered, known := r.Rates["offered_per_s"]
	if achieved, ok := r.Rates["achieved_per_s"]; known && ok && achieved < keptShare*offered {
		why = append(why, fmt.Sprintf("%.0f/s of %.0f/s were sent", achieved, offered))
	}
	for _, t := range limits {
		if c := t.Check(r); !c.Pass {
			why = append(why, c.Name+": "+c.Text)
		}
	}
	return why
}
