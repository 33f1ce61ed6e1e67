package seal_test

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"strings"
	"testing"

	"tracker/pkg/geo"
	"tracker/pkg/seal"
	"tracker/pkg/track"
	"tracker/pkg/wire"
)

// This file writes the vectors; vectors_test.go reads them back and knows nothing
// of how they were made. Only what a vector is given stands here. What it expects
// is computed, and frozen in the file: a change shows as a difference there.

const (
	device  = track.DeviceID(0xa1b2c3d4e5f6)
	epoch0  = uint32(1700000000) // 6553f100
	fixTime = int64(1700000060000)
	boot0   = int64(1780000000)
)

var berlin = geo.Point{Lat: 521234567, Lon: 132345678}

func root() (r seal.Root) {
	for i := range r {
		r[i] = byte(i)
	}
	return r
}

type maker struct {
	t   testing.TB
	out []vector
}

func makeVectors(t testing.TB) []vector {
	m := &maker{t: t}
	m.keys()
	m.reports()
	m.limits()
	m.acks()
	m.accuracy()
	m.windows()
	m.epochs()
	m.malformed()
	m.refused()
	m.devices()
	m.enrolments()
	return m.out
}

func (m *maker) add(v vector) { m.out = append(m.out, v) }

// base is a vector with everything that follows from the header.
func (m *maker) base(name, kind, note string, h seal.Header) vector {
	r := root()
	k := seal.Derive(&r, h.Suite, h.Device, h.Epoch)
	info := append([]byte("trk1"), 0x10|byte(h.Suite))
	info = append(info, headerBytes(h)[1:11]...)
	return vector{
		Name: name, Kind: kind, Note: note, Suite: int(h.Suite), Root: hex.EncodeToString(r[:]), ID: h.Device.String(),
		Epoch: ptr(h.Epoch), Info: hex.EncodeToString(info), OKM: hex.EncodeToString(append(k.Up[:], k.Ack[:]...)),
	}
}

func headerBytes(h seal.Header) []byte {
	b := []byte{0x10 | byte(h.Suite), 0, 0, 0, 0, 0, 0}
	h.Device.PutWire(b[1:])
	return append(b, byte(h.Epoch>>24), byte(h.Epoch>>16), byte(h.Epoch>>8), byte(h.Epoch),
		byte(h.PID>>16), byte(h.PID>>8), byte(h.PID))
}

func header(suite seal.Suite, pid uint32) seal.Header {
	return seal.Header{Suite: suite, Device: device, Epoch: epoch0, PID: pid}
}

func (m *maker) keys() {
	for _, suite := range []seal.Suite{1, 2} {
		m.add(m.base(fmt.Sprintf("keys suite %d", suite), "keys", "", header(suite, 0)))
	}
	for _, e := range []uint32{0, 1<<32 - 1} {
		m.add(m.base(fmt.Sprintf("keys epoch %d", e), "keys", "", seal.Header{Suite: 1, Device: device, Epoch: e}))
	}
	r := root()
	for _, e := range []uint32{0, epoch0, epoch0 | 0xffff + 1, 1<<32 - 1} {
		m.add(vector{Name: fmt.Sprintf("rotating id window %d", e>>16), Kind: "rotating_id", Root: hex.EncodeToString(r[:]),
			Epoch: ptr(e), Window: ptr(e >> 16), ID: seal.RotatingID(&r, e>>16).String()})
	}
}

// report adds a datagram with this body and what the body says.
func (m *maker) report(name, note string, h seal.Header, body []byte) {
	v := m.sealed(name, note, h, body)
	var b track.Batch
	ack, err := wire.DecodeBody(&b, body)
	if err != nil {
		m.t.Fatalf("%s: %v", name, err)
	}
	v.Body = bodyFields(&b, ack)
	m.add(v)
}

func (m *maker) sealed(name, note string, h seal.Header, body []byte) vector {
	v := m.base(name, "report", note, h)
	r := root()
	k := seal.Derive(&r, h.Suite, h.Device, h.Epoch)
	pkt, err := seal.Seal(nil, h, &k, body)
	if err != nil {
		m.t.Fatalf("%s: %v", name, err)
	}
	v.PID = ptr(h.PID)
	v.Nonce, v.AAD = hex.EncodeToString(pkt[2:14]), hex.EncodeToString(pkt[:14])
	v.Plaintext, v.Wire = hex.EncodeToString(body), hex.EncodeToString(pkt)
	return v
}

func (m *maker) encode(b wire.Body) []byte {
	body, err := wire.AppendBody(nil, &b)
	if err != nil {
		m.t.Fatalf("encode %+v: %v", b, err)
	}
	return body
}

