// Package hub is who watches what, and how they are told.
package hub

import (
	"context"
	"time"

	"tracker/pkg/geo"
	"tracker/pkg/track"
)

// Config of the hub. Snapshot and Stamp are required, the rest has good zeros.
type Config struct {
	Tick       time.Duration // between frames of a busy stream; 0: 50 ms
	MaxFrame   int           // fixes in a frame; 0: 512
	QueueBytes int           // recent frames that a stream keeps for those who lag or resume; 0: 8 MiB
	Linger     time.Duration // how long a stream outlives its last viewer, to resume; 0: 30 s

	// Snapshot yields the present of every device that q asks for and that changed
	// since that stamp (0: all). It holds no lock while yield runs: a slow viewer may
	// keep it there for long.
	Snapshot func(q *Query, since uint64, yield func(*track.Fix) bool)
	// Stamp marks a moment of the present, see live.Live.Stamp.
	Stamp func() uint64
	// Hidden devices are only shown to who names them. nil: none is.
	Hidden func(track.DeviceID) bool
}

// Kind of a query.
type Kind uint8

const (
	KindAll Kind = iota + 1
	KindDevices
	KindBox
)

// Query is what a viewer watches.
type Query struct {
	Kind    Kind
	Devices []track.DeviceID // KindDevices
	Box     geo.Box          // KindBox
}

// All devices, but hidden ones.
func All() Query { return Query{Kind: KindAll} }

// Devices by name, in any order.
func Devices(ids ...track.DeviceID) Query { return Query{Kind: KindDevices, Devices: ids} }

// Box is every device, but hidden ones, whose place is in b.
func Box(b geo.Box) Query { return Query{Kind: KindBox, Box: b} }

// Hub fans fixes out to viewers.
type Hub struct{}

// New makes a hub. Without Run only lone fixes leave it.
func New(c Config) *Hub { return &Hub{} }

// Run sends the frames of busy streams, one a tick, until ctx ends; then every
// viewer gets track.ErrClosed.
func (h *Hub) Run(ctx context.Context) error { <-ctx.Done(); return nil }

// Pass is one batch on its way through live and hub.
type Pass struct{}

// Enter opens a pass. Call it before the batch touches live, and Leave after
// Publish: a snapshot waits for the passes that were open when it was taken.
func (h *Hub) Enter() Pass { return Pass{} }

// Publish gives the fixes to everybody who watches them; moves[i] belongs to
// fixes[i]. It copies what it keeps and never waits for a viewer. Fixes of one
// device must be published in the order in which they were applied.
func (p Pass) Publish(fixes []track.Fix, moves []track.Move) {}

// Leave ends the pass.
func (p Pass) Leave() {}

// Gone tells all who see a device that it was removed; at is its last place if had.
// Call it inside a pass, after live forgot the device.
func (p Pass) Gone(id track.DeviceID, at geo.Point, had bool) {}

// Options of a viewer.
type Options struct {
	// ResumeEpoch and ResumeSeq are where an earlier viewer of the same query stopped.
	// If the hub still has what followed, that comes next instead of a snapshot.
	ResumeEpoch, ResumeSeq uint64
	// Notify, if set, is called once after a TryNext returned nothing and something
	// came. It must not block and not call the viewer.
	Notify func()
}

// Watch adds a viewer: a snapshot first, then what follows it.
func (h *Hub) Watch(q Query, o Options) (*Viewer, error) { return &Viewer{}, nil }

// Viewer is one watch of one connection. One goroutine at a time pulls from it;
// Retarget and Close may be called from any.
type Viewer struct{}

// Stream names what the viewer watches: the number and the epoch that its frames
// carry, and whether the viewer resumed where it was told to.
func (v *Viewer) Stream() (id uint32, epoch uint64, resumed bool) { return 0, 0, false }

// Next blocks until there are frames, and returns as many in dst[:0] as fit its
// capacity, at least one. They are valid until the next call. The error is that of
// ctx or track.ErrClosed.
func (v *Viewer) Next(ctx context.Context, dst []*Frame) ([]*Frame, error) { return nil, nil }

// TryNext is Next that does not wait: no frames, no error.
func (v *Viewer) TryNext(dst []*Frame) ([]*Frame, error) { return nil, nil }

// Retarget changes what the viewer watches. A snapshot of the new query follows,
// under the new stream's number.
func (v *Viewer) Retarget(q Query) error { return nil }

// Close ends the viewer; a waiting Next returns track.ErrClosed.
func (v *Viewer) Close() {}

// FrameKind says what the fixes of a frame are.
type FrameKind uint8

const (
	Snapshot FrameKind = iota + 1 // the present of what is watched
	Fixes                         // every fix since
	Resync                        // the newest fix of each device that changed while the viewer was behind
)

// Frame is many fixes for one or many viewers. Read only.
type Frame struct {
	Kind    FrameKind
	More    bool // Snapshot and Resync: another frame of it follows
	Fresh   bool // first frame of a complete view: who is not named from here to the frame without More is not in view
	Stream  uint32
	Epoch   uint64
	Seq     uint64 // number of the last fix in the stream that is accounted for
	Skipped uint64 // fixes that the viewer did not get and will not
	Fixes   []track.Fix
	Left    []track.DeviceID // not in view any more, after Fixes
}

// Encoding turns frames into bytes for the wire. Make one for each format, once.
type Encoding struct{}

// NewEncoding names a way to append a frame's bytes to dst. enc may run on any
// goroutine and must not keep the frame.
func NewEncoding(name string, enc func(dst []byte, f *Frame) []byte) *Encoding { return &Encoding{} }

// Bytes is the frame in that encoding, made once and shared by all viewers.
func (f *Frame) Bytes(e *Encoding) []byte { return nil }

// Stats are counters since start, and gauges.
type Stats struct {
	Viewers, Streams, Behind uint64        // gauges
	Frames                   uint64        // frames made for streams
	FixesIn                  uint64        // fixes published
	FixesOut                 uint64        // fixes given to viewers
	Encodings                uint64        // times that a frame was encoded
	Skipped                  uint64        // fixes that viewers did not get
	Resyncs                  uint64        // times that a viewer came back from behind
	LagSum                   time.Duration // from published to taken by the viewer's writer, summed over LagCount deliveries
	LagCount                 uint64
	LagMax                   time.Duration // since the last call of Stats
}

// Stats of the hub.
func (h *Hub) Stats() Stats { return Stats{} }
