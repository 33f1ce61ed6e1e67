// Package rule decides. It is given one number a launch and tells whether the head is
// worse than the base; it measures nothing, keeps nothing and asks no clock.
//
//	a launch:  Order ─► base head head base base head …   slices, in pairs
//	           Launch ─► d = median over the pairs of ln(head / base), above 0 = worse
//
//	           d1 … d6 ───► look at 6 ───► Worse, if that is all but certain
//	           │                    ├────► Pass, if even half of Shown is ruled out
//	           d7 … d12 ──► look at 12 ──► Worse, Pass
//	           d13 … d24 ─► look at 24 ──► Worse, Pass, or Undecided for good
//
//	which work is launched next, when time is short: Next
//
// Slices of one launch lie beside each other, so what the machine does to both sides
// cancels, but they share the luck of that launch: where its memory lies, which ports it
// has, how its threads were placed. More slices do not average that away. So only
// launches count as independent, and what is known of the change is Student's interval
// around the mean of one number a launch.
//
// When there is a look is declared before the first launch. Deciding as soon as the
// figures happen to look good or bad would multiply false alarms; three looks that are
// each allowed one per cent or less can at most add them up. Which launches are made is
// free to depend on the figures so far, because that can only keep a look from
// happening, never add one.
package rule

import (
	"math"
	"sync"

	"tracker/pkg/load/stat"
)

// Verdict is what is known of a metric. The zero value claims nothing.
type Verdict int

// The verdicts.
const (
	Undecided Verdict = iota // neither of the others could be shown yet
	Pass                     // shown not to be worse by what matters
	Worse                    // shown to be worse, and by enough to tell anybody
)

func (v Verdict) String() string {
	switch v {
	case Pass:
		return "pass"
	case Worse:
		return "worse"
	}
	return "undecided"
}

// DefaultShown is the slow-down that a passing metric has been shown not to have.
const DefaultShown = 0.10

// Bar is what a change is held against, as shares: 0.03 is three per cent.
type Bar struct {
	Floor float64 // the smallest change worth telling anybody
	Shown float64 // the change that has to be ruled out to pass; 0 = DefaultShown

	// Absolute is the smallest change that counts in the metric's own unit, AtBase what
	// the base has there: half a millisecond more is nothing, even if it is twice as
	// much. With AtBase unknown (0 or less), Absolute is not heeded.
	Absolute, AtBase float64
}

// floor is the smallest share that counts, by both measures.
func (b Bar) floor() float64 {
	if b.Absolute > 0 && b.AtBase > 0 {
		return max(b.Floor, b.Absolute/b.AtBase)
	}
	return b.Floor
}

// shown is the share that has to be ruled out. What does not count need not be.
func (b Bar) shown() float64 {
	if b.Shown == 0 {
		return max(DefaultShown, b.floor())
	}
	return max(b.Shown, b.floor())
}

// Look is a moment at which it may be decided, declared before the first launch.
type Look struct {
	Launches int
	// Worse and Pass are how sure each of them has to be, as one-sided confidences.
	Worse, Pass float64
	// Share of Bar.Shown that has to be ruled out to pass. Below 1 it is an early look,
	// at which nothing passes that seems to have moved, either way.
	Share float64
	Last  bool
}

// How many launches are made unless somebody wants it otherwise.
const (
	DefaultFirst = 12
	DefaultMost  = 24
)

// fewest is with how many launches a spread can be told at all.
const fewest = 4

// Looks declares when it may be decided: after first launches, after most, and early,
// after half of first, if that is not too few. Looks(12, 24) is at 6, 12 and 24.
func Looks(first, most int) []Look {
	first = max(first, fewest)
	var looks []Look
	if early := first / 2; early >= fewest {
		looks = append(looks, Look{Launches: early, Worse: 0.999, Pass: 0.99, Share: 0.5})
	}
	looks = append(looks, Look{Launches: first, Worse: 0.99, Pass: 0.99, Share: 1})
	if most > first {
		looks = append(looks, Look{Launches: most, Worse: 0.99, Pass: 0.99, Share: 1})
	}
	looks[len(looks)-1].Last = true
	return looks
}