func (m *maker) reports() {
	full := track.Fix{Time: fixTime, At: berlin, Alt: 34, Speed: 1389, Course: 27015, Acc: wire.AccuracyCode(480), Bat: 87,
		Has: track.HasPos | track.HasAlt | track.HasVel | track.HasAcc | track.HasBat}
	minimal := track.Fix{Time: fixTime, At: berlin, Has: track.HasPos}
	moving := full
	moving.Bat, moving.Has = 0, full.Has&^track.HasBat
	beat := track.Fix{Time: fixTime, Bat: 99 | 0x80, Has: track.HasBat}

	for _, suite := range []seal.Suite{1, 2} {
		m.report(fmt.Sprintf("minimal suite %d", suite), "13 bytes of body, 43 in all: the smallest", header(suite, 0),
			m.encode(wire.Body{Fixes: []track.Fix{minimal}}))
		m.report(fmt.Sprintf("full suite %d", suite), "51 bytes; asks for an ack", header(suite, 1),
			m.encode(wire.Body{Fixes: []track.Fix{full}, Ack: true}))
		m.report(fmt.Sprintf("heartbeat suite %d", suite), "no position, 99 % on external power, event SOS", header(suite, 2),
			m.encode(wire.Body{Fixes: []track.Fix{beat}, TLVs: wire.AppendTLV(nil, wire.TLVEvent, []byte{1})}))
	}
	m.report("heartbeat bare", "time and nothing else", header(1, 5), m.encode(wire.Body{Fixes: []track.Fix{{Time: fixTime}}}))
	m.report("every TLV", "each standard type, a vendor's and one that nobody knows", header(1, 6),
		m.encode(wire.Body{Fixes: []track.Fix{minimal}, TLVs: everyTLV()}))

	at := func(dt int64, lat, lon int32) track.Fix {
		return track.Fix{Time: fixTime - dt, At: geo.Point{Lat: lat, Lon: lon}, Has: track.HasPos}
	}
	trail := func(name, note string, pid uint32, b wire.Body) { m.report(name, note, header(1, pid), m.encode(b)) }

	trail("trail", "TP is 0: the older fixes keep the altitude of the newer, and have no speed or accuracy", 3, wire.Body{
		Fixes: []track.Fix{moving, at(1000, 521233333, 132347678), at(61000, 521303333, 132347677)}})
	older := moving
	older.Time, older.At, older.Alt, older.Speed, older.Course, older.Acc = fixTime-10000, geo.Point{Lat: 521234000, Lon: 132346000}, 30, 1500, 100, 0x39
	oldest := older
	oldest.Time, oldest.At, oldest.Alt, oldest.Speed, oldest.Course, oldest.Acc = fixTime-20000, geo.Point{Lat: 521239999, Lon: 132340000}, -5, 0, 35900, 0xff
	trail("trail all parts", "altitude, speed, course (through north) and accuracy", 7, wire.Body{
		Fixes: []track.Fix{moving, older, oldest}, TrailParts: track.HasAlt | track.HasVel | track.HasAcc})
	trail("trail accuracy only", "the altitude is kept, the speed is not known", 8, wire.Body{
		Fixes: []track.Fix{moving, older}, TrailParts: track.HasAcc})
	half := moving
	half.Course = 9015
	trail("trail half turn", "a turn of exactly 180 degrees counts as +180.00", 9, wire.Body{
		Fixes: []track.Fix{moving, half}, TrailParts: track.HasVel})

	east, west := at(0, -179000000, 1799999990), at(5000, -179000000, -1799999990)
	trail("antimeridian eastward", "lon +179.999999, five seconds before -179.999999", 4, wire.Body{Fixes: []track.Fix{east, west}})
	west.Time, east.Time = fixTime, fixTime-5000
	trail("antimeridian westward", "the other way", 10, wire.Body{Fixes: []track.Fix{west, east}})
	trail("meridian 180 both spellings", "+180 and -180 are one meridian: no difference", 11, wire.Body{
		Fixes: []track.Fix{at(0, 0, 1800000000), at(1000, 0, -1800000000)}})
	trail("half way round", "exactly 180 degrees of longitude count as +180", 12, wire.Body{
		Fixes: []track.Fix{at(0, 0, 10), at(1000, 0, -1799999990)}})
	trail("pole to pole", "", 13, wire.Body{Fixes: []track.Fix{at(0, geo.MaxLat, 0), at(1000, -geo.MaxLat, 0), at(2000, geo.MaxLat, 0)}})
	trail("negative deltas", "", 14, wire.Body{Fixes: []track.Fix{at(0, -1, -1), at(1000, -64, -65), at(1000, -8257, -8258)}})

	quick := func(ms int64) track.Fix { return track.Fix{Time: fixTime + ms, At: berlin, Has: track.HasPos} }
	trail("sub-second", "996 ms", 15, wire.Body{Fixes: []track.Fix{quick(996)}, Sub: true})
	trail("trail in 4 ms ticks", "TP.SUB: 100 ms, 100 ms, and across the second", 16, wire.Body{
		Fixes: []track.Fix{quick(96), quick(-4), quick(-104), quick(-60104)}, Sub: true, TrailSub: true})
	trail("trail keeps the sub-second", "without TP.SUB: whole seconds, so the older fixes end in .500, too", 17, wire.Body{
		Fixes: []track.Fix{quick(500), quick(-500)}, Sub: true})
	trail("trail and TLVs", "offline for a while: trail, battery, 300 fixes still queued, ack", 18, wire.Body{
		Fixes: []track.Fix{full, at(60000, 521000000, 132000000)}, Ack: true,
		TLVs: wire.AppendTLV(nil, wire.TLVQueued, []byte{1, 44})})
}

