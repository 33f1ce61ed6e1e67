package report

import (
	"math"
	"math/rand/v2"
	"slices"

	"tracker/pkg/load/stat"
)

// interval is a figure and the bounds between which it is thought to lie.
type interval struct{ mid, lo, hi float64 }

// paired is the mean of differences of logarithms, a launch of one side beside one of
// the other, and its interval by Student's t.
func paired(a, b []float64, confidence float64) interval {
	d := make([]float64, len(a))
	for i := range a {
		d[i] = b[i] - a[i]
	}
	mean, half := stat.Mean(d, (1+confidence)/2)
	return interval{mean, mean - half, mean + half}
}

// unpaired is the difference of the means of logarithms, and its interval by Welch's
// version of Student's t, which lets both sides vary as they do.
func unpaired(a, b []float64, confidence float64) interval {
	mid, half := stat.Welch(a, b, (1+confidence)/2)
	return interval{mid, mid - half, mid + half}
}

const (
	resamples = 400
	fewSlots  = 10 // with fewer pieces of a run nothing is said of how it varies
)

// figureOf is a figure of some pieces of a run.
type figureOf func(pick []int) (float64, bool)

// resample draws runs anew from the pieces of a run, in blocks of neighbours so that
// what depends on its neighbour stays together, and returns the figure of each.
func resample(rnd *rand.Rand, pieces []int, figure figureOf) []float64 {
	n := len(pieces)
	block := max(1, int(math.Ceil(math.Cbrt(float64(n)))))
	pick := make([]int, 0, n+block)
	var list []float64
	for range resamples {
		pick = pick[:0]
		for len(pick) < n {
			at := rnd.IntN(n)
			for i := range block {
				pick = append(pick, pieces[(at+i)%n])
			}
		}
		if v, ok := figure(pick[:n]); ok && v > 0 {
			list = append(list, v)
		}
	}
	return list
}

// within is the interval of the ratio of two runs' figures from how each varied in
// itself: the middle share of the ratios of runs drawn anew. ok is false if too little
// is known.
func within(a, b []int, ofA, ofB figureOf, confidence float64) (lo, hi float64, ok bool) {
	if len(a) < fewSlots || len(b) < fewSlots {
		return 0, 0, false
	}
	rnd := rand.New(rand.NewPCG(1, 2)) // the same files give the same answer
	ra, rb := resample(rnd, a, ofA), resample(rnd, b, ofB)
	n := min(len(ra), len(rb))
	if n < resamples*9/10 {
		return 0, 0, false
	}
	ratios := make([]float64, n)
	for i := range ratios {
		ratios[i] = rb[i] / ra[i]
	}
	slices.Sort(ratios)
	cut := int((1 - confidence) / 2 * float64(n))
	return ratios[cut], ratios[n-1-cut], true
}