// Finding is what launches say of a metric. Changes are logarithms of head over base,
// see Share, and positive is worse.
//
// With fewer than two launches, or with one that is not a number, nothing is known: then
// the bounds are infinite, which JSON has no word for.
type Finding struct {
	Verdict Verdict
	Better  bool // it passes, and was shown to be better with the care that Worse takes
	Over    bool // the last look has been: more launches change nothing
	N       int  // launches that it was told from
	Mean    float64
	SD      float64 // from launch to launch
	// Low and High are one-sided bounds of the change, each held with Confidence.
	Low, High, Confidence float64
	// Visible is the smallest slow-down, as a share, that so many launches that vary so
	// much find nine times out of ten.
	Visible float64
}

// Share turns a logarithm of a ratio into a share: 0.0953 into 0.10.
func Share(d float64) float64 { return math.Expm1(d) }

// Judge tells what the launches so far come to. It looks only when a look was declared,
// and the first one that decides stays: what is launched later, for the sake of other
// metrics, changes nothing. Between looks the verdict is Undecided, and the rest of the
// finding tells of all launches.
func Judge(d []float64, bar Bar, looks []Look) Finding {
	if len(looks) == 0 {
		return unknown(len(d), 0)
	}
	next := looks[0]
	for _, look := range looks {
		next = look
		if len(d) < look.Launches {
			break
		}
		f := Decide(d[:look.Launches], bar, look)
		f.Over = look.Last
		if f.Verdict != Undecided || look.Last {
			return f
		}
	}
	f := Decide(d, bar, next)
	f.Verdict, f.Better = Undecided, false
	return f
}

// Decide looks at the launches d, all of them, as look has it. Judge sees to it that
// this happens only when it was declared.
func Decide(d []float64, bar Bar, look Look) Finding {
	if len(d) < 2 || !finite(d) {
		return unknown(len(d), look.Pass)
	}
	f := Finding{N: len(d), Confidence: look.Pass}
	f.Mean, f.SD = meanOf(d)
	free := len(d) - 1
	wobble := f.SD / math.Sqrt(float64(len(d)))
	half := quantile(look.Pass, free) * wobble
	f.Low, f.High = f.Mean-half, f.Mean+half
	f.Visible = visible(wobble, free, bar, look)

	care := quantile(look.Worse, free) * wobble
	floor := math.Log1p(bar.floor())
	moved := math.Abs(f.Mean) >= floor
	early := look.Share < 1
	switch {
	case f.Mean > care && moved:
		f.Verdict = Worse
	case -f.Mean > care && moved:
		f.Verdict, f.Better = Pass, true
	case moved && early: // worth the launches that tell more
	case f.High < math.Log1p(look.Share*bar.shown()):
		f.Verdict = Pass
	}
	return f
}

// atPower is where a normal curve has nine tenths to its left.
const atPower = 1.2815515655446004

// visible is the smallest slow-down, as a share, that a look finds Worse about nine times
// out of ten when the mean of its launches wobbles so much: falling back below the floor is
// one case in ten, or below the width of the interval, whichever asks for more. (Where both
// ask for the same, it is one in seven.)
//
// The width of the interval wobbles, too, since it is made of the spread that few launches
// happen to have: that is what the terms in free allow for, and at six launches they are a
// fifth of it all.
func visible(wobble float64, free int, bar Bar, look Look) float64 {
	q, n := quantile(look.Worse, free), float64(free)
	sure := wobble * (q*(1-1/(4*n)) + atPower*math.Sqrt(1+q*q/(2*n)))
	return math.Expm1(max(sure, math.Log1p(bar.floor())+atPower*wobble))
}

// unknown is the finding of launches that tell nothing.
func unknown(n int, confidence float64) Finding {
	return Finding{N: n, Low: math.Inf(-1), High: math.Inf(1), Visible: math.Inf(1), Confidence: confidence}
}

func finite(list []float64) bool {
	for _, v := range list {
		if math.IsNaN(v) || math.IsInf(v, 0) {
			return false
		}
	}
	return true
}

// meanOf is the mean of two or more, and their standard deviation.
func meanOf(d []float64) (mean, sd float64) {
	mean, variance := stat.Moments(d)
	return mean, math.Sqrt(variance)
}

// quantiles remembers what was asked of Student's distribution, which is found by
// bisection: a gate asks for the same few over and over.
var quantiles struct {
	sync.Mutex
	known map[point]float64
}

type point struct {
	p    float64
	free int
}

func quantile(p float64, free int) float64 {
	at := point{p, free}
	quantiles.Lock()
	defer quantiles.Unlock()
	q, ok := quantiles.known[at]
	if !ok {
		if quantiles.known == nil {
			quantiles.known = make(map[point]float64)
		}
		q = stat.StudentT(p, float64(free))
		quantiles.known[at] = q
	}
	return q
}
