package snap

import (
	"bufio"
	"encoding/json"
	"encoding/xml"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"tracker/pkg/client"
	"tracker/pkg/geo"
	"tracker/pkg/track"
	"tracker/pkg/tui/fleet"
)

// Places are the formats that Fixes knows, and Trails those that Trail knows.
var (
	Places = []string{"geojson", "gpx", "csv", "jsonl"}
	Trails = []string{"geojson", "gpx"}
)

// Fixes writes the latest fix of each device of the frame that which chooses, by name:
// as the history of trackctl does, but for GPX, where they are waypoints. A nil which
// chooses all. Who is gone from the store since the frame is left out.
func Fixes(w io.Writer, format string, f *fleet.Frame, s *fleet.Store, which func(point int32) bool) error {
	out, err := fixWriter(w, format)
	if err != nil {
		return err
	}
	for _, i := range chosen(f, s, which) {
		fix, name, ok := s.Info(i)
		if !ok {
			continue
		}
		if fix.Name == "" || format == "gpx" {
			fix.Name = name // what people call it here
		}
		if err := out.Write(&fix); err != nil {
			return err
		}
	}
	return out.Close()
}

func fixWriter(w io.Writer, format string) (client.Writer, error) {
	switch {
	case !slices.Contains(Places, format):
		return nil, unknown(format, Places)
	case format == "gpx":
		return &waypoints{w: bufio.NewWriter(w)}, nil
	}
	return client.NewWriter(w, format)
}

// chosen are the points to write, by name: two files of the same fleet can be compared.
func chosen(f *fleet.Frame, s *fleet.Store, which func(int32) bool) []int32 {
	var points []int32
	names := map[int32]string{}
	for i := range int32(len(f.Points)) {
		if f.Points[i].Alive() && (which == nil || which(i)) {
			points = append(points, i)
			names[i] = s.Name(i)
		}
	}
	slices.SortStableFunc(points, func(a, b int32) int { return strings.Compare(names[a], names[b]) })
	return points
}

const (
	gpxHead = `<?xml version="1.0" encoding="UTF-8"?>` + "\n" +
		`<gpx version="1.1" creator="tracker" xmlns="http://www.topografix.com/GPX/1/1">` + "\n"
	gpxTail = "</gpx>\n"
)

// waypoints writes GPX 1.1 with a waypoint for each fix that has a place: programs show
// these by name, where they would show nothing of a track of one point.
type waypoints struct {
	w       *bufio.Writer
	started bool
}

func (g *waypoints) Write(f *client.Fix) error {
	g.start()
	if !f.HasPos() {
		return nil
	}
	_, _ = fmt.Fprintf(g.w, ` <wpt lat="%s" lon="%s">`, degrees(f.At.LatDeg()), degrees(f.At.LonDeg()))
	if f.Has&track.HasAlt != 0 {
		_, _ = fmt.Fprintf(g.w, "<ele>%d</ele>", f.Alt)
	}
	_, _ = fmt.Fprintf(g.w, "<time>%s</time><name>", stamp(f.Time))
	_ = xml.EscapeText(g.w, []byte(f.Name))
	_, err := g.w.WriteString("</name></wpt>\n")
	return err // bufio keeps the first error and gives it again
}

func (g *waypoints) start() {
	if !g.started {
		g.started = true
		_, _ = g.w.WriteString(gpxHead)
	}
}

func (g *waypoints) Close() error {
	g.start()
	_, _ = g.w.WriteString(gpxTail)
	return g.w.Flush()
}

func degrees(v float64) string {
	return strings.TrimSuffix(strings.TrimRight(fmt.Sprintf("%.7f", v), "0"), ".")
}

