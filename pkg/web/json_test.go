package web

import (
	"bytes"
	"encoding/json"
	"flag"
	"math"
	"os"
	"path/filepath"
	"testing"
	"time"

	"tracker/pkg/geo"
	"tracker/pkg/track"
	"tracker/pkg/wire"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// plainFix is what encoding/json would be given, the obvious way.
type plainFix struct {
	Device   string   `json:"device"`
	Name     string   `json:"name"`
	Time     string   `json:"time"`
	Lat      *float64 `json:"lat,omitempty"`
	Lon      *float64 `json:"lon,omitempty"`
	Alt      *int     `json:"alt_m,omitempty"`
	Speed    *float64 `json:"speed_mps,omitempty"`
	Course   *float64 `json:"course_deg,omitempty"`
	Accuracy *float64 `json:"accuracy_m,omitempty"`
	Battery  *int     `json:"battery_pct,omitempty"`
	Power    bool     `json:"power,omitempty"`
	Event    string   `json:"event,omitempty"`
	Late     bool     `json:"late,omitempty"`
	Suspect  bool     `json:"suspect,omitempty"`
	Jump     bool     `json:"jump,omitempty"`
	Received string   `json:"received,omitempty"`
}

func obvious(f *track.Fix, name string) plainFix {
	const layout = "2006-01-02T15:04:05.000Z07:00"
	p := plainFix{Device: f.Device.String(), Name: name, Time: f.When().Format(layout)}
	if f.Has&track.HasPos != 0 {
		p.Lat, p.Lon = new(f.At.LatDeg()), new(f.At.LonDeg())
	}
	if f.Has&track.HasAlt != 0 {
		p.Alt = new(int(f.Alt))
	}
	if f.Has&track.HasVel != 0 {
		p.Speed, p.Course = new(float64(f.Speed)/100), new(float64(f.Course)/100)
	}
	if f.Has&track.HasAcc != 0 {
		cm, worse := wire.AccuracyCM(f.Acc)
		if worse {
			cm = 507904
		}
		p.Accuracy = new(float64(cm) / 100)
	}
	if pct, ok := f.BatteryPercent(); ok {
		p.Battery = &pct
	}
	p.Power = f.Has&track.HasBat != 0 && f.Bat&0x80 != 0
	p.Event = f.Event.String()
	p.Late, p.Suspect, p.Jump = f.Flags&track.Late != 0, f.Flags&track.Suspect != 0, f.Flags&track.Jump != 0
	if f.Arrived != 0 {
		p.Received = time.UnixMilli(f.Arrived).UTC().Format(layout)
	}
	return p
}

func named(name string) names {
	return func(dst []byte, _ track.DeviceID) []byte { return append(dst, name...) }
}

func marshal(t testing.TB, v any) []byte {
	t.Helper()
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		t.Fatal(err)
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n"))
}

func compact(t testing.TB, b []byte) string {
	t.Helper()
	var v any
	if err := json.Unmarshal(b, &v); err != nil {
		t.Fatalf("%v in %s", err, b)
	}
	return string(marshal(t, v))
}

const allHas = track.HasPos | track.HasAlt | track.HasVel | track.HasAcc | track.HasBat

var sampleFixes = []struct {
	name string
	fix  track.Fix
}{
	{"van-1", track.Fix{Device: 0xa1b2c3d4e5f6, Time: 1700000060123, Arrived: 1700000060456, At: geo.Deg(52.1234567, 13.2345678),
		Has: allHas, Alt: 34, Speed: 1389, Course: 27015, Acc: 0x5e, Bat: 87}},
	{"", track.Fix{Device: 1, Time: 0, Has: track.HasBat, Bat: 0xe3, Event: track.EventSOS}},
	{"a \"quoted\" \\ name\n\t\x00\x1f\x7f é 東京 \u2028\u2029 \xff\xc3(", track.Fix{Device: track.MaxDeviceID, Time: 4294967295996,
		At: geo.Point{Lat: -geo.MaxLat, Lon: -geo.MaxLon}, Has: allHas, Alt: -32768, Speed: 65535, Course: 35999, Acc: 255, Bat: 0x7f,
		Flags: track.Late | track.Suspect | track.Jump, Event: 200}},
	{"zero island", track.Fix{Device: 0xff, Time: 951782400000, Has: allHas &^ track.HasAlt}},
	{"hair", track.Fix{Device: 0xff, Time: 951782399999, At: geo.Point{Lat: -1, Lon: 10}, Has: track.HasPos | track.HasVel, Speed: 5, Course: 50}},
}

func TestFixIsWhatEncodingJSONWouldWrite(t *testing.T) {
	for _, s := range sampleFixes {
		got := appendFix(nil, &s.fix, named(s.name))
		want := marshal(t, obvious(&s.fix, s.name))
		if compact(t, got) != compact(t, want) {
			t.Errorf("got  %s\nwant %s", got, want)
		}
	}
}

func TestFixGolden(t *testing.T) {
	var got []byte
	for _, s := range sampleFixes {
		got = append(appendFix(got, &s.fix, named(s.name)), '\n')
	}
	golden(t, "fixes.jsonl", got)
}

func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	file := filepath.Join("testdata", name)
	if *update {
		if err := os.MkdirAll("testdata", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s: got\n%s\nwant\n%s", file, got, want)
	}
}

func TestEveryDayIsWrittenAsTheCalendarHasIt(t *testing.T) {
	const layout = "2006-01-02T15:04:05.000Z"
	for ms := int64(minTime); ms <= maxTime; ms += 86_400_000*11 + 12_345_677 {
		if got, want := string(appendTime(nil, ms)), time.UnixMilli(ms).UTC().Format(layout); got != want {
			t.Fatalf("%d: got %s, want %s", ms, got, want)
		}
	}
	for ms, want := range map[int64]string{
		math.MinInt64: "0000-01-01T00:00:00.000Z",
		minTime - 1:   "0000-01-01T00:00:00.000Z",
		maxTime + 1:   "9999-12-31T23:59:59.999Z",
		math.MaxInt64: "9999-12-31T23:59:59.999Z",
		951782400000:  "2000-02-29T00:00:00.000Z",
	} {
		if got := string(appendTime(nil, ms)); got != want {
			t.Errorf("%d: got %s, want %s", ms, got, want)
		}
	}
}

func FuzzAppendString(f *testing.F) {
	for _, s := range sampleFixes {
		f.Add(s.name)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if got, want := appendString(nil, s), marshal(t, s); !bytes.Equal(got, want) {
			t.Errorf("%q: got %s, want %s", s, got, want)
		}
	})
}