func everyTLV() (raw []byte) {
	for _, tlv := range []struct {
		t wire.TLVType
		v string
	}{
		{wire.TLVPad, "000000"}, {wire.TLVSource, "01"}, {wire.TLVSatellites, "0c"}, {wire.TLVEvent, "06"},
		{wire.TLVTemperature, "fb2e"}, {wire.TLVSupply, "30d4"}, {wire.TLVOdometer, "000f4240"}, {wire.TLVVerticalAcc, "60"},
		{wire.TLVText, hex.EncodeToString([]byte("Grüße"))}, {wire.TLVEllipsoid, "00001d4c"},
		{wire.TLVCell, "0301060001000012340000000001a2b3c4"}, {wire.TLVQueued, "0000"}, {wire.TLVFirmware, "00010203"},
		{13, "abcdef"}, {wire.TLVVendorFirst, "beef01"}, {255, ""},
	} {
		v, err := hex.DecodeString(tlv.v)
		if err != nil {
			panic(err)
		}
		raw = wire.AppendTLV(raw, tlv.t, v)
	}
	return raw
}

func (m *maker) limits() {
	pad := func(n int) []byte { // n bytes of padding TLVs
		var raw []byte
		for n > 0 {
			k := min(n, 257)
			if n-k == 1 {
				k--
			}
			raw = wire.AppendTLV(raw, wire.TLVPad, make([]byte, k-2))
			n -= k
		}
		return raw
	}
	minimal := track.Fix{Time: fixTime, At: berlin, Has: track.HasPos}
	for _, suite := range []seal.Suite{1, 2} {
		m.report(fmt.Sprintf("1200 bytes suite %d", suite), "the largest datagram", header(suite, 20),
			m.encode(wire.Body{Fixes: []track.Fix{minimal}, TLVs: pad(seal.MaxBody - seal.MinBody)}))
	}
	m.report("padded to 128 bytes", "", header(1, 21), m.encode(wire.Body{Fixes: []track.Fix{minimal}, TLVs: pad(128 - 43)}))
	m.report("highest ids", "id ffffffffffff, epoch 2^32-1, packet id 2^24-1",
		seal.Header{Suite: 1, Device: track.MaxDeviceID, Epoch: 1<<32 - 1, PID: seal.MaxPID}, m.encode(wire.Body{Fixes: []track.Fix{minimal}}))
	m.report("lowest ids", "id 000000000001, epoch 0, packet id 0", seal.Header{Suite: 1, Device: 1}, m.encode(wire.Body{Fixes: []track.Fix{minimal}}))

	all := track.HasPos | track.HasAlt | track.HasVel | track.HasAcc | track.HasBat
	m.report("highest values", "battery unknown, on power; accuracy worse than 4.9 km", header(1, 22), m.encode(wire.Body{Sub: true, Fixes: []track.Fix{{
		Time: (1<<32-1)*1000 + 996, At: geo.Point{Lat: geo.MaxLat, Lon: geo.MaxLon}, Alt: 32767, Speed: 65535, Course: 35999, Acc: 255, Bat: 255, Has: all}}}))
	m.report("lowest values", "battery empty", header(1, 23), m.encode(wire.Body{Sub: true, Fixes: []track.Fix{{
		At: geo.Point{Lat: -geo.MaxLat, Lon: -geo.MaxLon}, Alt: -32768, Has: all}}}))

	fixes := make([]track.Fix, 256)
	for i := range fixes {
		fixes[i] = track.Fix{Time: fixTime - int64(i)*1000, At: geo.Point{Lat: berlin.Lat - int32(i)*50, Lon: berlin.Lon + int32(i)*40}, Has: track.HasPos}
	}
	m.report("trail of 255", "the longest trail", header(1, 24), m.encode(wire.Body{Fixes: fixes}))
}

