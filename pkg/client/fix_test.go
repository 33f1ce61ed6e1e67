package client

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"encoding/xml"
	"flag"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unicode"

	"tracker/pkg/geo"
	"tracker/pkg/track"
)

var update = flag.Bool("update", false, "rewrite the golden files")

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

const allHas = track.HasPos | track.HasAlt | track.HasVel | track.HasAcc | track.HasBat

var sampleFixes = []Fix{
	{Device: 0xa1b2c3d4e5f6, Name: "van-1", Time: ms(1700000060123), Received: ms(1700000060456), At: geo.Deg(52.1234567, 13.2345678),
		Has: allHas, Alt: 34, Speed: 13.89, Course: 270.15, Accuracy: 4.8, Battery: 87},
	{Device: 0xa1b2c3d4e5f6, Name: "van-1", Time: ms(1700000061000), At: geo.Deg(52, 13), Has: track.HasPos},
	{Device: 1, Name: "a, \"b\" <c> & é\n=1+1", Time: ms(0), Has: track.HasBat, Battery: 99, Power: true, Event: "sos"},
	{Device: track.MaxDeviceID, Time: ms(4294967295996), At: geo.Point{Lat: -geo.MaxLat, Lon: -geo.MaxLon}, Has: allHas,
		Alt: -32768, Speed: 655.35, Course: 359.99, Accuracy: 5079.04, Late: true, Suspect: true, Jump: true},
}

func ms(v int64) time.Time { return time.UnixMilli(v).UTC() }

// plainFix is the API's schema, the obvious way.
type plainFix struct {
	Device   track.DeviceID `json:"device"`
	Name     string         `json:"name"`
	Time     time.Time      `json:"time"`
	Lat      *float64       `json:"lat"`
	Lon      *float64       `json:"lon"`
	Alt      *float64       `json:"alt_m"`
	Speed    *float64       `json:"speed_mps"`
	Course   *float64       `json:"course_deg"`
	Accuracy *float64       `json:"accuracy_m"`
	Battery  *float64       `json:"battery_pct"`
	Power    bool           `json:"power"`
	Event    string         `json:"event"`
	Late     bool           `json:"late"`
	Suspect  bool           `json:"suspect"`
	Jump     bool           `json:"jump"`
	Received time.Time      `json:"received"`
}

func (p *plainFix) fix() Fix {
	f := Fix{Device: p.Device, Name: p.Name, Time: p.Time.UTC(), Power: p.Power, Event: p.Event, Late: p.Late, Suspect: p.Suspect, Jump: p.Jump}
	if !p.Received.IsZero() {
		f.Received = p.Received.UTC()
	}
	if p.Lat != nil {
		f.At, f.Has = geo.Deg(*p.Lat, *p.Lon), f.Has|track.HasPos
	}
	if p.Alt != nil {
		f.Alt, f.Has = int(math.Round(*p.Alt)), f.Has|track.HasAlt
	}
	if p.Speed != nil {
		f.Speed, f.Has = hundredths(*p.Speed), f.Has|track.HasVel
	}
	if p.Course != nil {
		f.Course, f.Has = hundredths(*p.Course), f.Has|track.HasVel
	}
	if p.Accuracy != nil {
		f.Accuracy, f.Has = geo.Meters(hundredths(*p.Accuracy)), f.Has|track.HasAcc
	}
	if p.Battery != nil {
		f.Battery, f.Has = int(math.Round(*p.Battery)), f.Has|track.HasBat
	}
	return f
}

func hundredths(v float64) float64 { return math.Round(v*100) / 100 }

func TestFixRoundTrip(t *testing.T) {
	for _, want := range sampleFixes {
		b := want.AppendJSON(nil)
		var p plainFix
		if err := json.Unmarshal(b, &p); err != nil {
			t.Fatalf("%v in %s", err, b)
		}
		if got := p.fix(); got != want {
			t.Errorf("%s: encoding/json got\n%+v\nwant\n%+v", b, got, want)
		}
		var got Fix
		if err := json.Unmarshal(b, &got); err != nil || got != want {
			t.Errorf("%s: got\n%+v, %v\nwant\n%+v", b, got, err, want)
		}
	}
}

