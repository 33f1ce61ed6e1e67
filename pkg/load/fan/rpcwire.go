package fan

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math"

	"tracker/pkg/geo"
	"tracker/pkg/rpc"
	"tracker/pkg/track"
	"tracker/pkg/wire/trk"
)

// Ids of requests. Reports count up from firstReport.
const (
	watchRequest = 1
	firstReport  = 16
)

// rpcWire speaks frames of rpc. It belongs to the reader of its line, but for the
// requests, which hold nothing that changes.
type rpcWire struct {
	window int // frames that the server may send before it hears of us again
	left   int // of them
	parts  []byte
	fixes  []Fix
	out    Frame // the one that is handed out
	credit [rpc.HeaderSize + 4]byte
}

const mostWindow = 1 << 16

func newRPCWire(window int, w *rpc.Welcome) *rpcWire {
	if window <= 0 {
		window = mostWindow
	}
	window = max(1, min(window, int(w.MaxCredit)))
	return &rpcWire{window: window, left: window}
}

func (p *rpcWire) watch(dst []byte, a Area) []byte {
	area := &trk.AreaT{All: true}
	if a.Map != "" {
		area = &trk.AreaT{MapRef: a.Map}
	}
	body := trk.AppendWatchReq(nil, &trk.WatchReqT{Area: area})
	dst = rpc.AppendFrame(dst, rpc.Frame{Kind: rpc.KindReq, ID: watchRequest, Code: trk.WatchOpenID, Aux: rpc.NoTimeout, Body: body})
	return p.grant(dst, p.window)
}

func (p *rpcWire) grant(dst []byte, n int) []byte {
	var body [4]byte
	binary.LittleEndian.PutUint32(body[:], uint32(n))
	return rpc.AppendFrame(dst, rpc.Frame{Kind: rpc.KindCredit, ID: watchRequest, Body: body[:]})
}

func (p *rpcWire) unwatch(dst []byte) []byte {
	return rpc.AppendFrame(dst, rpc.Frame{Kind: rpc.KindCancel, ID: watchRequest})
}

func (p *rpcWire) ping(dst []byte, n uint32) []byte {
	return rpc.AppendFrame(dst, rpc.Frame{Kind: rpc.KindPing, ID: n, Body: make([]byte, 8)})
}

// take cuts b into frames.
func (p *rpcWire) take(l *Line, b []byte, s Sink) (used, want int, err error) {
	for len(b)-used >= rpc.HeaderSize {
		h := b[used:]
		word := binary.LittleEndian.Uint32(h)
		n := rpc.HeaderSize + int(word&(1<<24-1))
		if len(h) < n {
			return used, n, nil
		}
		f := rpc.Frame{
			Kind: rpc.Kind(word >> 24 & 15), Flags: uint8(word >> 28), ID: binary.LittleEndian.Uint32(h[4:]),
			Code: binary.LittleEndian.Uint16(h[8:]), Aux: binary.LittleEndian.Uint16(h[10:]), Body: h[rpc.HeaderSize:n:n],
		}
		used += n
		if err := p.frame(l, &f, s); err != nil {
			return used, 0, err
		}
	}
	return used, 0, nil
}

func (p *rpcWire) frame(l *Line, f *rpc.Frame, s Sink) error {
	switch f.Kind {
	case rpc.KindEvent:
		return p.event(l, f, s)
	case rpc.KindRsp:
		return p.answer(f, s)
	case rpc.KindPing:
		return l.say(rpc.AppendFrame(nil, rpc.Frame{Kind: rpc.KindPong, ID: f.ID, Body: f.Body}))
	case rpc.KindPong:
		s.Pong(f.ID)
		return nil
	case rpc.KindErr:
		if e := f.Failure(); f.ID != watchRequest {
			s.Answer(f.ID, e)
			return nil
		} else {
			return fmt.Errorf("watch: %w", e)
		}
	case rpc.KindEnd:
		if e := f.Failure(); e != nil {
			return fmt.Errorf("the server ended the watch: %w", e)
		}
		return errors.New("the server ended the watch")
	case rpc.KindGoAway:
		return fmt.Errorf("the server sent us away: %w", f.Failure())
	}
	return protocol("a frame of kind %d", f.Kind)
}

func (p *rpcWire) answer(f *rpc.Frame, s Sink) error {
	switch {
	case f.Flags != 0 || f.Code != 0:
		return protocol("an answer with flags %d and code %d", f.Flags, f.Code)
	case f.ID == watchRequest:
		s.Watching()
		return nil
	}
	ack, err := trk.ReadReportAck(f.Body)
	if err == nil && ack.Accepted() == 0 {
		err = errNothing
	}
	s.Answer(f.ID, err)
	return nil
}

var errNothing = errors.New("it was accepted, and not one fix of it")

