package probe

import (
	"context"
	"errors"
	"testing"

	"tracker/pkg/load/churn"
)

// TestLiveHeapIsTheLeastOfSomeCollections has what the figures of a server are like: old
// at first, low because most came after the collection; then too high now and then.
func TestLiveHeapIsTheLeastOfSomeCollections(t *testing.T) {
	server := &talker{told: churn.Reading{churn.Collections: 7, churn.LiveHeap: 100, churn.Viewers: 3}, cost: churn.Reading{}}
	heaps := []float64{100, 100, 4000, 2600, 3100, 2500, 2900}
	server.odd = func(n int, r churn.Reading) {
		if n > 4 {
			r[churn.Viewers] = 0 // nothing counts before
		}
		if n%2 == 0 {
			r[churn.Collections]++
		}
		r[churn.LiveHeap] = heaps[min(max(0, int(r[churn.Collections])-9), len(heaps)-1)]
	}
	got, err := least(t.Context(), server.scrape, func(r churn.Reading) bool { return r[churn.Viewers] == 0 })
	if err != nil || got[churn.LiveHeap] != 2500 {
		t.Errorf("got %v, %v; want 2500", got[churn.LiveHeap], err)
	}
	if at := server.told[churn.Collections]; at < 9+rounds {
		t.Errorf("it looked at %v collections only", at-9)
	}
}

func TestAServerThatDoesNotTellItsCollectionsIsReadOnce(t *testing.T) {
	server := &talker{told: churn.Reading{churn.Goroutines: 30}, cost: churn.Reading{}}
	got, err := least(t.Context(), server.scrape, func(churn.Reading) bool { return true })
	if err != nil || got[churn.Goroutines] != 30 || server.readings != 1 {
		t.Errorf("got %v, %v after %d readings", got, err, server.readings)
	}
	if _, told := got[churn.LiveHeap]; told {
		t.Error("live heap was made up")
	}
}

func TestWaitingForACollectionEnds(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	server := &talker{told: churn.Reading{churn.Collections: 1}, cost: churn.Reading{}}
	server.odd = func(n int, _ churn.Reading) {
		if n == 3 {
			cancel()
		}
	}
	if _, err := least(ctx, server.scrape, func(churn.Reading) bool { return true }); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}