func (m *maker) acks() {
	r := root()
	add := func(name, note string, h seal.Header, a seal.Ack) {
		v := m.base(name, "ack", note, h)
		k := seal.Derive(&r, h.Suite, h.Device, h.Epoch)
		v.PID = ptr(h.PID)
		v.Ack = &ackFields{Status: int(a.Status), Time: a.Time, Max: a.Max, Bitmap: a.Bitmap}
		v.Wire = hex.EncodeToString(seal.AppendAck(nil, h, a, &k.Ack))
		m.add(v)
	}
	const now = 0x6553f13d
	add("ack", "of the report \"full suite 1\"", header(1, 1), seal.Ack{Time: now, Max: 1, Bitmap: 0x8000})
	add("ack suite 2", "of the report \"full suite 2\"", header(2, 1), seal.Ack{Time: now, Max: 1, Bitmap: 0x8000})
	add("ack clock", "taken, but the device's clock is off by more than a minute", header(1, 2), seal.Ack{Status: seal.AckClock, Time: now + 3600, Max: 2, Bitmap: 0xc000})
	add("ack epoch old", "not taken; no window, so max and bitmap are 0", header(1, 3), seal.Ack{Status: seal.AckEpochOld, Time: now})
	add("ack rate limited", "not taken", header(1, 4), seal.Ack{Status: seal.AckRateLimited, Time: now, Max: 4, Bitmap: 0xf800})
	add("ack reprovision", "taken; the credential ends soon", header(1, 5), seal.Ack{Status: seal.AckReprovision, Time: now, Max: 9, Bitmap: 0x8c3f})
	add("ack limits", "", header(1, seal.MaxPID), seal.Ack{Time: 1<<32 - 1, Max: seal.MaxPID, Bitmap: 0xffff})
}

func (m *maker) accuracy() {
	v := vector{Name: "accuracy codes", Kind: "accuracy", Note: "cm of the codes 0 to 255 in order; the last means worse than its cm"}
	for code := range 256 {
		cm, _ := wire.AccuracyCM(uint8(code))
		v.CM = append(v.CM, cm)
	}
	for _, cm := range []float64{0, 0.2, 1, 15, 15.5, 16, 31, 31.5, 32, 33, 100, 480, 500, 1000, 5000, 100000, 491520, 491520.5, 500000} {
		v.Encode = append(v.Encode, accuracyPair{cm, int(wire.AccuracyCode(cm))})
	}
	m.add(v)
}

func (m *maker) windows() {
	script := func(name, note string, pids ...uint32) {
		v := vector{Name: name, Kind: "window", Note: note}
		e := seal.Epochs{}
		for _, pid := range pids {
			v.Steps = append(v.Steps, windowStep(&e, epoch0, pid))
		}
		v.Max, v.Bitmap = seen(&e.Newest)
		m.add(v)
	}
	upTo := func(n uint32) (pids []uint32) {
		for pid := range n {
			pids = append(pids, pid)
		}
		return pids
	}
	script("window in order", "", upTo(70)...)
	script("window 0 first", "", 0, 0, 1)
	script("window 0 late", "", 1, 0, 0)
	script("window duplicate", "", 5, 5, 6, 5, 6)
	script("window 63 back", "the oldest that still counts", 100, 37, 37)
	script("window 64 back", "one too old", 100, 36)
	script("window jump 63", "keeps one", 10, 73, 10, 9)
	script("window jump 64", "keeps nothing", 10, 74, 10, 11)
	script("window jump far", "", 3, 1000000, 3, 999999, 999937, 999936)
	script("window loss", "for the bitmap of the ack", 0, 1, 4, 6, 7, 9, 15)
	script("window end of epoch", "", seal.MaxPID-64, seal.MaxPID, seal.MaxPID, seal.MaxPID-63, seal.MaxPID-64)

	v := vector{Name: "window recovered", Kind: "window", Note: "after a restart, only the highest id is known: all before it count as seen", Recovered: ptr(uint32(10))}
	e := seal.Epochs{Newest: seal.Recovered(epoch0, 10)}
	for _, pid := range []uint32{10, 0, 9, 11, 12, 11} {
		v.Steps = append(v.Steps, windowStep(&e, epoch0, pid))
	}
	v.Max, v.Bitmap = seen(&e.Newest)
	m.add(v)
}

func seen(w *seal.Window) (*uint32, *uint16) {
	highest, bitmap := w.Seen()
	return &highest, &bitmap
}

// windowStep asks, and takes the datagram if it may come.
func windowStep(e *seal.Epochs, epoch, pid uint32) step {
	slot, err := e.Check(epoch, pid)
	if err == nil {
		e.Accept(slot, epoch, pid)
	}
	return step{PID: ptr(pid), Result: counterName(err)}
}

