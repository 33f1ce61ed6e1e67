package report

import (
	"math"
	"math/rand/v2"
	"testing"
)

// A method that says 95 % has to hold the true ratio in about 95 of 100 cases, also
// when launches vary by more than their intervals do.
func TestBoundsOverLaunchesKeepTheirWord(t *testing.T) {
	rnd := rand.New(rand.NewPCG(5, 5))
	const trials = 1500
	for _, k := range []int{3, 6, 12} {
		var missedPaired, missedWelch, seen int
		for range trials {
			a, b := make([]float64, k), make([]float64, k)
			for i := range k {
				drift := 0.3 * rnd.NormFloat64() // both have it, being taken in turns
				a[i] = drift + 0.03*rnd.NormFloat64()
				b[i] = drift + 0.03*rnd.NormFloat64() + math.Log(1.1)
			}
			p, w := paired(a, b, 0.95), unpaired(a, b, 0.95)
			missedPaired += outside(p, math.Log(1.1))
			missedWelch += outside(w, math.Log(1.1))
			seen += outside(p, 0)
		}
		if share := float64(missedPaired) / trials; share < 0.033 || share > 0.068 {
			t.Errorf("K=%d: paired bounds miss the truth in %.1f %% of cases", k, 100*share)
		}
		if share := float64(missedWelch) / trials; share > 0.068 {
			t.Errorf("K=%d: Welch's bounds miss the truth in %.1f %% of cases", k, 100*share)
		}
		if k == 12 && float64(seen)/trials < 0.99 {
			t.Errorf("of ten percent, twelve pairs see only %d in %d", seen, trials)
		}
	}
}

func outside(i interval, v float64) int {
	if v < i.lo || v > i.hi {
		return 1
	}
	return 0
}

func TestBoundsWithinRunsHoldWhatIsInThem(t *testing.T) {
	rnd := rand.New(rand.NewPCG(9, 9))
	var missed, tried int
	for range 60 {
		runs := make([][]float64, 2)
		for i := range runs {
			for range 60 {
				runs[i] = append(runs[i], 100+10*rnd.NormFloat64())
			}
		}
		mean := func(run []float64) figureOf {
			return func(pick []int) (float64, bool) {
				sum := 0.0
				for _, i := range pick {
					sum += run[i]
				}
				return sum / float64(len(pick)), true
			}
		}
		places := make([]int, 60)
		for i := range places {
			places[i] = i
		}
		lo, hi, ok := within(places, places, mean(runs[0]), mean(runs[1]), 0.95)
		if !ok {
			t.Fatal("no bounds")
		}
		tried++
		missed += outside(interval{1, lo, hi}, 1)
	}
	if share := float64(missed) / float64(tried); share > 0.15 {
		t.Errorf("equal runs differ in %.0f %% of cases", 100*share)
	}
}
