package web

import "runtime/metrics"

// liveHeap is what the last collection found alive, in bytes: what a server keeps, where
// the heap in use is also what it has yet to throw away.
func liveHeap() float64 {
	sample := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
	metrics.Read(sample)
	if sample[0].Value.Kind() != metrics.KindUint64 {
		return 0
	}
	return float64(sample[0].Value.Uint64())
}
