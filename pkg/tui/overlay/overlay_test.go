package overlay

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"testing/iotest"
	"unicode"

	"tracker/pkg/geo"
	"tracker/pkg/tui/tuitest"
	"tracker/pkg/tui/world"
)

func read(t testing.TB, text string) *Overlay {
	t.Helper()
	o, err := Read("zones.geojson", strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	return o
}

// edge is what a view of an overlay shows.
type edge struct {
	kind   world.Kind
	x0, y0 float64 // degrees, to a tenth
	x1, y1 float64
}

// edges are those of an overlay in a view of half the world around a longitude.
func edges(o *Overlay, lon float64) (es []edge) {
	v := world.View{Centre: world.Project(geo.Deg(0, lon)), W: 1 << 12, H: 1 << 13}
	v.Zoom = 5
	tenth := func(deg float64) float64 { return math.Round(deg*10) / 10 }
	at := func(x, y float64) (float64, float64) {
		p := v.At(x, y).Point()
		return tenth(p.LonDeg()), tenth(p.LatDeg())
	}
	if o.Level == nil {
		return nil
	}
	o.Level.Lines(&v, func(k world.Kind, x0, y0, x1, y1 float64) {
		e := edge{kind: k}
		e.x0, e.y0 = at(x0, y0)
		e.x1, e.y1 = at(x1, y1)
		es = append(es, e)
	})
	return es
}

// named are the labels of an overlay, with their places to a tenth of a degree.
func named(o *Overlay) (ns []string) {
	for _, l := range o.Labels {
		p := l.Pos.Point()
		ns = append(ns, fmt.Sprintf("%s %.1f %.1f", l.Name, p.LonDeg(), p.LatDeg()))
	}
	return ns
}

func TestEveryShapeIsRead(t *testing.T) {
	square := `[[0,0],[2,0],[2,1],[0,1],[0,0]]`
	around := []edge{{world.Outline, 0, 0, 2, 0}, {world.Outline, 2, 0, 2, 1}, {world.Outline, 2, 1, 0, 1}, {world.Outline, 0, 1, 0, 0}}
	hole := []edge{{world.Outline, 0.5, 0.5, 1, 0.5}, {world.Outline, 1, 0.5, 1, 0.7}, {world.Outline, 1, 0.7, 0.5, 0.5}}
	place := func(x, y float64) edge { return edge{world.Place, x, y, x, y} }
	route := []edge{{world.Route, 0, 0, 4, 0}, {world.Route, 4, 0, 4, 1}}
	for name, tt := range map[string]struct {
		text  string
		edges []edge
		named []string
	}{
		"place":  {`{"type":"Point","coordinates":[1,2]}`, []edge{place(1, 2)}, nil},
		"height": {`{"type":"Point","coordinates":[1,2,3]}`, []edge{place(1, 2)}, nil},
		"places": {`{"type":"MultiPoint","coordinates":[[1,2],[-3,4e0]]}`, []edge{place(1, 2), place(-3, 4)}, nil},
		"line":   {`{"type":"LineString","coordinates":[[0,0],[4,0],[4,1]]}`, route, nil},
		"lines":  {`{"coordinates":[[[0,0],[4,0],[4,1]],[[1,1],[2,1]]],"type":"MultiLineString"}`, append(route[:2:2], edge{world.Route, 1, 1, 2, 1}), nil},
		"area":   {`{"type":"Polygon","coordinates":[` + square + `]}`, around, nil},
		"hole":   {`{"type":"Polygon","coordinates":[` + square + `,[[0.5,0.5],[1,0.5],[1,0.7],[0.5,0.5]]]}`, append(around[:4:4], hole...), nil},
		"areas":  {`{"type":"MultiPolygon","coordinates":[[` + square + `],[` + square + `]]}`, append(around[:4:4], around...), nil},
		"all": {`{"type":"GeometryCollection","geometries":[{"type":"Point","coordinates":[1,2]},
			{"type":"GeometryCollection","geometries":[{"type":"LineString","coordinates":[[0,0],[4,0],[4,1]]}]}]}`, append([]edge{place(1, 2)}, route...), nil},
		"nothing": {`{"type":"MultiPolygon","coordinates":[]}`, nil, nil},
		"no area": {`{"type":"Polygon","coordinates":[]}`, nil, nil},
		"feature": {`{"type":"Feature","properties":{"name":" harbour ","x":[{"y":null}]},"id":7,"geometry":{"type":"Polygon","coordinates":[` + square + `]},"bbox":[0,0,1,1]}`,
			around, []string{"harbour 1.0 0.5"}},
		"title":        {`{"type":"Feature","geometry":{"type":"LineString","coordinates":[[0,0],[4,0],[4,1]]},"properties":{"name":null,"title":"road"}}`, route, []string{"road 2.5 0.0"}},
		"without name": {`{"type":"Feature","geometry":{"type":"Point","coordinates":[1,2]},"properties":{"name":12}}`, []edge{place(1, 2)}, nil},
		"without all":  {`{"type":"Feature","geometry":{"type":"Point","coordinates":[1,2]},"properties":null}`, []edge{place(1, 2)}, nil},
		"no geometry":  {`{"type":"Feature","geometry":null,"properties":{"name":"nowhere"}}`, nil, nil},
		"features": {`{"type":"FeatureCollection","features":[{"type":"Feature","geometry":{"type":"Point","coordinates":[1,2]},"properties":{"name":"a"}},
			{"properties":{"name":"b"},"geometry":{"coordinates":[3,4],"type":"Point"},"type":"Feature"}]}`, []edge{place(1, 2), place(3, 4)}, []string{"a 1.0 2.0", "b 3.0 4.0"}},
		"byte order mark": {"\ufeff" + `{"type":"FeatureCollection","features":[]}` + "\r\n", nil, nil},
		"escapes":         {`{"type":"Feature","geometry":{"type":"Point","coordinates":[1,2]},"properties":{"n\u0061me":"\u001b]0;x\u0007\"\ud83d\ude00"}}`, []edge{place(1, 2)}, []string{"\x1b]0;x\x07\"😀 1.0 2.0"}},
		"long name":       {`{"type":"Feature","geometry":{"type":"Point","coordinates":[1,2]},"properties":{"name":"` + strings.Repeat("ü", 70) + `"}}`, []edge{place(1, 2)}, []string{strings.Repeat("ü", 64) + " 1.0 2.0"}},
		"largest first": {`{"type":"Feature","geometry":{"type":"GeometryCollection","geometries":[{"type":"Point","coordinates":[50,50]},
			{"type":"Polygon","coordinates":[[[8,0],[9,0],[9,1],[8,0]]]},{"type":"Polygon","coordinates":[` + square + `]}]},"properties":{"name":"a"}}`,
			append([]edge{place(50, 50), {world.Outline, 8, 0, 9, 0}, {world.Outline, 9, 0, 9, 1}, {world.Outline, 9, 1, 8, 0}}, around...), []string{"a 1.0 0.5"}},
	} {
		o := read(t, tt.text)
		if got := edges(o, 0); !reflect.DeepEqual(got, tt.edges) {
			t.Errorf("%s: got\n%v\nwant\n%v", name, got, tt.edges)
		}
		if got := named(o); !reflect.DeepEqual(got, tt.named) {
			t.Errorf("%s: names %q, want %q", name, got, tt.named)
		}
		if o.Name != "zones" {
			t.Errorf("%s: it is called %q", name, o.Name)
		}
	}
}

func TestAreasAcrossTheDateLineAreOne(t *testing.T) {
	want := map[edge]bool{
		{world.Outline, 179, 0, -179, 0}: true, {world.Outline, -179, 0, -179, 1}: true,
		{world.Outline, -179, 1, 179, 1}: true, {world.Outline, 179, 1, 179, 0}: true,
	}
	for name, ring := range map[string]string{
		"not cut": `[[[179,0],[-179,0],[-179,1],[179,1],[179,0]]]`, "too far": `[[[179,0],[181,0],[181,1],[179,1],[179,0]]]`,
	} {
		o := read(t, `{"type":"Feature","properties":{"name":"a"},"geometry":{"type":"Polygon","coordinates":`+ring+`}}`)
		got := map[edge]bool{}
		for _, e := range edges(o, 180) {
			got[e] = true
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("%s: got\n%v\nwant\n%v", name, got, want)
		}
		if at := o.Labels[0].Pos.Point(); math.Abs(math.Abs(at.LonDeg())-180) > 0.01 {
			t.Errorf("%s: its name is at %v", name, at)
		}
	}

	cut := read(t, `{"type":"MultiPolygon","coordinates":[[[[179,0],[180,0],[180,1],[179,1],[179,0]]],[[[-180,0],[-179,0],[-179,1],[-180,1],[-180,0]]]]}`)
	for _, e := range edges(cut, 180) {
		if math.Abs(e.x0) == 180 && math.Abs(e.x1) == 180 {
			t.Errorf("the cut is drawn: %v", e)
		}
	}
	if got := len(edges(cut, 180)); got != 6 {
		t.Errorf("%d edges, want 6", got)
	}
}

func TestAreasAroundAPoleHaveNoEdgeAlongIt(t *testing.T) {
	o := read(t, `{"type":"Polygon","coordinates":[[[-180,-90],[-180,-70],[-60,-70],[60,-70],[180,-70],[180,-90],[-180,-90]]]}`)
	v := world.View{Centre: world.Project(geo.Deg(0, 0)), W: 512, H: 512, Zoom: 1}
	n := 0
	o.Level.Lines(&v, func(_ world.Kind, _, y0, _, y1 float64) {
		if n++; math.Abs(y0-y1) > 1 {
			t.Errorf("an edge goes from %.0f to %.0f", y0, y1)
		}
	})
	if n < 3 {
		t.Errorf("%d edges", n)
	}
}

func TestLongEdgesAreStraightInDegrees(t *testing.T) {
	o := read(t, `{"type":"LineString","coordinates":[[-20,0],[20,80]]}`)
	across := read(t, `{"type":"LineString","coordinates":[[170,0],[-170,20]]}`)
	for _, e := range edges(across, 180) {
		if want := math.Mod(e.x0+360, 360) - 170; math.Abs(e.y0-want) > 0.2 {
			t.Errorf("%.1f, %.1f is not on the line across the date line", e.x0, e.y0)
		}
	}
	if got := len(edges(across, 180)); got != 10 {
		t.Errorf("%d edges, want 10", got)
	}
	seen := 0
	for _, e := range edges(o, 0) {
		if want := (e.x0 + 20) * 2; math.Abs(e.y0-want) > 0.2 {
			t.Errorf("%.1f, %.1f is not on the line", e.x0, e.y0)
		}
		seen++
	}
	if seen != 40 {
		t.Errorf("%d edges, want 40", seen)
	}
}

// broken are files with a mistake, each with why somebody would write it.
var broken = []tuitest.Broken{
	{"nothing", ""},
	{"blanks", " \n\t\n"},
	{"no object", "[1]\n"},
	{"no JSON", "type: Point\n"},
	{"cut short", "{\"type\": \"Point\",\n  \"coordinates\": [1,"},
	{"comma too many", "{\"type\": \"Point\", \"coordinates\": [1, 2],}\n"},
	{"comma too many in a list", "{\"type\": \"Point\", \"coordinates\": [1, 2,]}\n"},
	{"comma missing", "{\"type\": \"Point\"\n \"coordinates\": [1, 2]}\n"},
	{"colon missing", "{\"type\" \"Point\"}\n"},
	{"single quotes", "{'type': 'Point'}\n"},
	{"comment", "{\n// a place\n\"type\": \"Point\"}\n"},
	{"no end of a string", "{\"type\": \"Point\n\"}\n"},
	{"control character in a string", "{\"type\": \"Po\x01int\"}\n"},
	{"escape that is none", "{\"type\": \"\\x50oint\"}\n"},
	{"not UTF-8", "{\"name\": \"\xff\", \"type\": \"Point\"}\n"},
	{"number that is none", "{\"type\": \"Point\", \"coordinates\": [01, 2]}\n"},
	{"number with a plus", "{\"type\": \"Point\", \"coordinates\": [1, +2]}\n"},
	{"NaN", "{\"type\": \"Point\", \"coordinates\": [NaN, 2]}\n"},
	{"lines of JSON", "{\"type\": \"Point\", \"coordinates\": [1, 2]}\n{\"type\": \"Point\", \"coordinates\": [1, 2]}\n"},
	{"no type", "{\n  \"coordinates\": [1, 2]}\n"},
	{"type twice", "{\"type\": \"Point\", \"coordinates\": [1, 2],\n \"type\": \"Point\"}\n"},
	{"type of a number", "{\"type\": 1}\n"},
	{"type nobody knows", "{\"type\": \"Circle\", \"coordinates\": [1, 2]}\n"},
	{"type in small letters", "{\"type\": \"point\", \"coordinates\": [1, 2]}\n"},
	{"TopoJSON", "{\"type\": \"Topology\", \"arcs\": []}\n"},
	{"no features", "{\"type\": \"FeatureCollection\"}\n"},
	{"features that are none", "{\"type\": \"FeatureCollection\", \"features\": {}}\n"},
	{"geometry among features", "{\"type\": \"FeatureCollection\", \"features\": [\n {\"type\": \"Point\", \"coordinates\": [1, 2]}]}\n"},
	{"feature without geometry", "{\"type\": \"Feature\", \"properties\": null}\n"},
	{"geometry that is none", "{\"type\": \"Feature\", \"geometry\": \"POINT(1 2)\"}\n"},
	{"properties that are none", "{\"type\": \"Feature\", \"geometry\": null, \"properties\": []}\n"},
	{"no coordinates", "{\"type\": \"Point\", \"coords\": [1, 2]}\n"},
	{"no position", "{\"type\": \"Point\", \"coordinates\": []}\n"},
	{"one number", "{\"type\": \"Point\", \"coordinates\": [1]}\n"},
	{"numbers as strings", "{\"type\": \"Point\", \"coordinates\": [\"1\", \"2\"]}\n"},
	{"too many brackets", "{\"type\": \"Point\", \"coordinates\": [[1, 2]]}\n"},
	{"too few brackets", "{\"type\": \"Polygon\", \"coordinates\": [[0,0],[1,0],[1,1],[0,0]]}\n"},
	{"short line", "{\"type\": \"LineString\", \"coordinates\": [[1, 2]]}\n"},
	{"short ring", "{\"type\": \"Polygon\", \"coordinates\": [[[0,0],[1,0],[0,0]]]}\n"},
	{"open ring", "{\"type\": \"Polygon\",\n \"coordinates\": [[[0,0],[1,0],[1,1],[0,1]]]}\n"},
	{"swapped", "{\"properties\": {\"名\": \"東京\"}, \"type\": \"Feature\", \"geometry\": {\"type\": \"Point\", \"coordinates\": [35.7, 139.7]}}\n"},
	{"latitude", "{\"type\": \"Point\", \"coordinates\": [100, 90.5]}\n"},
	{"longitude", "{\"type\": \"Point\", \"coordinates\": [400, 1]}\n"},
	{"metres", "{\"type\": \"Point\", \"coordinates\": [1.0, 6124322.1]}\n"},
	{"infinite", "{\"type\": \"Point\", \"coordinates\": [1e999, 1]}\n"},
	{"deep", "{\"x\": " + strings.Repeat("[", 100) + strings.Repeat("]", 100) + "}\n"},
	{"deep collections", strings.Repeat("{\"type\":\"GeometryCollection\",\"geometries\":[\n", 12) + strings.Repeat("]}", 12) + "\n"},
}

func TestBrokenFilesAreToldWithThePlace(t *testing.T) {
	tuitest.Mistakes(t, broken, func(text string) error {
		o, err := Read("zones.geojson", strings.NewReader(text))
		if o != nil {
			t.Errorf("%v beside %v", o, err)
		}
		checkMistake(t, err)
		return err
	})
}

func checkMistake(t testing.TB, err error) {
	t.Helper()
	var m *Mistake
	if !errors.As(err, &m) || m.Line < 1 || m.Col < 1 || m.File != "zones.geojson" || strings.ContainsFunc(m.Error(), unicode.IsControl) {
		t.Errorf("%#v is no mistake with a place", err)
	}
}

func TestFilesAreBounded(t *testing.T) {
	line := func(n int) string {
		return `{"type":"MultiPoint","coordinates":[[0,0]` + strings.Repeat(",[0,0]", n-1) + `]}`
	}
	if o := read(t, line(maxPoints)); o.Level == nil {
		t.Error("nothing was read")
	}
	for name, text := range map[string]string{
		"points":    line(maxPoints + 1),
		"bent":      `{"type":"LineString","coordinates":[[0,0]` + strings.Repeat(",[1,80],[0,-80]", 1300) + `]}`,
		"file":      `{"x":"` + strings.Repeat("x", maxFile) + `"}`,
		"of labels": `{"type":"FeatureCollection","features":[` + strings.Repeat(`{"type":"Feature","geometry":{"type":"Point","coordinates":[0,0]},"properties":{"name":"a"}},`, maxLabels) + `{"type":"Feature","geometry":{"type":"Point","coordinates":[0,0]},"properties":{"name":"a"}}]}`,
	} {
		_, err := Read("zones.geojson", strings.NewReader(text))
		if err == nil || !strings.Contains(err.Error(), "than") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestMistakesAreBounded(t *testing.T) {
	long := strings.Repeat("x", 1<<20)
	for _, text := range []string{
		`{"type":"` + long + `"}`, `{"type":"FeatureCollection","features":[{"type":"` + long + `"}]}`, `{"type":"Point","coordinates":[` + long + `]}`,
		`{"type":"Point","coordinates":[` + strings.Repeat("1", 1<<20) + `]}`,
	} {
		if _, err := Read("zones.geojson", strings.NewReader(text)); err == nil || len(err.Error()) > 400 {
			t.Errorf("%.40s… is told in %d bytes", text, len(fmt.Sprint(err)))
		}
	}
}

func TestFilesOfTheFileSystem(t *testing.T) {
	dir := t.TempDir()
	if _, err := Open(filepath.Join(dir, "none.geojson")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a file that is not there: %v", err)
	}
	file := filepath.Join(dir, "my harbour.geojson")
	if err := os.WriteFile(file, []byte(`{"type":"Point","coordinates":[1,2]}`), 0o600); err != nil {
		t.Fatal(err)
	}
	if o, err := Open(file); err != nil || o.Name != "my harbour" || len(edges(o, 0)) != 1 {
		t.Errorf("%+v, %v", o, err)
	}
	wrong := errors.New("wire cut")
	if _, err := Read("a", iotest.ErrReader(wrong)); !errors.Is(err, wrong) {
		t.Errorf("a reader that fails: %v", err)
	}
}

func FuzzRead(f *testing.F) {
	for _, b := range broken {
		f.Add([]byte(b.Text))
	}
	f.Add([]byte(`{"type":"FeatureCollection","features":[{"type":"Feature","geometry":{"type":"MultiPolygon","coordinates":[[[[179,0],[-179,0],[-179,1],[179,0]]]]},"properties":{"name":"\u001b"}}]}`))
	f.Add([]byte(`{"type":"GeometryCollection","geometries":[{"type":"LineString","coordinates":[[-20,0],[20,80]]},{"type":"Point","coordinates":[0,-90]}]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		o, err := Read("zones.geojson", bytes.NewReader(data))
		if err != nil {
			checkMistake(t, err)
			return
		}
		if !json.Valid(bytes.TrimPrefix(data, []byte("\ufeff"))) {
			t.Errorf("%q is no JSON", data)
		}
		edges(o, 180)
		for _, l := range o.Labels {
			if l.Name == "" {
				t.Error("a label says nothing")
			}
		}
	})
}

func BenchmarkRead(b *testing.B) {
	var text bytes.Buffer
	text.WriteString(`{"type":"FeatureCollection","features":[`)
	for i := range 1000 {
		if i > 0 {
			text.WriteByte(',')
		}
		fmt.Fprintf(&text, `{"type":"Feature","properties":{"name":"zone %d"},"geometry":{"type":"Polygon","coordinates":[[`, i)
		for j := range 99 {
			s, c := math.Sincos(float64(j) / 99 * 2 * math.Pi)
			fmt.Fprintf(&text, "[%.6f,%.6f],", float64(i%360)-180+c, float64(i%120)-60+s)
		}
		fmt.Fprintf(&text, "[%.6f,%.6f]]]}}", float64(i%360)-180+1, float64(i%120)-60+0.0)
	}
	text.WriteString("]}")
	b.SetBytes(int64(text.Len()))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Read("zones.geojson", bytes.NewReader(text.Bytes())); err != nil {
			b.Fatal(err)
		}
	}
}
