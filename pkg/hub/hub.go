// Package hub is who watches what, and how they are told.
//
//	Publish(fixes, moves)                                     a door pulls for each
//	     │                                                    viewer that fan tells
//	     ▼            match            pending     frames
//	┌─ index ─┐  ─────────────►  stream ─[fix fix]─►[ ]─[ ]─[ ]◄── Viewer.Next
//	│ all     │                  stream                 ▲   ▲◄──── Viewer.Next
//	│ devices │                  stream     the slow one│   │
//	│ maps    │                    ▲                    │   │
//	│ boxes   │                    ▲                        └ bytes, made once
//	└─────────┘                    │
//	                             wheel: one frame a tick, streams spread over it
//
// All who watch the same thing, an equal Query, share a stream: a number, an epoch
// and a count of fixes. The stream gathers fixes into frames and chains the recent
// ones; a frame's bytes are made once for each Encoding, by the first viewer who
// needs them.
//
// Publishing does nothing for a single viewer: who waits is told by workers, to whom a
// stream's list of them is handed in one step, see fan.go. A viewer walks the chain at
// its own pace, without a lock. What keeps up gets every fix. The
// chain is cut at QueueBytes or Linger: who stands behind the cut has fallen behind,
// costs nothing at all while it is stuck, and gets, when it comes back, the newest
// fix of each device that changed, the count of what it is spared, and then what
// follows. See catchup.go; the same way leads into a stream on the first day.
//
// A quiet stream sends each fix at once. One that gets many fixes in a tick, or finds
// the hub as a whole busy, sends one frame a tick, or one for each MaxFrame fixes.
package hub

import (
	"context"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"tracker/pkg/track"
)

const (
	// quietFixes in a tick may leave one by one, to few viewers: 500 a second at the
	// usual 40 ms.
	quietFixes = 20
	// hurryPerTick is after how many frames to a viewer the hub sends no more in a tick
	// outside of the wheel: 25,000 a second at the usual tick, about an eighth of a core.
	hurryPerTick = 1000
)

// Config of the hub. Snapshot and Stamp are required, the rest has good zeros.
type Config struct {
	Tick         time.Duration // between two frames of a busy stream; 0: 40 ms
	MaxFrame     int           // fixes in a frame; 0: 448, which fill the 32 KiB that Go's allocator is still quick with
	QueueBytes   int           // of recent frames that a stream keeps for those who lag or resume; 0: 8 MiB
	HistoryBytes int           // of the frames of all streams; beyond it Linger shrinks; 0: 256 MiB
	Linger       time.Duration // how long frames, and streams without a viewer, are kept to resume; 0: 30 s
	MaxLinger    int           // streams without a viewer that are kept; 0: 1024

	// Snapshot yields the present of every device that q asks for and that changed
	// since that stamp, 0 being since ever. It must hold no lock while yield runs: a
	// slow viewer keeps it there for as long as it likes. The fix is read at once.
	Snapshot func(q *Query, since uint64, yield func(*track.Fix) bool)
	// Stamp marks a moment: a change of the present that begins after Stamp returned
	// is seen by a Snapshot since that stamp.
	Stamp func() uint64
	// Hidden tells devices that only those see who name them; nil: there are none. It
	// is asked for every fix.
	Hidden func(track.DeviceID) bool
	// Maps are those that a device has joined; nil: there are no maps. It is asked for
	// every fix while any map is watched, and what it returned must not change. Its
	// answers change inside Members only.
	Maps func(track.DeviceID) []track.MapID
}

func (c Config) withDefaults() Config {
	set(&c.Tick, 40*time.Millisecond)
	set(&c.MaxFrame, 448)
	set(&c.QueueBytes, 8<<20)
	set(&c.HistoryBytes, 256<<20)
	set(&c.Linger, 30*time.Second)
	set(&c.MaxLinger, 1024)
	if c.Maps == nil {
		c.Maps = func(track.DeviceID) []track.MapID { return nil }
	}
	if c.Hidden == nil {
		return c
	}
	snapshot := c.Snapshot
	c.Snapshot = func(q *Query, since uint64, yield func(*track.Fix) bool) {
		snapshot(q, since, func(f *track.Fix) bool {
			return q.Kind != KindDevices && c.Hidden(f.Device) || yield(f)
		})
	}
	return c
}

func set[T int | time.Duration](v *T, zero T) {
	if *v <= 0 {
		*v = zero
	}
}

// Hub fans fixes out to viewers. Safe for concurrent use.
type Hub struct {
	c       Config
	start   time.Time
	gate    gate
	wheel   wheel
	fan     fan
	scratch sync.Pool
	stamp   atomic.Uint64 // every change of the present before it was published
	done    chan struct{} // closed when the hub is

	mu         sync.RWMutex // guards what follows; taken before the lock of a stream
	index      index
	streams    map[string]*stream
	viewers    map[*Viewer]struct{}
	lingering  int
	lastID     uint32
	lastViewer uint32
	closed     bool

	oldest int64 // when the oldest frame was born that tidy left; Run's own

	hurryTick atomic.Int64
	hurry     atomic.Int64

	frames, fixesIn, encodings atomic.Uint64
	stripes                    [stripes]stripe
}