// Lines of JSON are read on terminals too.
func TestFixSendsNoCommandsToATerminal(t *testing.T) {
	want := Fix{Device: 1, Name: "\x1b]0;a\x07\u009b2J\u202e\x7f\u2028\U000e0041 漢 é", Time: ms(1700000060000)}
	b := want.AppendJSON(nil)
	for _, r := range string(b) {
		if !unicode.IsPrint(r) {
			t.Errorf("%+q is in %q", r, b)
		}
	}
	var got Fix
	if err := json.Unmarshal(b, &got); err != nil || got != want {
		t.Errorf("%s: got\n%+v, %v\nwant\n%+v", b, got, err, want)
	}
}

func TestFixReadsWhatAnyServerMayWrite(t *testing.T) {
	for text, want := range map[string]Fix{
		`{"time":"2023-11-14T23:14:20+01:00","device":"000000000001","name":"x","new":{"a":[1,{"b":null}],"c":"\u00e9"}}`: {Device: 1, Name: "x", Time: ms(1700000060000)},
		` { "device" : "000000000001" , "name":"\ud83d\ude80\ud800" , "time":"2023-11-14T22:14:20Z", "lat":1e1,"lon":-1.5E-1,"alt_m":3.5}`: {Device: 1, Name: "🚀\ufffd", Time: ms(1700000060000),
			At: geo.Deg(10, -0.15), Alt: 4, Has: track.HasPos | track.HasAlt},
		`{"device":"000000000001","name":null,"time":"2023-11-14T22:14:20.1234567Z","lat":null,"power":false}`: {Device: 1, Time: time.Unix(1700000060, 123456700).UTC()},
	} {
		var got Fix
		if err := got.UnmarshalJSON([]byte(text)); err != nil || got != want {
			t.Errorf("%s:\ngot  %+v, %v\nwant %+v", text, got, err, want)
		}
	}
}

func TestFixRefusesWhatIsNone(t *testing.T) {
	const ok = `{"device":"000000000001","name":"x","time":"2023-11-14T22:14:20.000Z"`
	for _, text := range []string{
		``, `{`, `[]`, `null`, `{}`, ok, ok + `,}`, ok + `}}`, ok + `} x`, ok + ` "lat":1}`, ok + `,"lat":1}`, ok + `,"lon":1}`,
		ok + `,"lat":91,"lon":0}`, ok + `,"lat":0,"lon":181}`, ok + `,"lat":01,"lon":1}`, ok + `,"lat":1.,"lon":1}`, ok + `,"lat":"1","lon":1}`,
		ok + `,"speed_mps":-}`, ok + `,"alt_m":1e99}`, ok + `,"event":1}`, ok + `,"late":1}`, ok + `,"late":tru}`, ok + `,"x":` + strings.Repeat("[", 100) + `}`,
		`{"device":"00000000000G","name":"x","time":"2023-11-14T22:14:20.000Z"}`,
		`{"device":"000000000001","name":"x","time":"2023-02-30T22:14:20.000Z"}`,
		`{"device":"000000000001","name":"x","time":"yesterday"}`,
		`{"device":"000000000001","name":"x` + "\n" + `","time":"2023-11-14T22:14:20.000Z"}`,
		`{"device":"000000000001","name":"\x","time":"2023-11-14T22:14:20.000Z"}`,
		`{"device":"000000000001","name":"\u12","time":"2023-11-14T22:14:20.000Z"}`,
	} {
		var f Fix
		if err := f.UnmarshalJSON([]byte(text)); err == nil {
			t.Errorf("%s: got %+v and no error", text, f)
		}
	}
}

