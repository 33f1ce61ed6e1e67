package load

import "testing"

func TestSleepsAreMeasuredBothWays(t *testing.T) {
	all := Sleeps()
	if len(all) < 3 {
		t.Fatalf("%d lengths", len(all))
	}
	for _, n := range all {
		if n.Kernel.N != 100 || n.GoRuntime.N != 100 || n.Kernel.Negative+n.GoRuntime.Negative != 0 {
			t.Errorf("%+v", n)
		}
	}
}
