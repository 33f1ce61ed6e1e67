package fan

import (
	"testing"
	"time"
)

// An update that a server holds back and then tells in a resync was late all the same.
func TestAStallBehindAResyncIsInTheLatency(t *testing.T) {
	bothWays(t, func(t *testing.T, how Transport) {
		const n, m = 4, 6
		f := newFake(t, func(_, _ int, u update) []update {
			u.skipped = 1
			return []update{u}
		})
		res := mustRun(t, rounds(f, how, n, m, 10*time.Millisecond))
		if res.Failure != nil {
			t.Fatalf("got %+v", res.Failure)
		}
		if got := res.Latency["response"].N; got != n*n*m {
			t.Errorf("%d of %d deliveries are in the latency", got, n*n*m)
		}
	})
}