func (m *maker) epochs() {
	script := func(name, note string, e seal.Epochs, ids ...[2]uint32) {
		v := vector{Name: name, Kind: "epochs", Note: note, Floor: ptr(e.Floor)}
		for _, w := range []seal.Window{e.Newest, e.Older} {
			if w.Live() {
				v.Live = append(v.Live, liveEpoch{w.Epoch, w.Max - 1})
			}
		}
		for _, id := range ids {
			s := windowStep(&e, id[0], id[1])
			s.Epoch = ptr(id[0])
			v.Steps = append(v.Steps, s)
		}
		m.add(v)
	}
	type ids = [2]uint32
	script("epochs two slots", "two are live, a third replaces the older", seal.Epochs{},
		ids{100, 0}, ids{101, 0}, ids{100, 1}, ids{101, 1}, ids{100, 1}, ids{105, 0}, ids{101, 2}, ids{100, 2})
	script("epochs between and below", "neither is ever taken", seal.Epochs{},
		ids{100, 0}, ids{200, 0}, ids{150, 0}, ids{99, 0}, ids{200, 1}, ids{100, 1})
	script("epochs one live", "below the only live epoch is old, too", seal.Epochs{}, ids{100, 7}, ids{99, 0}, ids{100, 7}, ids{101, 0})
	script("epochs floor", "of a device enrolled at 1000", seal.Epochs{Floor: 1000}, ids{999, 0}, ids{1000, 0}, ids{1000, 0})
	script("epochs zero", "epoch 0 is an epoch", seal.Epochs{}, ids{0, 0}, ids{0, 0}, ids{1, 0}, ids{0, 1})
	script("epochs highest", "", seal.Epochs{}, ids{1<<32 - 1, 0}, ids{1<<32 - 2, 0}, ids{1<<32 - 1, 1})
	script("epochs recovered", "after a restart, from what was stored", seal.Epochs{Floor: 1000, Newest: seal.Recovered(2000, 17), Older: seal.Recovered(1500, 3)},
		ids{2000, 17}, ids{2000, 5}, ids{2000, 18}, ids{1500, 3}, ids{1500, 4}, ids{1700, 0}, ids{2001, 0}, ids{1500, 5})
}

func (m *maker) malformed() {
	pid := uint32(100)
	for _, bad := range malformedBodies {
		body, err := hex.DecodeString(strings.ReplaceAll(bad.body, " ", ""))
		if err != nil {
			m.t.Fatal(err)
		}
		v := m.sealed("malformed: "+bad.name, "", header(1, pid), body)
		pid++
		v.Error = counterName(decodeError(body))
		m.add(v)
	}
}

func decodeError(body []byte) error {
	var b track.Batch
	_, err := wire.DecodeBody(&b, body)
	return err
}

