package rule

import "math/rand/v2"

// Side is one of the two that are compared.
type Side int

// The sides.
const (
	Base Side = iota
	Head
)

// Other is the side that s is compared with.
func (s Side) Other() Side { return 1 - s }

func (s Side) String() string {
	if s == Head {
		return "head"
	}
	return "base"
}

// Order is whose turn it is in a launch, slice by slice: pair i is slices 2i and 2i+1.
//
// Pairs come in blocks, base head head base or the mirror image, so that a machine that
// grows slower or faster all the while favours nobody. There are as many blocks of one
// kind as of the other, shuffled, so that nothing that comes and goes in a rhythm keeps
// step with one side. With an odd number of blocks or pairs, chance has the one left over.
func Order(rnd *rand.Rand, pairs int) []Side {
	pairs = max(pairs, 0)
	blocks := (pairs + 1) / 2
	first := make([]Side, blocks)
	odd := Side(rnd.IntN(2))
	for i := range first {
		first[i] = odd ^ Side(i&1)
	}
	rnd.Shuffle(blocks, func(i, j int) { first[i], first[j] = first[j], first[i] })
	order := make([]Side, 0, 4*blocks)
	for _, s := range first {
		order = append(order, s, s.Other(), s.Other(), s)
	}
	return order[:2*pairs]
}
