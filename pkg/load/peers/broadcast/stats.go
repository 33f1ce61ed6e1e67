package broadcast

import (
	"math"

	"tracker/pkg/load/stat"
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
	if len(values) == 0 {
		return nil
	}
	logs := make([]float64, len(values))
	for i, v := range values {
		logs[i] = math.Log(v)
	}
	mean, half := stat.Mean(logs, 0.975)
	r := &Ratio{N: len(values), Mean: math.Exp(mean), Values: values}
	if len(values) < 2 {
		return r
	}
	low, high := math.Exp(mean-half), math.Exp(mean+half)
	r.Low, r.High = &low, &high
	return r
}