// malformedBodies breaks each rule of the strict decoder once, where the body is
// long enough to be sealed at all.
var malformedBodies = []struct{ name, body string }{
	{"a byte too many", "00 6553f13c1f11688707e36f4e 00"},
	{"latitude 90.0000001", "00 6553f13c35a4e90107e36f4e"},
	{"latitude -90.0000001", "00 6553f13cca5b16ff07e36f4e"},
	{"latitude 80000001", "00 6553f13c8000000107e36f4e"},
	{"longitude 180.0000001", "00 6553f13c1f1168876b49d201"},
	{"longitude -180.0000001", "00 6553f13c1f11688794b62dff"},
	{"no position, but a longitude", "00 6553f13c8000000000000001"},
	{"altitude cut", "01 6553f13c1f11688707e36f4e 00"},
	{"speed and course cut", "02 6553f13c1f11688707e36f4e 056d69"},
	{"course 360.00", "02 6553f13c1f11688707e36f4e 056d8ca0"},
	{"accuracy missing", "04 6553f13c1f11688707e36f4e"},
	{"battery missing", "08 6553f13c1f11688707e36f4e"},
	{"battery 101 %", "08 6553f13c1f11688707e36f4e 65"},
	{"battery 126 % on power", "08 6553f13c1f11688707e36f4e fe"},
	{"sub-second missing", "10 6553f13c1f11688707e36f4e"},
	{"sub-second 250", "10 6553f13c1f11688707e36f4e fa"},
	{"trail without position", "20 6553f13c8000000000000000 0100 010000"},
	{"trail without TP", "20 6553f13c1f11688707e36f4e 01"},
	{"trail of no fixes", "20 6553f13c1f11688707e36f4e 0000"},
	{"trail bit BAT", "28 6553f13c1f11688707e36f4e 57 0108 010000"},
	{"trail bit TRAIL", "20 6553f13c1f11688707e36f4e 0120 010000"},
	{"trail bit TLVS", "60 6553f13c1f11688707e36f4e 0140 010000 0000"},
	{"trail bit ACK", "a0 6553f13c1f11688707e36f4e 0180 010000"},
	{"trail altitude, newest has none", "20 6553f13c1f11688707e36f4e 0101 01000000"},
	{"trail speed, newest has none", "21 6553f13c1f11688707e36f4e 0022 0103 010000000000"},
	{"trail accuracy, newest has none", "20 6553f13c1f11688707e36f4e 0104 01000000"},
	{"trail ticks, newest has no sub-second", "20 6553f13c1f11688707e36f4e 0110 010000"},
	{"trail cut before its second entry", "20 6553f13c1f11688707e36f4e 0200 010000"},
	{"trail cut within a number", "20 6553f13c1f11688707e36f4e 0100 010080"},
	{"trail cut before its accuracy", "24 6553f13c1f11688707e36f4e 5e 0104 010000"},
	{"varint of seven bytes", "20 6553f13c1f11688707e36f4e 0100 80808080808001 0000"},
	{"varint with a spare zero byte", "20 6553f13c1f11688707e36f4e 0100 8100 0000"},
	{"varint zero in two bytes", "20 6553f13c1f11688707e36f4e 0100 01 8000 00"},
	{"trail before 1970", "20 000000051f11688707e36f4e 0100 060000"},
	{"trail over the pole", "20 6553f13c35a4e90007e36f4e 0100 010200"},
	{"trail longitude of +180.0000001", "20 6553f13c1f11688707e36f4e 0100 0100 82c8ceb40d"},
	{"trail longitude of -180", "20 6553f13c1f11688707e36f4e 0100 0100 ffc7ceb40d"},
	{"trail altitude 32768", "21 6553f13c1f11688707e36f4e 7fff 0101 01000002"},
	{"trail altitude -32769", "21 6553f13c1f11688707e36f4e 8000 0101 01000001"},
	{"trail speed -1", "22 6553f13c1f11688707e36f4e 00000000 0102 0100000100"},
	{"trail speed 65536", "22 6553f13c1f11688707e36f4e ffff0000 0102 0100000200"},
	{"trail turn of +180.01", "22 6553f13c1f11688707e36f4e 00000000 0102 01000000 a29902"},
	{"trail turn of -180.00", "22 6553f13c1f11688707e36f4e 00000000 0102 01000000 9f9902"},
	{"a byte after the trail", "20 6553f13c1f11688707e36f4e 0100 010000 00"},
	{"TLVS, but no TLV", "40 6553f13c1f11688707e36f4e"},
	{"TLV without length", "40 6553f13c1f11688707e36f4e 03"},
	{"TLV cut", "40 6553f13c1f11688707e36f4e 0801"},
	{"source of two bytes", "40 6553f13c1f11688707e36f4e 01020101"},
	{"event of two bytes", "40 6553f13c1f11688707e36f4e 03020101"},
	{"odometer of three bytes", "40 6553f13c1f11688707e36f4e 0603010101"},
	{"cell of one byte", "40 6553f13c1f11688707e36f4e 0a0101"},
	{"vendor TLV without a vendor", "40 6553f13c1f11688707e36f4e 800100"},
	{"two events", "40 6553f13c1f11688707e36f4e 030101 030102"},
	{"text that is not UTF-8", "40 6553f13c1f11688707e36f4e 0801ff"},
}

