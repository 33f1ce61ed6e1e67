package fan

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math"
	"strconv"
	"time"

	"tracker/pkg/geo"
	"tracker/pkg/track"
)

const (
	opText  = 1
	opClose = 8
	opPing  = 9
	opPong  = 10
)

// wsWire speaks JSON in text messages, as docs/api.md has it. It belongs to the reader
// of its line, but for the requests, which hold nothing that changes.
type wsWire struct {
	scan  scanner
	parts []byte // of a message in several pieces
	split bool
	out   Frame // the one that is handed out
	pong  []byte
}

// textMessage appends a client's text message. Clients have to mask what they send; the
// mask of an instrument, which hides nothing, is zero and changes no byte.
func textMessage(dst []byte, payload string) []byte {
	return append(MaskedHead(dst, opText, len(payload)), payload...)
}

// MaskedHead appends the header of a whole frame with n bytes, as clients send it.
func MaskedHead(dst []byte, op byte, n int) []byte {
	dst = append(dst, 0x80|op)
	switch {
	case n < 126:
		dst = append(dst, 0x80|byte(n))
	case n < 1<<16:
		dst = append(dst, 0x80|126, byte(n>>8), byte(n))
	default:
		dst = binary.BigEndian.AppendUint64(append(dst, 0x80|127), uint64(n))
	}
	return append(dst, 0, 0, 0, 0)
}

func (p *wsWire) watch(dst []byte, a Area) []byte {
	if a.Map == "" {
		return textMessage(dst, fmt.Sprintf(`{"op":"watch","id":%d,"all":true}`, watchRequest))
	}
	ref, _ := json.Marshal(a.Map) // a string always marshals
	return textMessage(dst, fmt.Sprintf(`{"op":"watch","id":%d,"map":%s}`, watchRequest, ref))
}

func (p *wsWire) unwatch(dst []byte) []byte {
	return textMessage(dst, fmt.Sprintf(`{"op":"unwatch","id":%d}`, watchRequest))
}

func (p *wsWire) ping(dst []byte, n uint32) []byte {
	return binary.BigEndian.AppendUint32(MaskedHead(dst, opPing, 4), n)
}

// ReadHead reads the header of a frame: how long it and the payload are, 0 if it is not
// all there.
func ReadHead(b []byte) (head int, n uint64, err error) {
	if len(b) < 2 {
		return 0, 0, nil
	}
	if b[0]&0x70 != 0 || b[1]&0x80 != 0 {
		return 0, 0, protocol("a frame of a WebSocket that begins with %x", b[:2])
	}
	switch n = uint64(b[1]); n {
	case 126:
		if len(b) < 4 {
			return 0, 0, nil
		}
		return 4, uint64(binary.BigEndian.Uint16(b[2:])), nil
	case 127:
		if len(b) < 10 {
			return 0, 0, nil
		}
		n = binary.BigEndian.Uint64(b[2:])
		if n > mostBuffer {
			return 0, 0, protocol("a frame of %d bytes", n)
		}
		return 10, n, nil
	}
	return 2, n, nil
}

// take cuts b into frames.
func (p *wsWire) take(l *Line, b []byte, s Sink) (used, want int, err error) {
	for {
		head, n, err := ReadHead(b[used:])
		if err != nil || head == 0 {
			return used, 0, err
		}
		end := head + int(n)
		if len(b)-used < end {
			return used, end, nil
		}
		first, payload := b[used], b[used+head:used+end]
		used += end
		if err := p.frame(l, first, payload, s); err != nil {
			return used, 0, err
		}
	}
}

func (p *wsWire) frame(l *Line, first byte, payload []byte, s Sink) error {
	const last = 0x80
	op := first & 15
	switch {
	case op == opText && first&last != 0 && !p.split:
		return p.message(payload, s)
	case op == opText && !p.split, op == 0 && p.split:
		return p.piece(first&last != 0, payload, s)
	case op >= opClose && first&last == 0:
		return protocol("a control frame in pieces")
	case op == opPing:
		p.pong = append(MaskedHead(p.pong[:0], opPong, len(payload)), payload...)
		return l.say(p.pong)
	case op == opPong:
		if len(payload) == 4 {
			s.Pong(binary.BigEndian.Uint32(payload))
		}
		return nil
	case op == opClose:
		e := &ClosedError{Code: 1005}
		if len(payload) >= 2 {
			e.Code, e.Reason = int(binary.BigEndian.Uint16(payload)), string(payload[2:])
		}
		return e
	}
	return protocol("a frame of a WebSocket of kind %d", op)
}

func (p *wsWire) piece(last bool, payload []byte, s Sink) error {
	p.split = !last
	if p.parts = append(p.parts, payload...); len(p.parts) > mostBuffer {
		return protocol("a message of %d bytes", len(p.parts))
	}
	if !last {
		return nil
	}
	whole := p.parts
	p.parts = nil
	return p.message(whole, s)
}

// message reads our own form first, and any other form of the same then.
func (p *wsWire) message(b []byte, s Sink) error {
	f := &p.out
	*f = Frame{}
	switch {
	case p.scan.frame(b, f):
	case p.scan.reported(b, s):
		return nil
	default:
		m, err := p.scan.tolerant(b, f)
		if err != nil {
			return err
		}
		if f.Kind == 0 {
			return m.other(s)
		}
	}
	f.Bytes = len(b) + 4
	return s.Frame(f)
}

