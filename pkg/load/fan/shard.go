package fan

import (
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"tracker/pkg/load"
)

// page is what readers count in an interval.
type page struct {
	response, service *load.Recorder
	received          int64 // updates, each once
	frames, bytes     int64
	last              time.Duration // when the last of them came
}

func newPage() *page { return &page{response: load.NewRecorder(), service: load.NewRecorder()} }

func (p *page) reset() {
	p.response.Reset()
	p.service.Reset()
	p.received, p.frames, p.bytes, p.last = 0, 0, 0, 0
}

func (p *page) merge(o *page) {
	p.response.Merge(o.response)
	p.service.Merge(o.service)
	p.received += o.received
	p.frames += o.frames
	p.bytes += o.bytes
	p.last = max(p.last, o.last)
}

// shard is a page and the reader that has it. There are several for each processor, and a
// reader takes any that is free, so none ever waits for another reader.
type shard struct {
	mu   sync.Mutex
	page *page
	good atomic.Int64 // updates that count for completeness, ever
	_    [64]byte
}

type shards struct {
	all   []shard
	spare *page
}

func newShards() *shards {
	s := &shards{all: make([]shard, 4*runtime.GOMAXPROCS(0)), spare: newPage()}
	for i := range s.all {
		s.all[i].page = newPage()
	}
	return s
}

// take hands out a free shard, locked, which the caller unlocks after its read.
func (s *shards) take(near int) *shard {
	for i := range s.all {
		if one := &s.all[(near+i)%len(s.all)]; one.mu.TryLock() {
			return one
		}
	}
	one := &s.all[near%len(s.all)]
	one.mu.Lock()
	return one
}

// collect adds what came since the last call to all of the given pages.
func (s *shards) collect(into ...*page) {
	for i := range s.all {
		one := &s.all[i]
		one.mu.Lock()
		full := one.page
		one.page = s.spare
		one.mu.Unlock()
		for _, p := range into {
			p.merge(full)
		}
		full.reset()
		s.spare = full
	}
}

// good is how many updates came that count for completeness.
func (s *shards) good() (n int64) {
	for i := range s.all {
		n += s.all[i].good.Load()
	}
	return n
}

// pending tells whether anything came that was not collected.
func (s *shards) pending() bool {
	for i := range s.all {
		one := &s.all[i]
		one.mu.Lock()
		some := one.page.frames+one.page.received > 0
		one.mu.Unlock()
		if some {
			return true
		}
	}
	return false
}
