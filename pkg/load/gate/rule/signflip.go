package rule

import (
	"math"
	"slices"
)

// mostFlips is how many launches SignFlip can go through: 2^20 sums for each half.
const mostFlips = 40

// SignFlip is how likely a sum of the launches as large as this one is, if each could as
// well have come out the other way round: the exact one-sided probability over all
// 2^len(d) signs. It supposes no distribution, so it is a check on the verdict by
// Student's, but it can't be below 2^-len(d). Of no launches, more than forty, or one
// that is not finite it is NaN.
func SignFlip(d []float64) float64 {
	if len(d) == 0 || len(d) > mostFlips || !finite(d) {
		return math.NaN()
	}
	var sum, size float64
	for _, v := range d {
		sum += v
		size += math.Abs(v)
	}
	// Sums that are equal on paper are not always equal here: added in another order.
	least := sum - 1e-12*size

	// All signs are all signs of one half together with all of the other. As the sums of
	// the left half rise, more and more of the right half reach the bound.
	left, right := flips(d[:len(d)/2]), flips(d[len(d)/2:])
	var reach, j int
	for _, l := range left {
		for j < len(right) && l+right[len(right)-1-j] >= least {
			j++
		}
		reach += j
	}
	return math.Ldexp(float64(reach), -len(d))
}

// flips is the sums of d with all signs, rising.
func flips(d []float64) []float64 {
	sums := make([]float64, 1, 1<<len(d))
	for _, v := range d {
		for i := range len(sums) {
			sums = append(sums, sums[i]-v)
			sums[i] += v
		}
	}
	slices.Sort(sums)
	return sums
}
