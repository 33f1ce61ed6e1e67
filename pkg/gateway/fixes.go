package gateway

import (
	"sync"

	"tracker/pkg/hub"
	"tracker/pkg/track"
	"tracker/pkg/wire"
	"tracker/pkg/wire/trk"
)

// names appends the name of a device, as engine.Engine.AppendName does.
type names func(dst []byte, id track.DeviceID) []byte

// page is fixes and their names on the way into a table, reused.
type page struct {
	fixes []trk.FixT
	list  []*trk.FixT
	text  []byte
	ends  []int
	names []string
	left  []string
}

var pages = sync.Pool{New: func() any { return new(page) }}

// pageOf fills a page. Whoever is done with it gives it back.
func pageOf(fixes []track.Fix, name names) *page {
	p := pages.Get().(*page)
	p.reset(len(fixes))
	for i := range fixes {
		p.add(&fixes[i], name)
	}
	p.finish()
	return p
}

func (p *page) reset(n int) {
	if cap(p.fixes) < n {
		p.fixes = make([]trk.FixT, 0, n) // pointers into it are in list
	}
	p.fixes, p.list, p.text, p.ends, p.names, p.left = p.fixes[:0], p.list[:0], p.text[:0], p.ends[:0], p.names[:0], p.left[:0]
}

func (p *page) add(f *track.Fix, name names) {
	p.fixes = append(p.fixes, trk.FixT{})
	t := &p.fixes[len(p.fixes)-1]
	putFix(t, f)
	p.list = append(p.list, t)
	p.text = name(p.text, f.Device)
	p.ends = append(p.ends, len(p.text))
}

// finish makes one string of all names and cuts it up.
func (p *page) finish() {
	all, at := string(p.text), 0
	for _, end := range p.ends {
		p.names = append(p.names, all[at:end])
		at = end
	}
}

const keptFixes = 1024 // of a page that is reused

func (p *page) free() {
	if cap(p.fixes) > keptFixes {
		return
	}
	clear(p.names) // they hold on to strings
	clear(p.left)
	pages.Put(p)
}

// accuracyWorse, in centimetres, stands for every radius that is larger than a datagram
// can say: the step that would come next.
const accuracyWorse = 507904

// putFix writes what a fix has. What its device did not know is 0.
func putFix(t *trk.FixT, f *track.Fix) {
	*t = trk.FixT{
		Time: float64(f.Time), Received: float64(f.Arrived),
		DeviceLo: uint32(f.Device), DeviceHi: uint16(f.Device >> 32),
		Has: trk.Has(f.Has), Marks: trk.Mark(f.Flags), Event: trk.DeviceEvent(f.Event),
	}
	if f.Has&track.HasPos != 0 {
		t.Lat, t.Lon = f.At.Lat, f.At.Lon
	}
	if f.Has&track.HasAlt != 0 {
		t.AltM = f.Alt
	}
	if f.Has&track.HasVel != 0 {
		t.SpeedCmps, t.CourseCdeg = f.Speed, f.Course
	}
	if f.Has&track.HasAcc != 0 {
		cm, worse := wire.AccuracyCM(f.Acc)
		if worse {
			cm = accuracyWorse
		}
		t.AccuracyCm = uint32(cm)
	}
	if f.Has&track.HasBat != 0 {
		t.Battery = f.Bat
	}
}

// frameEncoder writes a frame of the hub as a WatchFrame: once for all who watch the
// same thing.
func frameEncoder(name names) func(dst []byte, f *hub.Frame) []byte {
	return func(dst []byte, f *hub.Frame) []byte {
		p := pageOf(f.Fixes, name)
		defer p.free()
		for _, id := range f.Left {
			p.left = append(p.left, id.String())
		}
		return trk.AppendWatchFrame(dst, &trk.WatchFrameT{
			Kind: frameKinds[f.Kind], More: f.More, Fresh: f.Fresh,
			Stream: f.Stream, Epoch: hex64(f.Epoch), Position: float64(f.Seq), Skipped: float64(f.Skipped),
			Fixes: p.list, Names: p.names, Left: p.left,
		})
	}
}

var frameKinds = [...]trk.FrameKind{hub.Snapshot: trk.FrameKindSnapshot, hub.Fixes: trk.FrameKindFixes, hub.Resync: trk.FrameKindResync}
