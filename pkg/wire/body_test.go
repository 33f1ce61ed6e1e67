package wire

import (
	"encoding/hex"
	"errors"
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"

	"tracker/pkg/geo"
	"tracker/pkg/track"
)

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func decode(t testing.TB, body []byte) (track.Batch, bool) {
	t.Helper()
	var b track.Batch
	ack, err := DecodeBody(&b, body)
	if err != nil {
		t.Fatalf("decode %x: %v", body, err)
	}
	return b, ack
}

// published are the bodies of the published vectors, which other implementations
// have read the same way.
var published = map[string]string{
	"minimal":   "006553f13c1f11688707e36f4e",
	"full":      "8f6553f13c1f11688707e36f4e0022056d69875e57",
	"heartbeat": "486553f13c8000000000000000e3030101",
	"trail":     "276553f13c1f11688707e36f4e0022056d69875e020001a313a01f3ce0c50801",
	"antimerid": "206553f13cf554ad406b49d1f60100050028",
}

func TestDecodeBody(t *testing.T) {
	const at = 1700000060000
	berlin := geo.Point{Lat: 521234567, Lon: 132345678}
	full := track.Fix{Time: at, At: berlin, Alt: 34, Speed: 1389, Course: 27015, Acc: 0x5e, Bat: 87,
		Has: track.HasPos | track.HasAlt | track.HasVel | track.HasAcc | track.HasBat}
	newest := full
	newest.Bat, newest.Has = 0, full.Has&^track.HasBat
	for _, c := range []struct {
		name string
		ack  bool
		want []track.Fix
		ext  string
	}{
		{"minimal", false, []track.Fix{{Time: at, At: berlin, Has: track.HasPos}}, ""},
		{"full", true, []track.Fix{full}, ""},
		{"heartbeat", false, []track.Fix{{Time: at, Bat: 0xe3, Has: track.HasBat, Event: track.EventSOS, ExtLen: 3}}, "030101"},
		{"trail", false, []track.Fix{
			{Time: at - 61000, At: geo.Point{Lat: 521303333, Lon: 132347677}, Alt: 34, Has: track.HasPos | track.HasAlt, Sub: 2},
			{Time: at - 1000, At: geo.Point{Lat: 521233333, Lon: 132347678}, Alt: 34, Has: track.HasPos | track.HasAlt, Sub: 1},
			newest,
		}, ""},
		{"antimerid", false, []track.Fix{
			{Time: at - 5000, At: geo.Point{Lat: -179000000, Lon: -1799999990}, Has: track.HasPos, Sub: 1},
			{Time: at, At: geo.Point{Lat: -179000000, Lon: 1799999990}, Has: track.HasPos},
		}, ""},
	} {
		b, ack := decode(t, unhex(t, published[c.name]))
		if ack != c.ack || !slices.Equal(b.Fixes, c.want) || hex.EncodeToString(b.Ext) != c.ext {
			t.Errorf("%s: got ack %v\n%+v\next %x\nwant ack %v\n%+v\next %s", c.name, ack, b.Fixes, b.Ext, c.ack, c.want, c.ext)
		}
	}
}

func TestDecodeAppendsToTheBatch(t *testing.T) {
	var b track.Batch
	for _, name := range []string{"heartbeat", "trail", "heartbeat"} {
		if _, err := DecodeBody(&b, unhex(t, published[name])); err != nil {
			t.Fatal(err)
		}
	}
	if len(b.Fixes) != 5 || len(b.Ext) != 6 {
		t.Fatalf("%d fixes, %d bytes of TLVs, want 5 and 6", len(b.Fixes), len(b.Ext))
	}
	for _, i := range []int{0, 4} {
		if got := hex.EncodeToString(b.ExtOf(&b.Fixes[i])); got != "030101" {
			t.Errorf("fix %d: TLVs %s", i, got)
		}
	}
	before := track.Batch{Fixes: slices.Clone(b.Fixes), Ext: slices.Clone(b.Ext)}
	for _, bad := range malformedBodies(t) {
		if _, err := DecodeBody(&b, bad.body); err == nil {
			t.Errorf("%s: accepted", bad.name)
		}
		if !reflect.DeepEqual(b, before) {
			t.Fatalf("%s: the batch changed", bad.name)
		}
	}
}

type badBody struct {
	name string
	body []byte
	want error
}

