package hub

import (
	"slices"
	"sync"
	"sync/atomic"

	"tracker/pkg/track"
)

// FrameKind says what the fixes of a frame are.
type FrameKind uint8

const (
	Snapshot FrameKind = iota + 1 // the present of what is watched
	Fixes                         // every fix that follows, in order
	Resync                        // what changed while the viewer was behind, the newest fix of each device
)

// Frame is what a viewer is sent: many fixes, and where in the stream they stand.
// Frames of kind Fixes are shared by all viewers of a stream. Nobody writes to a
// frame, and a viewer's frames are valid until it asks for the next.
//
// The number of a fix in its stream is a matter of arithmetic. Let at be the viewer's
// position, the Seq of the frame before:
//
//	Fixes     at + len(Fixes) == Seq
//	Resync    at + Skipped    == Seq
//	Snapshot  sets the position to Seq with its last frame, the one without More
//
// So of the fixes since a snapshot each is either delivered or counted in Skipped.
//
// Within a frame, Left comes after Fixes. A snapshot or resync of several frames may
// name a device twice, when it moved while the frames were made: the later one is
// newer. A fix that is counted by the position never comes again as one of Fixes.
type Frame struct {
	Kind    FrameKind
	More    bool   // Snapshot and Resync: not the last frame of it
	Fresh   bool   // the first frame of a whole view: a device that is not named from here to the frame without More is not in view
	Stream  uint32 // its number, the same until the hub forgets the stream
	Epoch   uint64 // random, new with the stream: positions of another epoch mean nothing
	Seq     uint64 // the viewer's position after this frame; 0 in a Snapshot with More
	Skipped uint64 // fixes that the viewer is spared; only in a Resync
	Fixes   []track.Fix
	Left    []track.DeviceID // no longer in view: outside of the box, or removed

	owner *stream
	link  *link                // what comes after; nil in private frames
	born  int64                // when the first of its fixes was published, on the hub's clock
	slots atomic.Pointer[slot] // in further encodings than that of own
	own   slot

	mu   sync.Mutex
	size int64 // bytes that count for the stream's memory, while kept
	kept bool
}

// link is where a viewer stands: after one frame, before the next. It is apart from
// the frame so that whoever stands there holds on to nothing but these few bytes.
type link struct {
	next  atomic.Pointer[Frame] // nil: not yet; gone: no more
	seq   uint64
	stamp uint64 // every change of the present before this stamp is in frames up to here
	lefts uint64 // entries of Left in all frames up to here
}

// gone ends the chain behind frames that the stream let go. A viewer that stands
// before it is behind.
var gone = new(Frame)

// Encoding turns frames into the bytes of one wire format. Make one for each format,
// once: frames remember bytes by its address.
type Encoding struct {
	name   string
	encode func(dst []byte, f *Frame) []byte
	room   atomic.Int64 // bytes a fix, as the last frame needed
}

// NewEncoding names a way to append a frame's bytes to dst. encode may run on any
// goroutine, for different frames at once, and keeps nothing of the frame.
func NewEncoding(name string, encode func(dst []byte, f *Frame) []byte) *Encoding {
	return &Encoding{name: name, encode: encode}
}

func (e *Encoding) String() string { return e.name }

// slot is a frame in one encoding.
type slot struct {
	e    atomic.Pointer[Encoding] // written once
	next *slot
	done atomic.Bool
	mu   sync.Mutex
	b    []byte
}

// Bytes is the frame in that encoding: made by the first who asks, shared by all
// others. Read only, and valid as long as the frame is.
func (f *Frame) Bytes(e *Encoding) []byte {
	s := f.slot(e)
	if s.done.Load() {
		return s.b
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.done.Load() {
		return s.b
	}
	n := int64(len(f.Fixes) + 1)
	s.b = f.encode(e, s.b, int(n*e.room.Load()))
	e.room.Store(int64(len(s.b))/n*9/8 + 16)
	s.done.Store(true)
	f.owner.hub.encodings.Add(1)
	f.grow(int64(cap(s.b)))
	return s.b
}

// encode appends the bytes of the frame to b, which has been used before or is nil.
// Those of shared frames come off the stream's slab, unless another frame is just being
// encoded into that.
func (f *Frame) encode(e *Encoding, b []byte, room int) []byte {
	s := f.owner
	if b != nil || f.link == nil || !s.encoding.TryLock() {
		return e.encode(slices.Grow(b, room), f)
	}
	defer s.encoding.Unlock()
	return s.text.close(e.encode(s.text.open(f.born, room, slabBytes), f))
}

func (f *Frame) slot(e *Encoding) *slot {
	if f.own.e.Load() == e || f.own.e.CompareAndSwap(nil, e) || f.own.e.Load() == e {
		return &f.own
	}
	for {
		first := f.slots.Load()
		for s := first; s != nil; s = s.next {
			if s.e.Load() == e {
				return s
			}
		}
		s := &slot{next: first}
		s.e.Store(e)
		if f.slots.CompareAndSwap(first, s) {
			return s
		}
	}
}

// grow counts memory of the frame for its stream, unless the stream let it go.
func (f *Frame) grow(n int64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.size += n
	if f.kept {
		f.owner.bytes.Add(n)
	}
}

func (f *Frame) keep(n int64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.size, f.kept = n, true
	f.owner.bytes.Add(n)
}

func (f *Frame) letGo() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.kept = false
	f.owner.bytes.Add(-f.size)
}

func (s *slot) reuse() {
	s.b = s.b[:0]
	s.done.Store(false)
}

// reuse empties a private frame for the next and keeps its memory for bytes.
func (f *Frame) reuse() {
	f.own.reuse()
	for s := f.slots.Load(); s != nil; s = s.next {
		s.reuse()
	}
	f.Kind, f.More, f.Fresh, f.Seq, f.Skipped, f.Fixes, f.Left = 0, false, false, 0, 0, nil, nil
}