// FuzzFix holds the fast reader against encoding/json: what one takes, the other
// takes, and both read the same.
func FuzzFix(f *testing.F) {
	for _, s := range sampleFixes {
		f.Add(s.AppendJSON(nil))
	}
	f.Add([]byte(`{"device":"000000000001","name":"\ud83d\ude80\ud800","time":"2023-11-14T22:14:20Z","lat":1e1,"lon":-1.5E-1,"x":[1,{"b":null}]}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		var got Fix
		if err := got.UnmarshalJSON(b); err != nil {
			return
		}
		if !json.Valid(b) {
			t.Fatalf("took %q, which is not JSON", b)
		}
		again := got.AppendJSON(nil)
		var back Fix
		if err := back.UnmarshalJSON(again); err != nil {
			t.Fatalf("%q became %q: %v", b, again, err)
		}
		back.Time, back.Received = got.Time, got.Received // to the millisecond only
		if strings.ToValidUTF8(got.Name, "\ufffd") == got.Name && strings.ToValidUTF8(got.Event, "\ufffd") == got.Event && back != got {
			t.Fatalf("%q became %q:\n%+v\n%+v", b, again, got, back)
		}
	})
}

func FuzzFrame(f *testing.F) {
	f.Add([]byte(`{"type":"fixes","stream":7,"seq":12,"n":1,"fixes":[{"device":"a1b2c3d4e5f6","name":"van","time":"2023-11-14T22:14:20.123Z"}],"left":["000000000001"]}`))
	f.Add([]byte(`{"type":"error","id":1,"error":{"code":"invalid","message":"x"}}`))
	f.Add([]byte(`{"type":"watching","id":1,"stream":7,"epoch":"0123456789abcdef","resumed":true}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		var d fixReader
		d.remember()
		var fr frame
		if err := fr.decode(&d, b); err == nil && !json.Valid(b) {
			t.Fatalf("took %q, which is not JSON", b)
		}
	})
}

func TestFormatsGolden(t *testing.T) {
	for _, format := range Formats {
		for name, fixes := range map[string][]Fix{"": sampleFixes, "-empty": nil} {
			var b bytes.Buffer
			w, err := NewWriter(&b, format)
			if err != nil {
				t.Fatal(err)
			}
			for i := range fixes {
				if err := w.Write(&fixes[i]); err != nil {
					t.Fatal(err)
				}
			}
			if err := w.Close(); err != nil {
				t.Fatal(err)
			}
			wellFormed(t, format, b.Bytes(), len(fixes))
			golden(t, "fixes"+name+"."+format, b.Bytes())
		}
	}
	if _, err := NewWriter(nil, "kml"); err == nil {
		t.Error("got no error for an unknown format")
	}
}

func wellFormed(t *testing.T, format string, b []byte, fixes int) {
	t.Helper()
	switch format {
	case "csv":
		rows, err := csv.NewReader(bytes.NewReader(b)).ReadAll()
		if err != nil || len(rows) != fixes+1 {
			t.Errorf("csv: %d rows, %v", len(rows), err)
		}
	case "gpx":
		var doc struct {
			Tracks []struct {
				Name   string `xml:"name"`
				Points []struct {
					Lat float64 `xml:"lat,attr"`
				} `xml:"trkseg>trkpt"`
			} `xml:"trk"`
		}
		if err := xml.Unmarshal(b, &doc); err != nil {
			t.Errorf("gpx: %v", err)
		}
	case "geojson":
		var doc struct {
			Type     string
			Features []json.RawMessage
		}
		if err := json.Unmarshal(b, &doc); err != nil || doc.Type != "FeatureCollection" || len(doc.Features) != fixes {
			t.Errorf("geojson: %+v, %v", doc, err)
		}
	}
}

func TestNamesOfAStreamMakeNoGarbage(t *testing.T) {
	msg := []byte(`{"type":"fixes","stream":7,"seq":12,"n":2,"fixes":[` + string(sampleFixes[0].AppendJSON(nil)) + `,` + string(sampleFixes[1].AppendJSON(nil)) + `]}`)
	var d fixReader
	d.remember()
	var f frame
	if n := testing.AllocsPerRun(100, func() {
		if err := f.decode(&d, msg); err != nil {
			t.Fatal(err)
		}
	}); n > 1 {
		t.Errorf("got %v allocations a frame", n)
	}
}

func BenchmarkDecodeFrame(b *testing.B) {
	var msg []byte
	msg = append(msg, `{"type":"fixes","stream":7,"seq":12,"n":100,"fixes":[`...)
	const n = 100
	for i := range n {
		if i > 0 {
			msg = append(msg, ',')
		}
		msg = sampleFixes[0].AppendJSON(msg)
	}
	msg = append(msg, `]}`...)
	var d fixReader
	d.remember()
	var f frame
	b.ReportAllocs()
	for b.Loop() {
		if err := f.decode(&d, msg); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/n, "ns/fix")
}

func BenchmarkDecodeFrameByEncodingJSON(b *testing.B) {
	msg := sampleFixes[0].AppendJSON(nil)
	b.ReportAllocs()
	for b.Loop() {
		var p plainFix
		if err := json.Unmarshal(msg, &p); err != nil {
			b.Fatal(err)
		}
	}
}