// refused are datagrams and acks that never get as far as a body.
func (m *maker) refused() {
	minimal, err := hex.DecodeString("006553f13c1f11688707e36f4e")
	if err != nil {
		m.t.Fatal(err)
	}
	good := m.sealed("", "", header(1, 0), minimal)
	full2 := m.sealed("", "", header(2, 0), minimal)
	pkt := func(v vector) []byte { b, _ := hex.DecodeString(v.Wire); return b }
	add := func(name, note string, b []byte, want string) {
		v := m.base("refused: "+name, "datagram", note, header(1, 0))
		v.Info, v.OKM, v.Epoch = "", "", nil
		v.Wire, v.Error = hex.EncodeToString(b), want
		m.add(v)
	}
	edit := func(f func(b []byte)) []byte { b := bytes.Clone(pkt(good)); f(b); return b }

	add("one byte", "", pkt(good)[:1], "bad_len")
	add("tag cut by one byte", "42 bytes are too few for any report", pkt(good)[:42], "bad_len")
	longer := m.sealed("", "", header(1, 0), append(bytes.Clone(minimal), 0))
	add("tag cut", "one byte of the tag is missing", pkt(longer)[:43], "auth_fail")
	add("1201 bytes", "", append(pkt(good), make([]byte, 1201-43)...), "bad_len")
	add("version 0", "", edit(func(b []byte) { b[0] = 0x01 }), "bad_version")
	add("version 2", "", edit(func(b []byte) { b[0] = 0x21 }), "bad_version")
	add("suite 0", "", edit(func(b []byte) { b[0] = 0x10 }), "bad_version")
	add("suite 3", "reserved", edit(func(b []byte) { b[0] = 0x13 }), "bad_version")
	add("ack bit", "a report that calls itself an ack", edit(func(b []byte) { b[0] = 0x19 }), "bad_version")
	ack := m.ackBytes(header(1, 1))
	add("an ack", "40 bytes are too few for any report", ack, "bad_len")
	add("an ack, padded", "", append(ack, make([]byte, 11)...), "bad_version")
	add("other id", "", edit(func(b []byte) { b[6] ^= 1 }), "unknown_id")
	add("suite 2 for a suite 1 id", "sealed by who has the root", pkt(full2), "bad_suite")
	add("relabelled suite 2", "the bytes of suite 1", edit(func(b []byte) { b[0] = 0x12 }), "bad_suite")
	add("other epoch", "", edit(func(b []byte) { b[10] ^= 1 }), "auth_fail")
	add("other packet id", "", edit(func(b []byte) { b[13] ^= 1 }), "auth_fail")
	add("ciphertext altered", "", edit(func(b []byte) { b[14] ^= 0x80 }), "auth_fail")
	add("tag altered", "", edit(func(b []byte) { b[42] ^= 1 }), "auth_fail")
	add("tag of zeros", "", edit(func(b []byte) { clear(b[27:]) }), "auth_fail")
	add("a byte appended", "", append(pkt(good), 0), "auth_fail")

	addAck := func(name, note string, b []byte, waiting uint32, want string) {
		v := m.base("ack refused: "+name, "ack", note, header(1, 0))
		v.PID = ptr(waiting)
		v.Wire, v.Error = hex.EncodeToString(b), want
		m.add(v)
	}
	editAck := func(f func(b []byte)) []byte { b := bytes.Clone(ack); f(b); return b }
	addAck("status altered", "", editAck(func(b []byte) { b[14] = 2 }), 1, "auth_fail")
	addAck("time altered", "", editAck(func(b []byte) { b[18] ^= 1 }), 1, "auth_fail")
	addAck("MAC altered", "", editAck(func(b []byte) { b[39] ^= 1 }), 1, "auth_fail")
	addAck("cut", "", ack[:39], 1, "bad_len")
	addAck("a byte appended", "", append(bytes.Clone(ack), 0), 1, "bad_len")
	addAck("ack bit cleared", "", editAck(func(b []byte) { b[0] = 0x11 }), 1, "bad_version")
	addAck("another packet id waits", "", ack, 2, "not_pending")
	addAck("of another device", "", editAck(func(b []byte) { b[6] ^= 1 }), 1, "not_pending")
	addAck("relabelled suite", "", editAck(func(b []byte) { b[0] = 0x1a }), 1, "not_pending")
}

func (m *maker) ackBytes(h seal.Header) []byte {
	r := root()
	k := seal.Derive(&r, h.Suite, h.Device, h.Epoch)
	return seal.AppendAck(nil, h, seal.Ack{Time: 0x6553f13d, Max: 1, Bitmap: 0x8000}, &k.Ack)
}

