package hub

import (
	"sync/atomic"
	"time"
)

const (
	stripes    = 16
	lagBuckets = 16
)

// stripe is a share of the counters that pulling viewers write, on cache lines of its
// own.
type stripe struct {
	fixesOut, skipped, resyncs atomic.Uint64
	lag                        [lagBuckets]atomic.Uint64
	_                          [64]byte
}

// account counts what a pull delivers, and the age of its oldest frame.
func (v *Viewer) account(frames []*Frame) {
	var fixes int
	for _, f := range frames {
		fixes += len(f.Fixes)
	}
	v.stripe.fixesOut.Add(uint64(fixes))
	v.stripe.lag[lagBucket(v.hub.now()-frames[0].born)].Add(1)
}

// lagBucket i holds lags below 1 ms << i; the last one all others.
func lagBucket(ns int64) int {
	i := 0
	for limit := int64(time.Millisecond); ns >= limit && i < lagBuckets-1; limit *= 2 {
		i++
	}
	return i
}

// Stats are gauges, and counters since New.
type Stats struct {
	Viewers int
	Streams int
	Behind  int   // viewers that have fallen behind and are not back yet
	Bytes   int64 // of frames that are kept

	Frames    uint64 // made for streams
	FixesIn   uint64 // published
	FixesOut  uint64 // given to viewers, resyncs and snapshots not counted
	Encodings uint64 // times that the bytes of a frame were made
	Skipped   uint64 // fixes that viewers were spared
	Resyncs   uint64 // times that a viewer came back from behind

	// Lag counts pulls by the age of the oldest fix that they delivered: entry i those
	// below 1 ms << i, the last one all others.
	Lag [lagBuckets]uint64
}

// Stats of the hub. It looks at every viewer: for a scrape, not for a loop.
func (h *Hub) Stats() Stats {
	s := Stats{Frames: h.frames.Load(), FixesIn: h.fixesIn.Load(), Encodings: h.encodings.Load()}
	for i := range h.stripes {
		st := &h.stripes[i]
		s.FixesOut += st.fixesOut.Load()
		s.Skipped += st.skipped.Load()
		s.Resyncs += st.resyncs.Load()
		for k := range st.lag {
			s.Lag[k] += st.lag[k].Load()
		}
	}
	h.mu.RLock()
	defer h.mu.RUnlock()
	s.Viewers, s.Streams = len(h.viewers), len(h.streams)
	for v := range h.viewers {
		if v.behind() {
			s.Behind++
		}
	}
	for _, st := range h.streams {
		s.Bytes += st.bytes.Load()
	}
	return s
}

func (v *Viewer) behind() bool {
	at := v.cur.Load()
	return v.isBack.Load() || at != nil && at.next.Load() == gone
}
