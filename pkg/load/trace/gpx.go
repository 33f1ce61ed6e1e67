package trace

import (
	"bufio"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
)

// gpxSource reads the track points of a GPX 1.0 or 1.1 file. The vehicle is the name
// of the track, or track-N where it has none. Way points and routes are plans, not
// recordings, and are passed over. A file that is not well-formed XML ends there
// with an error, since nothing behind the damage can be trusted.
type gpxSource struct {
	dec    *xml.Decoder
	tracks int
	name   string
	point  *gpxPoint // the one being read, or nil
	text   strings.Builder
	root   bool // <gpx> was seen
}

type gpxPoint struct {
	line     int
	lat, lon string
	time     string
	rec      record
}

func newGPX(br *bufio.Reader) source {
	return &gpxSource{dec: xml.NewDecoder(br)}
}

func (g *gpxSource) next() (record, error) {
	for {
		tok, err := g.dec.Token()
		switch {
		case errors.Is(err, io.EOF) && g.root:
			return record{}, io.EOF
		case errors.Is(err, io.EOF):
			return record{}, fmt.Errorf("no <gpx> element: %w", ErrFormat)
		case err != nil:
			return record{}, fmt.Errorf("read GPX: %w", err)
		}
		switch t := tok.(type) {
		case xml.StartElement:
			if err := g.start(t); err != nil {
				return record{}, err
			}
		case xml.CharData:
			g.text.Write(t)
		case xml.EndElement:
			if p := g.end(t.Name.Local); p != nil {
				return p.finish(g.name)
			}
		}
	}
}

func (g *gpxSource) start(t xml.StartElement) error {
	if !g.root {
		if t.Name.Local != "gpx" {
			return fmt.Errorf("the XML is <%.20s>, not <gpx>: %w", t.Name.Local, ErrFormat)
		}
		g.root = true
	}
	g.text.Reset()
	switch t.Name.Local {
	case "trk":
		g.tracks++
		g.name = "track-" + strconv.Itoa(g.tracks)
	case "trkpt":
		line, _ := g.dec.InputPos()
		g.point = &gpxPoint{line: line, rec: blank(line)}
		for _, a := range t.Attr {
			switch a.Name.Local {
			case "lat":
				g.point.lat = a.Value
			case "lon":
				g.point.lon = a.Value
			}
		}
	}
	return nil
}

// end closes an element; closing a track point hands it out.
func (g *gpxSource) end(element string) *gpxPoint {
	text := strings.TrimSpace(g.text.String())
	g.text.Reset()
	p := g.point
	switch {
	case element == "name" && p == nil && text != "":
		g.name = text
	case element == "trkpt":
		g.point = nil
		return p
	case p != nil:
		p.set(element, text)
	}
	return nil
}

// set takes a value of a point: GPX 1.0 has speed and course beside it, 1.1 in
// extensions, where they keep their names.
func (p *gpxPoint) set(element, text string) {
	switch element {
	case "time":
		p.time = text
	case "ele":
		p.rec.alt = optional(text)
	case "speed":
		p.rec.speed = optional(text)
	case "course":
		p.rec.course = optional(text)
	}
}

func (p *gpxPoint) finish(name string) (record, error) {
	t, err := parseTime([]byte(p.time))
	if err != nil {
		return record{}, faultf(p.line, BadTime, "%v", err)
	}
	lat, errLat := parseNumber([]byte(strings.TrimSpace(p.lat)))
	lon, errLon := parseNumber([]byte(strings.TrimSpace(p.lon)))
	if err := errors.Join(errLat, errLon); err != nil {
		return record{}, faultf(p.line, BadPosition, "%v", firstLine(err))
	}
	p.rec.device, p.rec.time, p.rec.lat, p.rec.lon = []byte(name), t, lat, lon
	return p.rec, nil
}

func optional(text string) float32 {
	v, err := parseNumber([]byte(text))
	if err != nil {
		return Unknown
	}
	return float32(v)
}