func FuzzAppendFix(f *testing.F) {
	f.Add("van-1", uint64(1), int64(1700000060123), int64(1), int32(521234567), int32(-132345678), int16(34), uint16(1389), uint16(27015), uint8(0x5e), uint8(87), uint8(31), uint8(7), uint8(1))
	f.Fuzz(func(t *testing.T, name string, id uint64, ms, arrived int64, lat, lon int32, alt int16, speed, course uint16, acc, bat, has, flags, event uint8) {
		fix := track.Fix{Device: track.DeviceID(id) & track.MaxDeviceID, Time: clampTime(ms), Arrived: clampTime(arrived), At: geo.Point{Lat: lat, Lon: lon},
			Alt: alt, Speed: speed, Course: course, Acc: acc, Bat: bat, Has: track.Has(has), Flags: track.Flags(flags), Event: track.Event(event)}
		got := appendFix(nil, &fix, named(name))
		if want := marshal(t, obvious(&fix, name)); compact(t, got) != compact(t, want) {
			t.Errorf("got  %s\nwant %s", got, want)
		}
	})
}

func clampTime(ms int64) int64 { return min(max(ms, minTime), maxTime) }

func TestAppendFixAllocatesNothing(t *testing.T) {
	buf := make([]byte, 0, 4096)
	for _, s := range sampleFixes[:2] {
		name := named(s.name)
		if n := testing.AllocsPerRun(100, func() { buf = appendFix(buf[:0], &s.fix, name) }); n != 0 {
			t.Errorf("%q: got %v allocations a fix, want 0", s.name, n)
		}
	}
}

func BenchmarkAppendFix(b *testing.B) {
	s := sampleFixes[0]
	buf := make([]byte, 0, 4096)
	name := named(s.name)
	b.ReportAllocs()
	for b.Loop() {
		buf = appendFix(buf[:0], &s.fix, name)
	}
	b.SetBytes(int64(len(buf)))
}
