package fleet

import (
	"fmt"
	"math/rand/v2"
	"regexp"
	"strings"
	"testing"

	"tracker/pkg/geo"
	"tracker/pkg/track"
)

func TestMaskHidesNamesAndPlaces(t *testing.T) {
	fix := fixOf(1, "van", epoch, 48.53521, 13.38274)
	event := Event{N: 4, Kind: SOS, Device: 1, Name: "van", Text: "reports sos"}
	var none *Mask
	for _, m := range []*Mask{none, {}} {
		if m.Name(1, "van") != "van" || m.ID(0xabc) != "000000000abc" || m.Point(fix.At) != "48.53521,13.38274" || m.Round(fix.At) != fix.At ||
			m.Fix(fix) != fix || m.Event(event) != event || m.Text("1.234") != "1.234" {
			t.Error("no mask hides something")
		}
	}
	m := NewMask()
	if got := m.Name(1, "van"); got == "van" || got != m.Name(1, "other") || got == m.Name(2, "van") || got != m.ID(1) {
		t.Errorf("name %q", got)
	}
	if got := m.Point(fix.At); got != "48.5,13.4" {
		t.Errorf("place %q", got)
	}
	if got := m.Point(geo.Deg(-0.04, 179.97)); got != "0.0,180.0" {
		t.Errorf("place %q", got)
	}
	want := fix
	want.Device, want.Name, want.At = 0, m.Name(1, ""), geo.Deg(48.5, 13.4)
	if got := m.Fix(fix); got != want {
		t.Errorf("got %+v\nwant %+v", got, want)
	}
	wantEvent := event
	wantEvent.Device, wantEvent.Name = 0, m.Name(1, "")
	if got := m.Event(event); got != wantEvent {
		t.Errorf("got %+v\nwant %+v", got, wantEvent)
	}
	link := Event{Kind: Resumed, Text: "live again"}
	if got := m.Event(link); got != link {
		t.Errorf("an event of nobody got a name: %+v", got)
	}
	for in, want := range map[string]string{
		"": "", "at 48.53521,-13.38274.": "at 48.5,-13.3.", "10.0.0.7:4810": "10.0.0.7:4810", "v1.25": "v1.2", "...12": "...12", "7.": "7.",
	} {
		if got := m.Text(in); got != want {
			t.Errorf("%q: got %q, want %q", in, got, want)
		}
	}
}

// Everything that a mask lets out, of fixes with names and places that can be found
// again.
func TestNothingLeaksThroughAMask(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 9))
	m := NewMask()
	exact := regexp.MustCompile(`\d\.\d\d`)
	for range 500 {
		at := geo.Deg(r.Float64()*180-90, r.Float64()*360-180)
		name := "zq" + strings.Repeat("x", r.IntN(5)) + fmt.Sprint(r.Uint32())
		id := track.DeviceID(r.Uint64N(1 << 48))
		fix := fixOf(id, name, epoch, at.LatDeg(), at.LonDeg())
		e := Event{Kind: Jump, Device: id, Name: name, Text: "jumped 12 km in 3.0s"}
		f, e := m.Fix(fix), m.Event(e)
		out := fmt.Sprint(m.Name(id, name), m.ID(id), m.Point(at), f.Name, f.Device, f.At.LatDeg(), f.At.LonDeg(), e.Name, e.Device, e.Text, m.Text("at "+at.String()))
		if strings.Contains(out, "zq") || strings.Contains(out, id.String()) || exact.MatchString(out) {
			t.Fatalf("%v at %v leaks: %s", id, at, out)
		}
		if !m.Round(at).Valid() {
			t.Fatalf("%v is rounded to %v", at, m.Round(at))
		}
	}
}

func FuzzMaskText(f *testing.F) {
	for _, s := range []string{"at 48.53521,-13.38274.", "1.2.34.567", ".1234", "9.\xff99", "1.٣٤٥"} {
		f.Add(s)
	}
	m, exact := NewMask(), regexp.MustCompile(`[0-9]\.[0-9][0-9]`)
	f.Fuzz(func(t *testing.T, s string) {
		out := m.Text(s)
		if exact.MatchString(out) || len(out) > len(s) || m.Text(out) != out {
			t.Errorf("%q becomes %q", s, out)
		}
	})
}
