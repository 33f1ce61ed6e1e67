package stat

import "math"

// ClopperPearson is the exact interval of a rate of which k of n were seen. Each of its
// ends is held with half of what the confidence leaves open.
func ClopperPearson(k, n int, confidence float64) (low, high float64) {
	if n == 0 {
		return 0, 1
	}
	tail := (1 - confidence) / 2
	low, high = 0, 1
	if k > 0 {
		low = bisect(func(p float64) bool { return 1-binomial(k-1, n, p) < tail })
	}
	if k < n {
		high = bisect(func(p float64) bool { return binomial(k, n, p) > tail })
	}
	return low, high
}

// bisect finds where a statement about a rate is true no longer.
func bisect(holds func(p float64) bool) float64 {
	lo, hi := 0.0, 1.0
	for range 60 {
		if mid := (lo + hi) / 2; holds(mid) {
			lo = mid
		} else {
			hi = mid
		}
	}
	return (lo + hi) / 2
}

// binomial is the chance of k or fewer of n at a rate of p, which is neither 0 nor 1.
func binomial(k, n int, p float64) float64 {
	all, _ := math.Lgamma(float64(n + 1))
	sum := 0.0
	for i := range k + 1 {
		b, _ := math.Lgamma(float64(i + 1))
		c, _ := math.Lgamma(float64(n - i + 1))
		sum += math.Exp(all - b - c + float64(i)*math.Log(p) + float64(n-i)*math.Log1p(-p))
	}
	return min(1, sum)
}