func (m *maker) devices() {
	boot := func(clock int64, trusted bool) step { return step{Do: "boot", Clock: &clock, Trusted: &trusted} }
	clock := func(clock int64, trusted bool) step { return step{Do: "clock", Clock: &clock, Trusted: &trusted} }
	send, restore := step{Do: "send"}, func(n uint32) step { return step{Do: "restore", Stored: &n} }
	cutBefore, cutAfter := step{Do: "send", Cut: "before_write"}, step{Do: "send", Cut: "after_write"}
	skip := func(pid uint32) step { return step{Do: "skip", PID: &pid} }
	old := func(t int64) step { return step{Do: "ack", Status: 2, Time: uint32(t)} }
	trace := func(name, note, flags string, storage bool, steps ...step) {
		v := vector{Name: "device: " + name, Kind: "device", Note: note, Flags: &flags, Storage: &storage}
		r := root()
		v.Root, v.ID, v.Suite = hex.EncodeToString(r[:]), device.String(), 1
		v.Steps = playDevice(m.t, &v, steps)
		m.add(v)
	}
	const t = boot0
	trace("boot and reboot", "the epoch is the clock, and one more within the same second", "", true,
		boot(t, true), send, send, send, boot(t, true), send, boot(t+100, true), send)
	trace("power cut", "before the epoch is written nothing was sent; after it the epoch is lost", "", true,
		boot(t, true), cutBefore, boot(t, true), cutAfter, boot(t, true), send, send)
	trace("clock lost", "a stored epoch carries on where the clock does not", "", true,
		boot(t, true), send, boot(60, false), send, boot(60, false), send, boot(t+1000, true), send)
	trace("never a clock", "without flag c there is nothing to send", "", true,
		boot(60, false), send, clock(t, true), send)
	trace("counter", "flag c: epochs are counted", "c", true,
		boot(0, false), send, send, boot(0, false), send, boot(0, false), cutAfter, boot(0, false), send)
	trace("counter, then a clock", "the clock takes over", "c", true,
		boot(60, false), send, clock(t, true), send, send)
	trace("backup restored", "safe because the clock has moved on", "", true,
		boot(t, true), send, boot(t+50, true), send, restore(uint32(t)), boot(t+100, true), send)
	trace("no storage", "the second of the start has to pass", "", false,
		boot(t, true), send, clock(t+1, true), send, send, boot(t+1, true), send, clock(t+2, true), send)
	trace("a day", "an epoch lasts 24 hours", "", true,
		boot(t, true), send, clock(t+86399, true), send, clock(t+86400, true), send)
	trace("16 million datagrams", "an epoch ends with packet id 2^24-1", "", true,
		boot(t, true), send, skip(seal.MaxPID), send, send)
	trace("epoch too old", "the server says so, and what time it is", "", true,
		boot(t-1000000, true), send, old(t), clock(t-1000000+5, true), send)
	trace("rotating id", "the id changes with epoch>>16, and the epoch with it", "p", true,
		boot(t, true), send, clock(t|0xffff, true), send, clock(t|0xffff+1, true), send)
	trace("rotating id, no clock", "", "p", true, restore(uint32(t)), boot(60, false), send)
}

func (m *maker) enrolments() {
	r := root()
	text := seal.Enrolment{Host: "t.example.org", Device: device, Root: r, Suite: 1}.String()
	replace := func(old, with string) string { return strings.Replace(text, old, with, 1) }
	good := func(name, s string) {
		e, err := seal.ParseEnrolment(s)
		if err != nil {
			m.t.Fatalf("%s: %v", name, err)
		}
		flags := e.Flags.String()
		m.add(vector{Name: "enrolment: " + name, Kind: "enrolment", Text: s, Host: e.Host, ID: e.Device.String(),
			Root: hex.EncodeToString(e.Root[:]), Suite: int(e.Suite), Flags: &flags})
	}
	good("plain", text)
	good("port", replace(".org", ".org:4810"))
	good("IPv6", replace("t.example.org", "[2001:db8::1]:4810"))
	good("IPv4", replace("t.example.org", "192.0.2.7"))
	good("suite 2", strings.TrimSuffix(text, "1")+"2")
	good("counter epochs", text+".c")
	good("all flags", text+".cpm")

	id64 := base64.RawURLEncoding.EncodeToString(headerBytes(header(1, 0))[1:7])
	root64 := base64.RawURLEncoding.EncodeToString(r[:])
	for _, c := range [][2]string{
		{"http", replace("https", "http")},
		{"version 2", replace("#1.", "#2.")},
		{"not a fragment", replace("#", "?")},
		{"no host", replace("t.example.org", "")},
		{"port 0", replace(".org", ".org:0")},
		{"port 65536", replace(".org", ".org:65536")},
		{"bare IPv6", replace("t.example.org", "2001:db8::1")},
		{"id too short", replace(id64, id64[1:])},
		{"id all zero", replace(id64, "AAAAAAAA")},
		{"root too short", replace(root64, root64[1:])},
		{"root padded", replace(root64, root64+"=")},
		{"root in standard base64", replace("BgcI", "Bg+I")},
		{"root with spare bits", replace("Hh8.", "Hh9.")},
		{"root all zero", replace(root64, strings.Repeat("A", 43))},
		{"suite 0", strings.TrimSuffix(text, "1") + "0"},
		{"suite 3", strings.TrimSuffix(text, "1") + "3"},
		{"no suite", strings.TrimSuffix(text, ".1")},
		{"empty flags", text + "."},
		{"unknown flag", text + ".x"},
		{"flag twice", text + ".cc"},
		{"flags out of order", text + ".pc"},
		{"one part too many", text + ".c.c"},
		{"a line break", text + "\n"},
	} {
		m.add(vector{Name: "enrolment refused: " + c[0], Kind: "enrolment", Text: c[1], Error: "bad_enrolment"})
	}
}

func ptr[T any](v T) *T { return &v }