func stamp(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000Z") }

// step is a place of a trail.
type step struct {
	at   geo.Point
	time time.Time
}

// Trail writes where a device went, as far as the store remembers: GPX with a segment,
// or GeoJSON with a Feature, for each stretch without a jump. A time is that at which
// the device was heard there.
func Trail(w io.Writer, format string, s *fleet.Store, id track.DeviceID) error {
	if !slices.Contains(Trails, format) {
		return unknown(format, Trails)
	}
	i := s.Find(id)
	fix, name, ok := s.Info(i)
	if !ok {
		return fmt.Errorf("device %v: %w", id, track.ErrNotFound)
	}
	stretches := stretchesOf(s.Trail(nil, i, fleet.MaxTrail))
	b := bufio.NewWriter(w)
	if format == "gpx" {
		trailGPX(b, name, stretches)
	} else if err := trailGeoJSON(b, &fix, name, stretches); err != nil {
		return err
	}
	return b.Flush()
}

// stretchesOf cuts a trail where the device jumped.
func stretchesOf(crumbs []fleet.Crumb) (stretches [][]step) {
	for i, c := range crumbs {
		if i == 0 || c.Start {
			stretches = append(stretches, nil)
		}
		last := &stretches[len(stretches)-1]
		*last = append(*last, step{c.Pos.Point(), time.UnixMilli(c.At)})
	}
	return stretches
}

func trailGPX(b *bufio.Writer, name string, stretches [][]step) {
	_, _ = b.WriteString(gpxHead + " <trk><name>")
	_ = xml.EscapeText(b, []byte(name))
	_, _ = b.WriteString("</name>\n")
	for _, stretch := range stretches {
		_, _ = b.WriteString("  <trkseg>\n")
		for _, p := range stretch {
			_, _ = fmt.Fprintf(b, `   <trkpt lat="%s" lon="%s"><time>%s</time></trkpt>`+"\n", degrees(p.at.LatDeg()), degrees(p.at.LonDeg()), stamp(p.time))
		}
		_, _ = b.WriteString("  </trkseg>\n")
	}
	_, _ = b.WriteString(" </trk>\n" + gpxTail)
}

// feature is a stretch of a trail in GeoJSON (RFC 7946).
type feature struct {
	Type       string     `json:"type"`
	Geometry   geometry   `json:"geometry"`
	Properties properties `json:"properties"`
}

type geometry struct {
	Type        string `json:"type"`
	Coordinates any    `json:"coordinates"`
}

type properties struct {
	Device track.DeviceID `json:"device"`
	Name   string         `json:"name"`
	Times  []string       `json:"times"` // of each place that the device reported
}

func trailGeoJSON(b *bufio.Writer, fix *client.Fix, name string, stretches [][]step) error {
	_, _ = b.WriteString(`{"type":"FeatureCollection","features":[`)
	for i, stretch := range stretches {
		f := feature{"Feature", shape(stretch), properties{fix.Device, name, nil}}
		for _, p := range stretch {
			f.Properties.Times = append(f.Properties.Times, stamp(p.time))
		}
		text, err := json.Marshal(f)
		if err != nil {
			return err
		}
		if i > 0 {
			_ = b.WriteByte(',')
		}
		_ = b.WriteByte('\n')
		_, _ = b.Write(text)
	}
	_, err := b.WriteString("\n]}\n")
	return err
}

// shape is a stretch as a line, as several where it crosses the date line, as the
// format wants it, or as a point if it is none.
func shape(stretch []step) geometry {
	if len(stretch) == 1 {
		return geometry{"Point", position(stretch[0].at)}
	}
	lines := [][][2]float64{{position(stretch[0].at)}}
	for i := 1; i < len(stretch); i++ {
		last := &lines[len(lines)-1]
		from, to := stretch[i-1].at, stretch[i].at
		if lat, edge, crosses := dateLine(from, to); crosses {
			*last = append(*last, [2]float64{edge, lat})
			lines = append(lines, [][2]float64{{-edge, lat}})
			last = &lines[len(lines)-1]
		}
		*last = append(*last, position(to))
	}
	if len(lines) == 1 {
		return geometry{"LineString", lines[0]}
	}
	return geometry{"MultiLineString", lines}
}

func position(p geo.Point) [2]float64 { return [2]float64{p.LonDeg(), p.LatDeg()} }

// dateLine tells where the short way between two places crosses it, coming from the
// edge at 180 or -180 degrees.
func dateLine(from, to geo.Point) (lat, edge float64, crosses bool) {
	a, b := from.LonDeg(), to.LonDeg()
	switch {
	case b-a > 180:
		edge, b = -180, b-360
	case a-b > 180:
		edge, b = 180, b+360
	default:
		return 0, 0, false
	}
	if a == b { // both on the line itself
		return from.LatDeg(), edge, true
	}
	return from.LatDeg() + (to.LatDeg()-from.LatDeg())*(edge-a)/(b-a), edge, true
}