// message is what a server may say, in any order and with members that we do not know.
type message struct {
	Type     string     `json:"type"`
	ID       uint32     `json:"id"`
	Seq      uint64     `json:"seq"`
	Skipped  uint64     `json:"skipped"`
	More     bool       `json:"more"`
	Fixes    []looseFix `json:"fixes"`
	Accepted *int       `json:"accepted"`
	Error    struct {
		Code    string `json:"code"`
		Message string `json:"message"`
	} `json:"error"`
	Reason string `json:"reason"`
}

type looseFix struct {
	Device track.DeviceID `json:"device"`
	Time   time.Time      `json:"time"`
	Lat    *float64       `json:"lat"`
	Lon    *float64       `json:"lon"`
	Late   bool           `json:"late"`
}

// report tells whether a message answers a report, and which.
func (m *message) report() (id uint32, ok bool) {
	return m.ID - firstTextReport + firstReport, m.ID >= firstTextReport
}

// other takes what is no frame.
func (m *message) other(s Sink) error {
	switch m.Type {
	case "watching":
		s.Watching()
		return nil
	case "reported":
		id, ok := m.report()
		if !ok {
			return protocol("an answer to report %d", m.ID)
		}
		var err error
		if m.Accepted == nil || *m.Accepted == 0 {
			err = errNothing
		}
		s.Answer(id, err)
		return nil
	case "error":
		err := fmt.Errorf("%s: %s", m.Error.Code, m.Error.Message)
		switch m.Error.Code {
		case "denied", "unauthenticated":
			err = fmt.Errorf("%s: %w", m.Error.Message, track.ErrDenied)
		case "not_found":
			err = fmt.Errorf("%s: %w", m.Error.Message, track.ErrNotFound)
		}
		if id, ok := m.report(); ok {
			s.Answer(id, err)
			return nil
		}
		return fmt.Errorf("the server refused the watch: %w", err)
	case "ended", "closed":
		return fmt.Errorf("the server ended the watch: %s", m.Reason)
	}
	return nil // words that came later than this program
}

// tolerant reads what another hand than ours may have written.
func (s *scanner) tolerant(b []byte, f *Frame) (*message, error) {
	var m message
	if err := json.Unmarshal(b, &m); err != nil {
		return nil, protocol("a message that is not JSON of ours: %v", err)
	}
	switch m.Type {
	case "snapshot":
		f.Kind = Snapshot
	case "fixes":
		f.Kind = Fixes
	case "resync":
		f.Kind = Resync
	default:
		return &m, nil
	}
	f.More, f.Position, f.Skipped = m.More, m.Seq, m.Skipped
	s.fixes = s.fixes[:0]
	for _, x := range m.Fixes {
		fix := Fix{Device: x.Device, Time: x.Time.UnixMilli(), Late: x.Late}
		if x.Lat != nil && x.Lon != nil {
			fix.Placed, fix.Lat, fix.Lon = true, e7(*x.Lat), e7(*x.Lon)
		}
		s.fixes = append(s.fixes, fix)
	}
	f.Fixes = s.fixes
	return &m, nil
}

func e7(deg float64) int32 { return int32(math.Round(deg * geo.E7)) }

// wsReport is a ready report of one fix. All its numbers have the same width whatever
// they are, so they are written over.
type wsReport struct {
	frame              []byte
	id, time, lat, lon int
}

// Ids of reports over a WebSocket have ten digits, from here on.
const firstTextReport = 1_000_000_000

func newWSReport(id track.DeviceID) *wsReport {
	const number, ms, lat, lon = "1999999999", "1999999999999", "99.9999999", "999.9999999"
	text := `{"op":"report","id":` + number + `,"device":"` + id.String() +
		`","fixes":[{"time":` + ms + `,"lat":` + lat + `,"lon":` + lon + `}]}`
	r := &wsReport{frame: textMessage(nil, text)}
	at := len(r.frame) - len(text)
	find := func(name string) int {
		at += indexAfter(r.frame[at:], name)
		return at
	}
	r.id, r.time, r.lat, r.lon = find(`"id":`), find(`"time":`), find(`"lat":`), find(`"lon":`)
	return r
}

func indexAfter(b []byte, name string) int {
	for i := range b {
		if len(b)-i >= len(name) && string(b[i:i+len(name)]) == name {
			return i + len(name)
		}
	}
	panic("a report without " + strconv.Quote(name))
}

func (r *wsReport) append(dst []byte, id uint32, ms int64, at geo.Point) []byte {
	n := len(dst)
	dst = append(dst, r.frame...)
	own := dst[n:]
	digits(own[r.id:r.id+10], uint64(firstTextReport+id-firstReport))
	digits(own[r.time:r.time+13], uint64(ms))
	degrees(own[r.lat:r.lat+10], at.Lat)
	degrees(own[r.lon:r.lon+11], at.Lon)
	return dst
}

// digits writes v over all of b, with zeros in front.
func digits(b []byte, v uint64) {
	for i := len(b) - 1; i >= 0; i-- {
		b[i] = byte('0' + v%10)
		v /= 10
	}
}

// degrees writes 1e-7 degree over all of b, seven decimals.
func degrees(b []byte, v int32) {
	dot := len(b) - 8
	digits(b[dot+1:], uint64(v%geo.E7))
	b[dot] = '.'
	digits(b[:dot], uint64(v/geo.E7))
}