// event takes one update of the watch. Long ones come in several frames.
func (p *rpcWire) event(l *Line, f *rpc.Frame, s Sink) error {
	if f.ID != watchRequest || f.Code != trk.WatchOpenEvent {
		return protocol("an event %d for request %d", f.Code, f.ID)
	}
	body, size := f.Body, rpc.HeaderSize+len(f.Body)
	if f.Flags&rpc.FlagMore != 0 || len(p.parts) > 0 {
		if p.parts = append(p.parts, body...); len(p.parts) > mostBuffer {
			return protocol("an event of %d bytes", len(p.parts))
		}
		if f.Flags&rpc.FlagMore != 0 {
			return nil
		}
		body, size = p.parts, len(p.parts)
		p.parts = nil // long ones are rare, and their memory is not ours to keep
	}
	if err := p.credited(l); err != nil {
		return err
	}
	const sequence = 8
	if len(body) < sequence {
		return protocol("an event of %d bytes", len(body))
	}
	p.out = Frame{Bytes: size}
	if err := p.read(body[sequence:], &p.out); err != nil {
		return err
	}
	return s.Frame(&p.out)
}

// credited tops the credit up when half of it is used.
func (p *rpcWire) credited(l *Line) error {
	if p.left--; p.left < 0 {
		return protocol("an event without credit")
	}
	if p.left > p.window/2 {
		return nil
	}
	b := p.grant(p.credit[:0], p.window-p.left)
	p.left = p.window
	return l.say(b)
}

// read reads a frame from a body.
func (p *rpcWire) read(body []byte, out *Frame) error {
	t, err := trk.ReadWatchFrame(body)
	if err != nil {
		return err
	}
	switch t.Kind() {
	case trk.FrameKindSnapshot:
		out.Kind = Snapshot
	case trk.FrameKindFixes:
		out.Kind = Fixes
	case trk.FrameKindResync:
		out.Kind = Resync
	default:
		return protocol("a frame of the watch of kind %d", t.Kind())
	}
	position, skipped := t.Position(), t.Skipped()
	if !count(position) || !count(skipped) {
		return protocol("a frame of the watch at position %v, %v skipped", position, skipped)
	}
	out.More, out.Position, out.Skipped = t.More(), uint64(position), uint64(skipped)
	n := t.FixesLength()
	p.fixes = p.fixes[:0]
	var f trk.Fix
	for i := range n {
		t.Fixes(&f, i)
		p.fixes = append(p.fixes, Fix{
			Device: track.DeviceID(f.DeviceHi())<<32 | track.DeviceID(f.DeviceLo()), Time: int64(f.Time()),
			Lat: f.Lat(), Lon: f.Lon(), Late: f.Marks()&trk.MarkLate != 0, Placed: f.Has()&trk.HasPosition != 0,
		})
	}
	out.Fixes = p.fixes
	if cap(p.fixes) > keepFixes {
		p.fixes = nil
	}
	return nil
}

// keepFixes is how many fixes a line keeps room for: snapshots are long, and come once.
const keepFixes = 256

// count tells whether a double is a number of things.
func count(v float64) bool { return v >= 0 && v <= 1<<53 && v == math.Trunc(v) }

// rpcReport is a ready report of one fix, in which four numbers are patched.
type rpcReport struct {
	frame        []byte
	time, places int
}

const idInHeader = 4

func newRPCReport(id track.DeviceID) *rpcReport {
	const time, lat, lon = 1234567890123, 0x5a11c0d, 0x1dea5ee
	body := trk.AppendReportReq(nil, &trk.ReportReqT{
		Device: id.String(), Fixes: []*trk.FixT{{Time: time, Lat: lat, Lon: lon, Has: trk.HasPosition}},
	})
	r := &rpcReport{frame: rpc.AppendFrame(nil, rpc.Frame{Kind: rpc.KindReq, Code: trk.PublishReportID, Aux: rpc.NoTimeout, Body: body})}
	r.time = bytes.LastIndex(r.frame, binary.LittleEndian.AppendUint64(nil, math.Float64bits(time)))
	places := binary.LittleEndian.AppendUint32(binary.LittleEndian.AppendUint32(nil, lat), lon)
	r.places = bytes.LastIndex(r.frame, places)
	return r
}

func (r *rpcReport) append(dst []byte, id uint32, ms int64, at geo.Point) []byte {
	n := len(dst)
	dst = append(dst, r.frame...)
	own := dst[n:]
	binary.LittleEndian.PutUint32(own[idInHeader:], id)
	binary.LittleEndian.PutUint64(own[r.time:], math.Float64bits(float64(ms)))
	binary.LittleEndian.PutUint32(own[r.places:], uint32(at.Lat))
	binary.LittleEndian.PutUint32(own[r.places+4:], uint32(at.Lon))
	return dst
}
