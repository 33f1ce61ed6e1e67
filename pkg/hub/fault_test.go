//go:build benchfault

package hub

import (
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"tracker/pkg/fault"
)

func TestDroppedFrameIsGoneAndTheNextComes(t *testing.T) {
	if err := fault.Set("drop=3"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = fault.Set("") })
	synctest.Test(t, func(t *testing.T) {
		r := newRiver(Config{})
		running(t, r)
		var got []uint64
		pull(t, r, All(), func(f *Frame) { got = append(got, f.Seq) })
		for i := range 9 { // slowly: each fix is a frame
			time.Sleep(10 * time.Millisecond)
			r.apply(fix(1, int64(i), 1, 1))
			synctest.Wait()
		}
		if want := []uint64{1, 2, 4, 5, 7, 8}; !slices.Equal(got, want) {
			t.Errorf("frames %d came, want %d", got, want)
		}
		if out := r.Stats().FixesOut; out != 6 {
			t.Errorf("%d fixes are counted as given, want 6", out)
		}
	})
}
