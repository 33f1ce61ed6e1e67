package engine

import (
	"math/rand/v2"
	"testing"
)

// TestIndexAgreesWithMap adds, finds and removes at random beside a map.
func TestIndexAgreesWithMap(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	keys := make([]uint64, 3000)
	for i := range keys {
		keys[i] = rnd.Uint64N(1 << 20)
	}
	for _, hash := range []struct {
		name string
		of   func(uint64) uint64
	}{
		{"mixed", mix},
		{"one in eight", func(k uint64) uint64 { return k % 8 }}, // long runs of collisions
	} {
		t.Run(hash.name, func(t *testing.T) {
			x := index{hash: func(i uint32) uint64 { return hash.of(keys[i]) }}
			model := map[uint64]uint32{}
			for range 20_000 {
				i := rnd.Uint32N(uint32(len(keys)))
				k := keys[i]
				if j, ok := model[k]; ok {
					if rnd.IntN(2) == 0 {
						x.remove(j)
						delete(model, k)
					}
				} else {
					x.add(i)
					model[k] = i
				}
				probe := keys[rnd.IntN(len(keys))]
				got, ok := x.find(hash.of(probe), func(i uint32) bool { return keys[i] == probe })
				want, wantOK := model[probe]
				if ok != wantOK || ok && got != want {
					t.Fatalf("find %d = %d, %v, want %d, %v", probe, got, ok, want, wantOK)
				}
			}
			if x.live != len(model) {
				t.Errorf("%d records, want %d", x.live, len(model))
			}
		})
	}
}