// malformedBodies is each rule of the strict decoder, broken once.
func malformedBodies(t testing.TB) []badBody {
	place := "6553f13c1f11688707e36f4e"
	none := "6553f13c8000000000000000"
	rows := []struct {
		name, body string
		want       error
	}{
		{"nothing", "", errShort},
		{"no place", "006553f13c", errShort},
		{"12 bytes", "006553f13c1f11688707e36f", errShort},
		{"a byte too many", "00" + place + "00", errTrailing},
		{"latitude 90.0000001", "006553f13c35a4e90107e36f4e", errLat},
		{"latitude -90.0000001", "006553f13cca5b16ff07e36f4e", errLat},
		{"latitude one above no position", "006553f13c8000000107e36f4e", errLat},
		{"longitude 180.0000001", "006553f13c1f1168876b49d201", errLon},
		{"longitude -180.0000001", "006553f13c1f11688794b62dff", errLon},
		{"no position, but a longitude", "006553f13c8000000000000001", errNoPosLon},
		{"altitude cut", "01" + place + "00", errShort},
		{"speed and course cut", "02" + place + "056d69", errShort},
		{"course 360.00", "02" + place + "056d8ca0", errCourse},
		{"accuracy missing", "04" + place, errShort},
		{"battery missing", "08" + place, errShort},
		{"battery 101 %", "08" + place + "65", errBattery},
		{"battery 126 % on power", "08" + place + "fe", errBattery},
		{"sub-second missing", "10" + place, errShort},
		{"sub-second 250", "10" + place + "fa", errSub},
		{"trail without position", "20" + none + "0100010000", errTrailPos},
		{"trail without TP", "20" + place + "01", errShort},
		{"trail of no fixes", "20" + place + "0000", errTrailNone},
		{"trail bit BAT", "28" + place + "57" + "0108" + "010000", errTrailBits},
		{"trail bit TRAIL", "20" + place + "0120" + "010000", errTrailBits},
		{"trail bit TLVS", "20" + place + "0140" + "010000", errTrailBits},
		{"trail bit ACK", "a0" + place + "0180" + "010000", errTrailBits},
		{"trail altitude without an altitude", "20" + place + "0101" + "01000000", errTrailBits},
		{"trail speed without a speed", "21" + place + "0022" + "0103" + "010000000000", errTrailBits},
		{"trail accuracy without an accuracy", "20" + place + "0104" + "01000000", errTrailBits},
		{"trail sub-second without a sub-second", "20" + place + "0110" + "010000", errTrailBits},
		{"trail cut before its second entry", "20" + place + "0200" + "010000", errShort},
		{"trail cut within a number", "20" + place + "0100" + "010080", errShort},
		{"trail cut before its accuracy", "24" + place + "5e" + "0104" + "010000", errShort},
		{"a number of seven bytes", "20" + place + "0100" + "80808080808001" + "0000", errVarint},
		{"a number with a spare zero byte", "20" + place + "0100" + "8100" + "0000", errVarint},
		{"a zero of two bytes", "20" + place + "0100" + "01" + "8000" + "00", errVarint},
		{"trail before 1970", "20000000051f11688707e36f4e" + "0100" + "060000", errTrailTime},
		{"trail over the pole", "206553f13c35a4e90007e36f4e" + "0100" + "010200", errTrailLat},
		{"trail the long way east", "20" + place + "0100" + "0100" + "82c8ceb40d", errTrailLon},
		{"trail half way round, to the west", "20" + place + "0100" + "0100" + "ffc7ceb40d", errTrailLon},
		{"trail altitude 32768", "21" + place + "7fff" + "0101" + "01000002", errTrailAlt},
		{"trail altitude -32769", "21" + place + "8000" + "0101" + "01000001", errTrailAlt},
		{"trail speed -1", "22" + place + "00000000" + "0102" + "0100000100", errTrailVel},
		{"trail speed 65536", "22" + place + "ffff0000" + "0102" + "0100000200", errTrailVel},
		{"trail turn of 180.01", "22" + place + "00000000" + "0102" + "01000000" + "a29902", errTrailTurn},
		{"trail turn of -180.00", "22" + place + "00000000" + "0102" + "01000000" + "9f9902", errTrailTurn},
		{"a byte after the trail", "20" + place + "0100" + "01000000", errTrailing},
		{"TLVs, but none", "40" + place, errTLV},
		{"TLV without length", "40" + place + "03", errTLV},
		{"TLV cut", "40" + place + "0801", errTLV},
		{"event of two bytes", "40" + place + "03020101", errTLVLen},
		{"odometer of three bytes", "40" + place + "0603010101", errTLVLen},
		{"cell of one byte", "40" + place + "0a0101", errTLVLen},
		{"vendor TLV without a vendor", "40" + place + "800100", errTLVLen},
		{"two events", "40" + place + "030101" + "030102", errTLVTwice},
		{"text that is not UTF-8", "40" + place + "0801ff", errTLVText},
	}
	bad := make([]badBody, len(rows))
	for i, r := range rows {
		bad[i] = badBody{r.name, unhex(t, r.body), r.want}
	}
	return bad
}

