package null

import (
	"context"
	"encoding/binary"
	"math"
	"slices"
	"strconv"
	"sync"
	"time"

	"tracker/pkg/geo"
	"tracker/pkg/rpc"
	"tracker/pkg/track"
	"tracker/pkg/wire/trk"
)

// hub collects reports and gives them to all watchers, on one goroutine. Whoever reports,
// joins or leaves never waits for it, nor it for them but in a watcher's update: a
// client that reports and watches on one connection would wait for itself.
type hub struct {
	batch int
	tick  time.Duration

	mu      sync.Mutex // of what was said and not done
	waiting []update
	changes []change
	more    chan struct{} // there is something to do

	// The goroutine's own.
	watchers []watcher
	position uint64
	buf      encoded
}

// change is a watcher that comes or goes.
type change struct {
	who  watcher
	left bool
}

// update is one fix.
type update struct {
	device   track.DeviceID
	ms       int64
	lat, lon int32
}

// encoded is one frame, as every watcher of an encoding gets it.
type encoded struct{ event, text []byte }

// watcher takes frames; false if it is there no longer.
type watcher interface{ update(*encoded) bool }

func newHub(cfg *Config) *hub {
	return &hub{batch: cfg.Batch, tick: cfg.Tick, more: make(chan struct{}, 1)}
}

func (h *hub) add(u update) {
	h.mu.Lock()
	h.waiting = append(h.waiting, u)
	full := h.batch > 0 && len(h.waiting) >= h.batch
	h.mu.Unlock()
	if full {
		h.wake()
	}
}

func (h *hub) wake() {
	select {
	case h.more <- struct{}{}:
	default:
	}
}

func (h *hub) join(w watcher)  { h.change(change{who: w}) }
func (h *hub) leave(w watcher) { h.change(change{w, true}) }

func (h *hub) change(c change) {
	h.mu.Lock()
	h.changes = append(h.changes, c)
	h.mu.Unlock()
	h.wake()
}

// report takes the fixes of a report in FlatBuffers.
func (h *hub) report(body []byte) bool {
	req, err := trk.ReadReportReq(body)
	if err != nil {
		return false
	}
	id, err := track.ParseDeviceID(string(req.Device()))
	if err != nil {
		return false
	}
	var f trk.Fix
	for i := range req.FixesLength() {
		req.Fixes(&f, i)
		h.add(update{id, int64(f.Time()), f.Lat(), f.Lon()})
	}
	return true
}

// reportText takes those of one in JSON, and tells how many.
func (h *hub) reportText(a *ask) (n int) {
	id, err := track.ParseDeviceID(a.Device)
	if err != nil {
		return 0
	}
	for _, f := range a.Fixes {
		ms, err := f.Time.Int64()
		if err != nil {
			return n
		}
		h.add(update{id, ms, int32(math.Round(f.Lat * geo.E7)), int32(math.Round(f.Lon * geo.E7))})
		n++
	}
	return n
}

// run sends frames until ctx ends.
func (h *hub) run(ctx context.Context) {
	tick := time.NewTicker(h.tick)
	defer tick.Stop()
	for {
		least := max(1, h.batch)
		select {
		case <-tick.C:
			least = 1
		case <-h.more:
		case <-ctx.Done():
			return
		}
		h.rearrange()
		for ctx.Err() == nil && h.pass(least) {
			h.rearrange()
		}
	}
}

// rearrange lets watchers in, who begin with a snapshot, and out.
func (h *hub) rearrange() {
	h.mu.Lock()
	list := h.changes
	h.changes = nil
	h.mu.Unlock()
	for _, c := range list {
		if c.left {
			h.watchers = slices.DeleteFunc(h.watchers, func(w watcher) bool { return w == c.who })
			continue
		}
		h.encode(snapshot, nil)
		if c.who.update(&h.buf) {
			h.watchers = append(h.watchers, c.who)
		}
	}
}

// pass sends one frame, if at least so many updates wait.
func (h *hub) pass(least int) bool {
	h.mu.Lock()
	n := len(h.waiting)
	if n < least {
		h.mu.Unlock()
		return false
	}
	if h.batch > 0 {
		n = min(n, h.batch)
	}
	taken := slices.Clone(h.waiting[:n])
	h.waiting = h.waiting[:copy(h.waiting, h.waiting[n:])]
	h.mu.Unlock()
	h.position += uint64(n)
	h.encode(fixes, taken)
	h.watchers = slices.DeleteFunc(h.watchers, func(w watcher) bool { return !w.update(&h.buf) })
	return true
}

type kind int

const (
	snapshot kind = iota
	fixes
)

// encode writes a frame in both encodings.
func (h *hub) encode(k kind, list []update) {
	h.buf.event = h.event(h.buf.event[:0], k, list)
	h.buf.text = h.text(h.buf.text[:0], k, list)
}

// event is an EVENT frame of request 1, which is what a watch is.
func (h *hub) event(dst []byte, k kind, list []update) []byte {
	f := trk.WatchFrameT{Kind: trk.FrameKindSnapshot, Stream: 1, Position: float64(h.position)}
	if k == fixes {
		f.Kind = trk.FrameKindFixes
	}
	rows := make([]trk.FixT, len(list))
	for i, u := range list {
		rows[i] = trk.FixT{DeviceHi: uint16(u.device >> 32), DeviceLo: uint32(u.device), Time: float64(u.ms), Lat: u.lat, Lon: u.lon, Has: trk.HasPosition}
		f.Fixes = append(f.Fixes, &rows[i])
	}
	body := binary.LittleEndian.AppendUint64(nil, h.position)
	return rpc.AppendFrame(dst, rpc.Frame{Kind: rpc.KindEvent, ID: 1, Code: trk.WatchOpenEvent, Body: trk.AppendWatchFrame(body, &f)})
}

// text is a text message.
func (h *hub) text(dst []byte, k kind, list []update) []byte {
	b := make([]byte, 0, 128+128*len(list))
	if k == snapshot {
		b = append(b, `{"type":"snapshot","stream":1,"epoch":"0000000000000001","seq":`...)
		b = strconv.AppendUint(b, h.position, 10)
	} else {
		b = append(b, `{"type":"fixes","stream":1,"seq":`...)
		b = strconv.AppendUint(b, h.position, 10)
		b = append(b, `,"n":`...)
		b = strconv.AppendInt(b, int64(len(list)), 10)
	}
	b = append(b, `,"fixes":[`...)
	for i, u := range list {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(b, `{"device":"`...)
		b, _ = u.device.AppendText(b)
		b = append(b, `","name":"null","time":"`...)
		b = time.UnixMilli(u.ms).UTC().AppendFormat(b, "2006-01-02T15:04:05.000Z")
		b = append(b, `","lat":`...)
		b = strconv.AppendFloat(b, float64(u.lat)/geo.E7, 'f', -1, 64)
		b = append(b, `,"lon":`...)
		b = strconv.AppendFloat(b, float64(u.lon)/geo.E7, 'f', -1, 64)
		b = append(b, '}')
	}
	b = append(b, `]}`...)
	return append(appendHead(dst, opText, len(b)), b...)
}
