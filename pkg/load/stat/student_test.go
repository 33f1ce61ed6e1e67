package stat

import (
	"math"
	"testing"
)

func TestStudentTAgreesWithTheTables(t *testing.T) {
	for _, x := range []struct{ p, n, want float64 }{
		{0.975, 1, 12.7062}, {0.975, 2, 4.30265}, {0.975, 4, 2.77645}, {0.975, 9, 2.26216}, {0.975, 30, 2.04227},
		{0.99, 5, 3.36493}, {0.99, 11, 2.71808}, {0.995, 7, 3.49948}, {0.95, 10, 1.81246}, {0.975, 1e7, 1.95996}, {0.5, 3, 0},
		{0.025, 4, -2.77645},
	} {
		if got := StudentT(x.p, x.n); math.Abs(got-x.want) > 1e-4*max(1, math.Abs(x.want)) {
			t.Errorf("t(%g, %g) = %g, want %g", x.p, x.n, got, x.want)
		}
	}
}
