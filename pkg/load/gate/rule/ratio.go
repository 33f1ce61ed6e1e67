package rule

import (
	"errors"
	"fmt"
	"math"

	"tracker/pkg/load/stat"
)

var (
	// ErrUnusable marks costs that cannot be compared: a cost is a finite number, and the
	// work costs something.
	ErrUnusable = errors.New("not a cost")
	// ErrFromNothing marks a cost that the base does not have at all. No share says how
	// much worse that is; that it is, is certain.
	ErrFromNothing = errors.New("the base costs nothing, the head does")
)

// logRatio is how much more the head costs, as a logarithm: above 0 it is worse. From a
// base of nothing it is +Inf, with ErrFromNothing.
func logRatio(base, head float64) (float64, error) {
	switch {
	case !isCost(base), !isCost(head), head == 0:
		return math.NaN(), fmt.Errorf("compare %g with %g: %w", base, head, ErrUnusable)
	case base == 0:
		return math.Inf(1), ErrFromNothing
	}
	// The difference, since a quotient of very unlike numbers may be 0 or infinite.
	return math.Log(head) - math.Log(base), nil
}

func isCost(v float64) bool { return v >= 0 && !math.IsInf(v, 1) }

// Launch is the one number that a launch is worth: the median over its pairs of slices,
// base[i] beside head[i]. A burst that hits a few slices does not move it.
func Launch(base, head []float64) (float64, error) {
	if len(base) != len(head) || len(base) == 0 {
		return math.NaN(), fmt.Errorf("pair %d slices of base with %d of head: %w", len(base), len(head), ErrUnusable)
	}
	d := make([]float64, len(base))
	for i := range d {
		v, err := logRatio(base[i], head[i])
		if err != nil && !errors.Is(err, ErrFromNothing) {
			return math.NaN(), err
		}
		d[i] = v
	}
	m := stat.Median(d)
	if math.IsInf(m, 1) {
		return m, ErrFromNothing
	}
	return m, nil
}
