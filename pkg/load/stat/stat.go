// Package stat is the statistics that gates, trends, comparisons and tables share. It
// looks into no room.
package stat

import (
	"math"
	"slices"
)

// Median is the one in the middle, or the mean of the two that are; of none it is NaN.
func Median(list []float64) float64 {
	if len(list) == 0 {
		return math.NaN()
	}
	s := slices.Sorted(slices.Values(list))
	return (s[(len(s)-1)/2] + s[len(s)/2]) / 2
}

// Moments are the mean and the variance of a sample. The variance of fewer than two is 0.
func Moments(list []float64) (mean, variance float64) {
	n := float64(len(list))
	for _, v := range list {
		mean += v / n
	}
	if n < 2 {
		return mean, 0
	}
	for _, v := range list {
		variance += (v - mean) * (v - mean) / (n - 1)
	}
	return mean, variance
}

// Mean is the mean of a sample and how far the true one may lie from it by Student's t:
// not beyond half on either side, each with the one-sided confidence p. From fewer than two
// it may lie anywhere.
func Mean(list []float64, p float64) (mean, half float64) {
	mean, variance := Moments(list)
	n := float64(len(list))
	if n < 2 {
		return mean, math.Inf(1)
	}
	return mean, StudentT(p, n-1) * math.Sqrt(variance/n)
}

// Welch is by how much the mean of b is above that of a, and how far the true difference
// may lie from that, as Mean has it. Both samples, of two or more each, vary as they do;
// where neither varies, half is 0.
func Welch(a, b []float64, p float64) (moved, half float64) {
	ma, va := Moments(a)
	mb, vb := Moments(b)
	na, nb := float64(len(a)), float64(len(b))
	sa, sb := va/na, vb/nb
	if sa+sb == 0 {
		return mb - ma, 0
	}
	free := (sa + sb) * (sa + sb) / (sa*sa/(na-1) + sb*sb/(nb-1))
	return mb - ma, StudentT(p, free) * math.Sqrt(sa+sb)
}