// New makes a hub. Until Run runs, only quiet streams send frames, and publishers tell
// viewers by themselves.
func New(c Config) *Hub {
	h := &Hub{
		c:       c.withDefaults(),
		start:   time.Now(),
		scratch: sync.Pool{New: func() any { return new(scratch) }},
		done:    make(chan struct{}),
		streams: map[string]*stream{},
		viewers: map[*Viewer]struct{}{},
	}
	h.gate.init()
	h.wheel.init()
	h.index.init()
	h.index.mapsOf = h.c.Maps
	return h
}

// now is the hub's clock: nanoseconds since New, never 0.
func (h *Hub) now() int64 { return int64(time.Since(h.start)) + 1 }

// Run sends the frames of busy streams and forgets what nobody needs, until ctx ends.
// Then the hub is closed: its viewers get track.ErrClosed.
func (h *Hub) Run(ctx context.Context) error {
	var wg sync.WaitGroup
	wg.Go(func() { h.fan.run(ctx) })
	wg.Go(func() { h.turn(ctx) })
	wg.Go(func() { h.every(ctx, h.c.Tick, h.advanceStamp) })
	wg.Go(func() { h.every(ctx, min(time.Second, h.c.Linger/4), h.tidy) })
	wg.Wait()
	for _, v := range h.close() {
		v.rouse()
	}
	return nil
}

// close ends the hub and returns who is to learn it. They are told without the lock: a
// door that hears of it may close its viewer at once.
func (h *Hub) close() []*Viewer {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return nil
	}
	h.closed = true
	close(h.done)
	return slices.Collect(maps.Keys(h.viewers))
}

func (h *Hub) every(ctx context.Context, d time.Duration, do func()) {
	t := time.NewTicker(max(d, 1))
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
			do()
		}
	}
}

// advanceStamp finds a stamp such that all changes before it have been published.
// Frames carry it, so that a viewer that stopped there knows since when to look.
func (h *Hub) advanceStamp() {
	h.mu.RLock()
	idle := len(h.viewers) == 0
	h.mu.RUnlock()
	if idle {
		return
	}
	stamp := h.c.Stamp()
	h.gate.wait()
	h.stamp.Store(stamp)
}

// mayHurry tells whether a frame for that many viewers may leave before its tick. The
// account is for the hub as a whole: many quiet streams are as much work as a busy
// one. The frame that overdraws it still leaves, or a lone fix to more viewers than that
// would always wait.
func (h *Hub) mayHurry(now int64, viewers int32) bool {
	if viewers == 0 {
		return false
	}
	tick := now / int64(h.c.Tick)
	if old := h.hurryTick.Load(); old != tick && h.hurryTick.CompareAndSwap(old, tick) {
		h.hurry.Store(0)
	}
	return h.hurry.Add(int64(viewers))-int64(viewers) < hurryPerTick
}

// tidy forgets old frames, and streams whose last viewer left long ago.
func (h *Hub) tidy() {
	now := h.now()
	h.mu.RLock()
	var bytes int64
	streams := make([]*stream, 0, len(h.streams))
	for _, s := range h.streams {
		streams = append(streams, s)
		bytes += s.bytes.Load()
	}
	h.mu.RUnlock()
	keep := int64(h.c.Linger)
	if limit := int64(h.c.HistoryBytes); bytes > limit {
		keep = min(keep, int64(float64(now-h.oldest)*float64(limit)/float64(bytes)))
	}
	h.oldest = now
	for _, s := range streams {
		h.oldest = min(h.oldest, s.trim(now, now-keep))
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, s := range streams {
		if s.idle != 0 && now-s.idle >= int64(h.c.Linger) {
			h.forget(s)
		}
	}
}

// attach finds or makes the stream of a query and counts a viewer more.
func (h *Hub) attach(q Query, key string) *stream {
	s := h.streams[key]
	if s == nil {
		h.lastID++
		s = newStream(h, h.lastID, rand.Uint64()|1, q, key)
		h.streams[key] = s
		h.index.add(s)
	}
	if s.idle != 0 {
		s.idle = 0
		h.lingering--
	}
	s.viewers.Add(1)
	return s
}

// detach counts a viewer less. The last one leaves the stream lingering, or not.
func (h *Hub) detach(s *stream, linger bool) {
	if s.viewers.Add(-1) > 0 {
		return
	}
	s.idle = h.now()
	h.lingering++
	if !linger || h.lingering > h.c.MaxLinger {
		h.forget(s)
	}
}

// forget takes out a stream without viewers.
func (h *Hub) forget(s *stream) {
	if h.streams[s.key] != s {
		return
	}
	h.lingering--
	delete(h.streams, s.key)
	h.index.remove(s)
}
