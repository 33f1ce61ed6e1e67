package snap

import (
	"encoding/json"
	"encoding/xml"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"tracker/pkg/client"
	"tracker/pkg/geo"
	"tracker/pkg/track"
	"tracker/pkg/tui/canvas"
	"tracker/pkg/tui/fleet"
	"tracker/pkg/tui/tuitest"
)

// shot is of four devices: one on a pole with a wicked name, one that has no place.
func shot(t testing.TB) *Shot {
	t.Helper()
	store := fleet.New(fleet.Config{Now: tuitest.NewClock().Now})
	high := tuitest.Fix(2, "alp <&>\x1b[2J", tuitest.Epoch, 89.9999999, -179.9999999)
	high.Alt, high.Has = 4810, high.Has|track.HasAlt
	store.Snapshot([]client.Fix{
		tuitest.Fix(3, "zebra", tuitest.Epoch, -33.5, 0),
		high,
		tuitest.Fix(4, "", tuitest.Epoch, 47.07, 15.44),
		{Device: 5, Name: "silent", Time: tuitest.Epoch},
	}, true, false)
	s := &Shot{Canvas: canvas.New(2, 1), Theme: theme(t, "system"), Store: store, Frame: &fleet.Frame{}}
	s.Canvas.Text(0, 0, "ab", 0, 1)
	s.Frame.Refresh(store, nil)
	return s
}

