package rule

import (
	"math"
	"slices"

	"tracker/pkg/load/stat"
)

// Counter compares counts of work that is always the same, a few launches of each side,
// by their medians. Where repeats agree, a few per cent are a fact and no question of
// confidence: it is Worse above the floor, and Pass if not. A count that is missing or
// no count leaves it Undecided.
func Counter(base, head []float64, bar Bar) Finding {
	n := min(len(base), len(head))
	if n == 0 || !costs(base) || !costs(head) {
		return unknown(n, 0)
	}
	b, h := stat.Median(base), stat.Median(head)
	f := Finding{Verdict: Pass, Over: true, N: n, Visible: bar.Floor}
	if b > 0 {
		f.Visible = max(bar.Floor, bar.Absolute/b)
	}
	if b != h { // also of 0 and 0, which have no ratio
		f.Mean = math.Log(h) - math.Log(b)
	}
	f.Low, f.High = f.Mean, f.Mean
	switch {
	case exceeds(h, b, bar):
		f.Verdict = Worse
	case exceeds(b, h, bar):
		f.Better = true
	}
	return f
}

// exceeds tells whether a is above b by more than the bar has it, by both measures.
func exceeds(a, b float64, bar Bar) bool {
	return a > b*(1+bar.Floor) && a-b > bar.Absolute
}

func costs(list []float64) bool {
	return !slices.ContainsFunc(list, func(v float64) bool { return !isCost(v) })
}

// steadySpread is how far repeats of a count may lie apart, as a share of it.
const steadySpread = 0.005

// Steady tells whether a count repeats: its launches lie within half a per cent of each
// other, or within abs. One that does not has to be measured like a time.
func Steady(base []float64, abs float64) bool {
	if len(base) < 2 || !costs(base) {
		return false
	}
	spread := slices.Max(base) - slices.Min(base)
	return spread <= max(steadySpread*stat.Median(base), abs)
}
