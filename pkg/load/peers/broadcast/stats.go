package broadcast

import (
	"math"
)

// Ratio is how many times one figure is another, over rounds: the geometric mean, and
// where it lies with 95 % confidence by Student's t on the logarithms. What it takes from
// a round is the ratio of two measurements in that round.
type Ratio struct {
	N      int       `json:"n"`
	Mean   float64   `json:"mean"`
	Low    *float64  `json:"low"` // nil with fewer than two rounds
	High   *float64  `json:"high"`
	Values []float64 `json:"values"`
}

// newRatio is nil without a ratio.
func newRatio(values []float64) *Ratio {
	n := float64(len(values))
	if n == 0 {
		return nil
	}
	var mean, square float64
	for _, v := range values {
		mean += math.Log(v) / n
	}
	r := &Ratio{N: len(values), Mean: math.Exp(mean), Values: values}
	if len(values) < 2 {
		return r
	}
	for _, v := range values {
		d := math.Log(v) - mean
		square += d * d
	}
	half := student95(len(values)-1) * math.Sqrt(square/(n-1)/n)
	low, high := math.Exp(mean-half), math.Exp(mean+half)
	r.Low, r.High = &low, &high
	return r
}

// t95 is the 97.5th percentile of Student's t for 1, 2, ... degrees of freedom.
var t95 = [...]float64{
	12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228,
	2.201, 2.179, 2.160, 2.145, 2.131, 2.120, 2.110, 2.101, 2.093, 2.086,
	2.080, 2.074, 2.069, 2.064, 2.060, 2.056, 2.052, 2.048, 2.045, 2.042,
}

// student95 is a little too great between 31 degrees and infinitely many, never too small.
func student95(freedom int) float64 { return t95[min(freedom, len(t95))-1] }