// saved writes a file and reads it.
func saved(t testing.TB, s *Shot, format string) []byte {
	t.Helper()
	name := filepath.Join(t.TempDir(), "map."+format)
	if err := s.Save(name, false); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestTheNameChoosesTheFormat(t *testing.T) {
	s := shot(t)
	for format, want := range map[string]string{
		"txt": "ab\n", "ansi": "ab\n", "TXT": "ab\n", "svg": "<svg ", "geojson": `{"type":"FeatureCollection"`, "gpx": "<?xml", "csv": "device,name", "jsonl": `{"device":"`,
	} {
		if got := string(saved(t, s, format)); !strings.HasPrefix(got, want) {
			t.Errorf("%s: %q", format, got)
		}
	}
	s.Trail = 3
	for format, want := range map[string]string{"geojson": `{"type":"FeatureCollection"`, "gpx": "<?xml", "txt": "ab\n"} {
		if got := string(saved(t, s, format)); !strings.HasPrefix(got, want) {
			t.Errorf("%s of a trail: %q", format, got)
		}
	}
	for name, want := range map[string]string{
		"":         "a file needs a name",
		"map":      `save "map": format "" is not one of txt, ansi, svg, geojson, gpx`,
		"map.jpeg": `save "map.jpeg": format "jpeg" is not one of txt, ansi, svg, geojson, gpx`,
		"map.csv":  `save "map.csv": format "csv" is not one of txt, ansi, svg, geojson, gpx`, // of a trail
	} {
		if err := s.Save(name, false); err == nil || err.Error() != want {
			t.Errorf("%q: %v, want %s", name, err, want)
		}
	}
}

func TestNothingIsWrittenOverUnasked(t *testing.T) {
	s := shot(t)
	name := filepath.Join(t.TempDir(), "map.txt")
	if err := os.WriteFile(name, []byte("mine"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := s.Save(name, false); err == nil || !strings.Contains(err.Error(), "it is there already") {
		t.Errorf("%v", err)
	}
	if got, _ := os.ReadFile(name); string(got) != "mine" {
		t.Errorf("it holds %q", got)
	}
	if err := s.Save(name, true); err != nil {
		t.Error(err)
	}
	if got, _ := os.ReadFile(name); string(got) != "ab\n" {
		t.Errorf("asked to, it holds %q", got)
	}
	if err := s.Save(filepath.Dir(name)+"/nowhere/map.txt", false); !strings.HasSuffix(err.Error(), "no such file or directory") || strings.Count(err.Error(), "nowhere") != 1 {
		t.Errorf("%v", err)
	}
	left, err := os.ReadDir(filepath.Dir(name))
	if err != nil || len(left) != 1 {
		t.Errorf("it left %v, %v", left, err)
	}
}

func TestHalfAFileIsNotLeft(t *testing.T) {
	full := errors.New("no space left on device")
	dir := t.TempDir()
	old := filepath.Join(dir, "old.txt")
	if err := os.WriteFile(old, []byte("mine"), 0o600); err != nil {
		t.Fatal(err)
	}
	fails := func(w io.Writer) error {
		_, _ = io.WriteString(w, "half")
		return full
	}
	if err := create(filepath.Join(dir, "new.txt"), fails); !errors.Is(err, full) {
		t.Errorf("%v", err)
	}
	if err := replace(old, fails); !errors.Is(err, full) {
		t.Errorf("%v", err)
	}
	if got, _ := os.ReadFile(old); string(got) != "mine" {
		t.Errorf("the old file holds %q", got)
	}
	if left, _ := os.ReadDir(dir); len(left) != 1 {
		t.Errorf("left %v", left)
	}
	if err := replace(dir, func(io.Writer) error { return nil }); err == nil {
		t.Error("a directory was written over")
	}
}

func TestOnlyTheOwnerReadsWhereEverybodyIs(t *testing.T) {
	s := shot(t)
	dir := t.TempDir()
	for _, overwrite := range []bool{false, true} {
		name := filepath.Join(dir, "map.gpx")
		if err := s.Save(name, overwrite); err != nil {
			t.Fatal(err)
		}
		if info, err := os.Stat(name); err != nil || info.Mode().Perm() != fs.FileMode(0o600) {
			t.Errorf("%v, %v", info.Mode(), err)
		}
	}
}

func TestNoPlacesAreSavedUnderTheMask(t *testing.T) {
	s := shot(t)
	s.Mask = fleet.NewMask()
	dir := t.TempDir()
	for _, format := range Places {
		for _, trail := range []track.DeviceID{0, 3} {
			s.Trail = trail
			if err := s.Save(filepath.Join(dir, "map."+format), true); err == nil || trail == 0 && !errors.Is(err, ErrMasked) {
				t.Errorf("%s: %v", format, err)
			}
		}
	}
	if left, _ := os.ReadDir(dir); len(left) != 0 {
		t.Errorf("left %v", left)
	}
	if err := s.Save(filepath.Join(dir, "map.svg"), false); err != nil {
		t.Errorf("a picture of what the screen shows: %v", err)
	}
	s.Mask.On, s.Trail = false, 0
	if err := s.Save(filepath.Join(dir, "map.gpx"), false); err != nil {
		t.Errorf("with the mask off: %v", err)
	}
}

func TestNamesOfFiles(t *testing.T) {
	if got := Name(time.Date(2026, 11, 22, 15, 22, 7, 0, time.FixedZone("", 3600)), "svg"); got != "map-20261122-142207.svg" {
		t.Error(got)
	}
	for text, want := range map[string]string{"a.svg": "a.svg", " a.svg ": "a.svg", "a.svg!": "!a.svg", " a b.txt ! ": "!a b.txt", "!": "!", "": ""} {
		name, over := Asked(text)
		if over {
			name = "!" + name
		}
		if name != want {
			t.Errorf("%q: %q, want %q", text, name, want)
		}
	}
}

// waypoint is what a reader of GPX makes of one.
type waypoint struct {
	Lat  float64 `xml:"lat,attr"`
	Lon  float64 `xml:"lon,attr"`
	Ele  *int    `xml:"ele"`
	Time string  `xml:"time"`
	Name string  `xml:"name"`
}

func TestGPXReadsBack(t *testing.T) {
	var doc struct {
		XMLName xml.Name   `xml:"http://www.topografix.com/GPX/1/1 gpx"`
		Points  []waypoint `xml:"wpt"`
	}
	text := saved(t, shot(t), "gpx")
	if err := xml.Unmarshal(text, &doc); err != nil {
		t.Fatal(err)
	}
	at, high := "2026-01-02T14:22:07.000Z", 4810
	want := []waypoint{
		{47.07, 15.44, nil, at, "000000000004"},
		{89.9999999, -179.9999999, &high, at, "alp <&>?[2J"},
		{-33.5, 0, nil, at, "zebra"},
	}
	if !reflect.DeepEqual(doc.Points, want) {
		t.Errorf("got %+v\nwant %+v\n%s", doc.Points, want, text)
	}
}

func TestGeoJSONReadsBackAsTheSameFixes(t *testing.T) {
	s := shot(t)
	var doc struct {
		Features []struct {
			Geometry   *struct{ Coordinates []float64 }
			Properties client.Fix
		}
	}
	text := saved(t, s, "geojson")
	if err := json.Unmarshal(text, &doc); err != nil {
		t.Fatal(err)
	}
	var got []client.Fix
	for _, f := range doc.Features {
		fix := f.Properties
		if f.Geometry != nil {
			fix.At, fix.Has = geo.Deg(f.Geometry.Coordinates[1], f.Geometry.Coordinates[0]), fix.Has|track.HasPos
		}
		got = append(got, fix)
	}
	var want []client.Fix
	for _, id := range []track.DeviceID{4, 2, 5, 3} { // by name
		fix, name, _ := s.Store.Info(s.Store.Find(id))
		if fix.Name == "" {
			fix.Name = name
		}
		want = append(want, fix)
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v\nwant %+v\n%s", got, want, text)
	}
}

func TestOnlyTheChosenAreWritten(t *testing.T) {
	s := shot(t)
	zebra := s.Store.Find(3)
	s.Which = func(i int32) bool { return i == zebra }
	if got := string(saved(t, s, "jsonl")); strings.Count(got, "\n") != 1 || !strings.Contains(got, `"zebra"`) {
		t.Errorf("%s", got)
	}
	s.Which = nil
	s.Store.Left([]track.DeviceID{3})
	if got := string(saved(t, s, "jsonl")); strings.Contains(got, `"zebra"`) || strings.Count(got, "\n") != 3 {
		t.Errorf("after it left: %s", got)
	}
}

// wanderer goes east over the date line, and jumps home.
func wanderer() *fleet.Store {
	clock := tuitest.NewClock()
	store := fleet.New(fleet.Config{Now: clock.Now})
	for i, lon := range []float64{178, 179, -179, -178, 13} {
		fix := tuitest.Fix(7, "w<>", clock.At, 10+float64(i), lon)
		fix.Jump = lon == 13
		store.Apply([]client.Fix{fix})
		clock.Advance(time.Minute)
	}
	return store
}

func TestTrailsAreCutAtJumpsAndAtTheDateLine(t *testing.T) {
	s := &Shot{Store: wanderer(), Trail: 7}
	tuitest.Golden(t, "trail-geojson", string(saved(t, s, "geojson")))
	tuitest.Golden(t, "trail-gpx", string(saved(t, s, "gpx")))
}

func TestTrailsReadBack(t *testing.T) {
	store := wanderer()
	var doc struct {
		Segments []struct {
			Points []waypoint `xml:"trkpt"`
		} `xml:"trk>trkseg"`
	}
	if err := xml.Unmarshal(saved(t, &Shot{Store: store, Trail: 7}, "gpx"), &doc); err != nil {
		t.Fatal(err)
	}
	var got, want []waypoint
	for _, s := range doc.Segments {
		got = append(got, s.Points...)
	}
	for _, c := range store.Trail(nil, store.Find(7), fleet.MaxTrail) {
		p := c.Pos.Point()
		want = append(want, waypoint{Lat: p.LatDeg(), Lon: p.LonDeg(), Time: stamp(time.UnixMilli(c.At))})
	}
	if len(doc.Segments) != 2 || !slices.Equal(got, want) {
		t.Errorf("%d segments, %v, want %v", len(doc.Segments), got, want)
	}
}

func TestTheDateLineIsMetWhereTheShortWayCrossesIt(t *testing.T) {
	for _, tt := range []struct {
		from, to  geo.Point
		lat, edge float64
		crosses   bool
	}{
		{geo.Deg(0, 179), geo.Deg(10, -179), 5, 180, true},
		{geo.Deg(0, -179), geo.Deg(10, 179), 5, -180, true},
		{geo.Deg(0, -180), geo.Deg(10, 180), 0, -180, true},
		{geo.Deg(0, -90), geo.Deg(10, 89), 0, 0, false},
	} {
		lat, edge, crosses := dateLine(tt.from, tt.to)
		if lat != tt.lat || edge != tt.edge || crosses != tt.crosses {
			t.Errorf("%v to %v: %v, %v, %v", tt.from, tt.to, lat, edge, crosses)
		}
	}
}

func TestATrailOfNobodyIsNotFound(t *testing.T) {
	s := &Shot{Store: wanderer(), Trail: 99}
	if err := s.Save(filepath.Join(t.TempDir(), "x.gpx"), false); !errors.Is(err, track.ErrNotFound) {
		t.Errorf("%v", err)
	}
}

func TestUnknownFormatsAreSaid(t *testing.T) {
	s := shot(t)
	for _, err := range []error{
		Picture(nil, "pdf", s.Canvas, s.Theme), Fixes(nil, "pdf", s.Frame, s.Store, nil), Trail(nil, "pdf", s.Store, 3),
	} {
		if err == nil || !strings.HasPrefix(err.Error(), `format "pdf" is not one of `) {
			t.Errorf("%v", err)
		}
	}
}