func TestDecodeRefuses(t *testing.T) {
	for _, bad := range malformedBodies(t) {
		var b track.Batch
		_, err := DecodeBody(&b, bad.body)
		if !errors.Is(err, bad.want) {
			t.Errorf("%s: got %v, want %v", bad.name, err, bad.want)
		}
		if !errors.Is(err, ErrMalformed) || !errors.Is(err, track.ErrInvalid) {
			t.Errorf("%s: %v is no ErrMalformed", bad.name, err)
		}
	}
}

func TestDecodeTakesTheLimits(t *testing.T) {
	for name, body := range map[string]string{
		"a trail from pole to pole":        "206553f13c35a4e90007e36f4e0100" + "00" + "ffc7ceb40d" + "00",
		"the last second of 2106":          "00ffffffff1f11688707e36f4e",
		"longitude -180":                   "006553f13c1f11688794b62e00",
		"south pole":                       "006553f13cca5b170007e36f4e",
		"battery unknown, on power":        "086553f13c1f11688707e36f4eff",
		"sub-second 249":                   "106553f13c1f11688707e36f4ef9",
		"course 359.99":                    "026553f13c1f11688707e36f4effff8c9f",
		"turn of 180.00":                   "226553f13c1f11688707e36f4e00000000010201000000a09902",
		"half way round, to the east":      "206553f13c1f11688707e36f4e0100010080c8ceb40d",
		"TLV types that nobody knows":      "406553f13c1f11688707e36f4e0d017fff00",
		"vendor TLV":                       "406553f13c1f11688707e36f4e80020001",
		"padding twice":                    "406553f13c1f11688707e36f4e0000000101",
		"no position, but altitude, speed": "036553f13c80000000000000000022056d6987",
	} {
		var b track.Batch
		if _, err := DecodeBody(&b, unhex(t, body)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// bodyOf rebuilds what an encoder would have been given for these bytes.
func bodyOf(t testing.TB, body []byte) *Body {
	b, ack := decode(t, body)
	m := &Body{Fixes: slices.Clone(b.Fixes), TLVs: b.Ext, Ack: ack, Sub: body[0]&bitSub != 0}
	slices.Reverse(m.Fixes)
	if body[0]&bitTrail != 0 {
		tp := body[fixedLen+partsLen(body[0])+1]
		m.TrailSub = tp&bitSub != 0
		for bit, part := range map[byte]track.Has{bitAlt: track.HasAlt, bitVel: track.HasVel, bitAcc: track.HasAcc} {
			if tp&bit != 0 {
				m.TrailParts |= part
			}
		}
	}
	return m
}

func partsLen(p byte) (n int) {
	for bit, size := range map[byte]int{bitAlt: 2, bitVel: 4, bitAcc: 1, bitBat: 1, bitSub: 1} {
		if p&bit != 0 {
			n += size
		}
	}
	return n
}

func TestEncodeIsTheInverse(t *testing.T) {
	for name, text := range published {
		body := unhex(t, text)
		got, err := AppendBody([]byte("x"), bodyOf(t, body))
		if err != nil || string(got) != "x"+string(body) {
			t.Errorf("%s: got %x, %v, want %x", name, got, err, body)
		}
	}
}

// randomBody makes anything that an encoder may be given.
func randomBody(r *rand.Rand) *Body {
	m := &Body{Ack: r.IntN(2) == 0, Sub: r.IntN(2) == 0}
	m.TrailSub = m.Sub && r.IntN(2) == 0
	parts := track.Has(r.IntN(32))
	n := 1
	if r.IntN(2) == 0 {
		parts |= track.HasPos
		n += r.IntN(20)
	}
	m.TrailParts = parts & track.Has(r.IntN(256)) & (track.HasAlt | track.HasVel | track.HasAcc)
	at := r.Int64N(1 << 32)
	when := at * 1000
	if m.Sub {
		when += r.Int64N(250) * subMillis
	}
	for i := range n {
		f := track.Fix{Time: when, Has: parts, Sub: uint8(i)}
		if parts&track.HasPos != 0 {
			f.At = randomPlace(r)
		}
		if i > 0 {
			f.Has = track.HasPos | m.TrailParts | parts&track.HasAlt
		}
		if f.Has&track.HasAlt != 0 {
			f.Alt = int16(r.Uint32())
			if i > 0 && m.TrailParts&track.HasAlt == 0 {
				f.Alt = m.Fixes[0].Alt
			}
		}
		if f.Has&track.HasVel != 0 {
			f.Speed, f.Course = uint16(r.Uint32()), uint16(r.IntN(maxCourse))
		}
		if f.Has&track.HasAcc != 0 {
			f.Acc = uint8(r.Uint32())
		}
		if f.Has&track.HasBat != 0 {
			f.Bat = uint8(r.IntN(101)) | uint8(r.IntN(2))<<7
		}
		m.Fixes = append(m.Fixes, f)
		step := r.Int64N(100) * 1000
		if m.TrailSub {
			step = r.Int64N(100) * subMillis
		}
		when = max(when-step, when%1000)
	}
	if r.IntN(3) == 0 {
		e := track.Event(r.IntN(7))
		m.TLVs = AppendTLV(AppendTLV(nil, TLVEvent, []byte{byte(e)}), TLVText, []byte("grüezi"))
		m.Fixes[0].Event, m.Fixes[0].ExtLen = e, uint16(len(m.TLVs))
	}
	return m
}

func randomPlace(r *rand.Rand) geo.Point {
	p := geo.Point{Lat: int32(r.IntN(2*geo.MaxLat+1) - geo.MaxLat), Lon: int32(r.IntN(2*geo.MaxLon+1) - geo.MaxLon)}
	switch r.IntN(10) {
	case 0:
		p.Lat = geo.MaxLat
	case 1:
		p.Lat = -geo.MaxLat
	case 2:
		p.Lon = geo.MaxLon
	case 3:
		p.Lon = geo.MaxLon - int32(r.IntN(10))
	case 4:
		p.Lon = -geo.MaxLon + 1 + int32(r.IntN(10))
	}
	if p.Lon == -geo.MaxLon { // the other spelling of +180, which a trail may not keep
		p.Lon = geo.MaxLon
	}
	return p
}

func TestWhatEncodesDecodesTheSame(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for i := range 30_000 {
		m := randomBody(r)
		body, err := AppendBody(nil, m)
		if err != nil {
			t.Fatalf("%d: %+v: %v", i, m, err)
		}
		b, ack := decode(t, body)
		got := slices.Clone(b.Fixes)
		slices.Reverse(got)
		normalise(m.Fixes, got)
		if ack != m.Ack || !slices.Equal(got, m.Fixes) || !slices.Equal(b.Ext, m.TLVs) {
			t.Fatalf("%d: %x\ngot  %+v\nwant %+v", i, body, got, m.Fixes)
		}
		again, err := AppendBody(nil, bodyOf(t, body))
		if err != nil || !slices.Equal(again, body) {
			t.Fatalf("%d: %x\nencodes again to\n%x, %v", i, body, again, err)
		}
	}
}

// normalise lets ±180° be one meridian.
func normalise(want, got []track.Fix) {
	for i := range min(len(want), len(got)) {
		if got[i].At.Lon == -geo.MaxLon && want[i].At.Lon == geo.MaxLon {
			got[i].At.Lon = geo.MaxLon
		}
	}
}

func TestEncodeRefuses(t *testing.T) {
	good := track.Fix{Time: 1e12, Has: track.HasPos}
	with := func(f func(*track.Fix)) track.Fix { g := good; f(&g); return g }
	one := func(f func(*track.Fix)) Body { return Body{Fixes: []track.Fix{with(f)}} }
	trail := func(f func(*track.Fix)) Body { return Body{Fixes: []track.Fix{good, with(f)}} }
	for name, m := range map[string]Body{
		"no fix":                        {},
		"257 fixes":                     {Fixes: make([]track.Fix, 257)},
		"before 1970":                   one(func(f *track.Fix) { f.Time = -1 }),
		"after 2106":                    one(func(f *track.Fix) { f.Time = 1 << 32 * 1000 }),
		"beyond the pole":               one(func(f *track.Fix) { f.At.Lat = geo.MaxLat + 1 }),
		"beyond the antimeridian":       one(func(f *track.Fix) { f.At.Lon = -geo.MaxLon - 1 }),
		"course 360":                    one(func(f *track.Fix) { f.Has |= track.HasVel; f.Course = maxCourse }),
		"battery 101":                   one(func(f *track.Fix) { f.Has |= track.HasBat; f.Bat = 101 }),
		"broken TLVs":                   {Fixes: []track.Fix{good}, TLVs: []byte{3}},
		"heartbeat with a trail":        {Fixes: []track.Fix{{Time: 1e12}, good}},
		"trail newer than its head":     trail(func(f *track.Fix) { f.Time += 1000 }),
		"trail before 1970":             trail(func(f *track.Fix) { f.Time = -1 }),
		"trail without position":        trail(func(f *track.Fix) { f.Has = 0 }),
		"trail beyond the pole":         trail(func(f *track.Fix) { f.At.Lat = geo.MaxLat + 1 }),
		"trail part its head lacks":     {Fixes: []track.Fix{good, good}, TrailParts: track.HasAlt},
		"trail steps its head lacks":    {Fixes: []track.Fix{good, good}, TrailSub: true},
		"trail of batteries":            {Fixes: []track.Fix{with(func(f *track.Fix) { f.Has |= track.HasBat }), good}, TrailParts: track.HasBat},
		"trail fix that lacks the part": {Fixes: []track.Fix{with(func(f *track.Fix) { f.Has |= track.HasAcc }), good}, TrailParts: track.HasAcc},
		"trail course 360": {Fixes: []track.Fix{with(func(f *track.Fix) { f.Has |= track.HasVel }),
			with(func(f *track.Fix) { f.Has |= track.HasVel; f.Course = maxCourse })}, TrailParts: track.HasVel},
	} {
		got, err := AppendBody([]byte("kept"), &m)
		if err == nil || string(got) != "kept" {
			t.Errorf("%s: got %x, %v", name, got, err)
		}
	}
}

func TestTrailCutsTimeWhereItsStepsDo(t *testing.T) {
	f := track.Fix{Time: 1e12 + 999, Has: track.HasPos}
	old := f
	old.Time -= 1500
	for _, c := range []struct {
		sub, trailSub bool
		want          []int64 // oldest first
	}{
		{false, false, []int64{1e12 - 1000, 1e12}},
		{true, false, []int64{1e12 - 1000 + 996, 1e12 + 996}},
		{true, true, []int64{1e12 - 504, 1e12 + 996}},
	} {
		body, err := AppendBody(nil, &Body{Fixes: []track.Fix{f, old}, Sub: c.sub, TrailSub: c.trailSub})
		if err != nil {
			t.Fatal(err)
		}
		b, _ := decode(t, body)
		if got := []int64{b.Fixes[0].Time, b.Fixes[1].Time}; !slices.Equal(got, c.want) {
			t.Errorf("sub %v, trail %v: got %d, want %d", c.sub, c.trailSub, got, c.want)
		}
	}
}

func TestDecodeDoesNotAllocate(t *testing.T) {
	var b track.Batch
	bodies := [][]byte{}
	for _, name := range published {
		bodies = append(bodies, unhex(t, name))
	}
	for _, bad := range malformedBodies(t) {
		bodies = append(bodies, bad.body)
	}
	run := func() {
		b.Reset()
		for _, body := range bodies {
			DecodeBody(&b, body)
		}
	}
	run()
	if n := testing.AllocsPerRun(200, run); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// FuzzBody: nothing panics, a refusal leaves the batch alone, and what decodes is
// spelt in one way only.
func FuzzBody(f *testing.F) {
	for _, text := range published {
		f.Add(unhex(f, text))
	}
	for _, bad := range malformedBodies(f) {
		f.Add(bad.body)
	}
	r := rand.New(rand.NewPCG(3, 4))
	for range 20 {
		body, err := AppendBody(nil, randomBody(r))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(body)
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		before := track.Fix{Time: 42}
		b := track.Batch{Fixes: []track.Fix{before}, Ext: []byte{1, 1, 1}}
		if _, err := DecodeBody(&b, body); err != nil {
			if len(b.Fixes) != 1 || b.Fixes[0] != before || len(b.Ext) != 3 || !errors.Is(err, ErrMalformed) {
				t.Fatalf("%x: %v left %+v", body, err, b)
			}
			return
		}
		for i, f := range b.Fixes[1:] {
			if !f.At.Valid() || f.Course >= maxCourse || f.Time < 0 || int(f.Sub) != len(b.Fixes)-2-i {
				t.Fatalf("%x gives %+v", body, f)
			}
		}
		if again, err := AppendBody(nil, bodyOf(t, body)); err != nil || !slices.Equal(again, body) {
			t.Fatalf("%x\nencodes again to\n%x, %v", body, again, err)
		}
	})
}
