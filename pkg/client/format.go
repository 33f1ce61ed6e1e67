package client

import (
	"bufio"
	"encoding/csv"
	"encoding/xml"
	"fmt"
	"io"
	"strconv"
	"strings"

	"tracker/pkg/track"
)

// Writer writes fixes one after the other in some file format. Nothing is kept but
// what a buffered line needs, so a history of any length passes through.
type Writer interface {
	Write(f *Fix) error
	// Close ends the document and flushes. It leaves the underlying writer open.
	Close() error
}

// Formats are the names that NewWriter knows.
var Formats = []string{"jsonl", "csv", "gpx", "geojson"}

// NewWriter makes a Writer for one of Formats.
func NewWriter(w io.Writer, format string) (Writer, error) {
	b := bufio.NewWriterSize(w, 32<<10)
	switch format {
	case "jsonl":
		return &jsonlWriter{w: b}, nil
	case "csv":
		return &csvWriter{w: csv.NewWriter(b), b: b}, nil
	case "gpx":
		return &gpxWriter{w: b}, nil
	case "geojson":
		return &geojsonWriter{w: b}, nil
	}
	return nil, fmt.Errorf("format %q: want one of %s: %w", format, strings.Join(Formats, ", "), track.ErrInvalid)
}

// jsonlWriter writes one object a line and flushes each, so that what is piped into
// another program arrives as it happens.
type jsonlWriter struct {
	w    *bufio.Writer
	line []byte
}

func (j *jsonlWriter) Write(f *Fix) error {
	j.line = append(f.AppendJSON(j.line[:0]), '\n')
	if _, err := j.w.Write(j.line); err != nil {
		return err
	}
	return j.w.Flush()
}

func (j *jsonlWriter) Close() error { return j.w.Flush() }

// CSVHeader names the columns of the format csv. A cell is empty where the value is
// not known.
var CSVHeader = []string{"device", "name", "time", "lat", "lon", "alt_m", "speed_mps", "course_deg",
	"accuracy_m", "battery_pct", "power", "event", "late", "suspect", "jump", "received"}

type csvWriter struct {
	w       *csv.Writer
	b       *bufio.Writer
	row     []string
	started bool
}

func (c *csvWriter) Write(f *Fix) error {
	if err := c.start(); err != nil {
		return err
	}
	c.row = append(c.row[:0], f.Device.String(), f.Name, f.Time.UTC().Format(timeLayout))
	c.cell(f.HasPos(), formatFloat(f.At.LatDeg()))
	c.cell(f.HasPos(), formatFloat(f.At.LonDeg()))
	c.cell(f.Has&track.HasAlt != 0, strconv.Itoa(f.Alt))
	c.cell(f.Has&track.HasVel != 0, formatFloat(f.Speed))
	c.cell(f.Has&track.HasVel != 0, formatFloat(f.Course))
	c.cell(f.Has&track.HasAcc != 0, formatFloat(float64(f.Accuracy)))
	c.cell(f.Has&track.HasBat != 0, strconv.Itoa(f.Battery))
	c.cell(f.Power, "true")
	c.cell(true, f.Event)
	c.cell(f.Late, "true")
	c.cell(f.Suspect, "true")
	c.cell(f.Jump, "true")
	c.cell(!f.Received.IsZero(), f.Received.UTC().Format(timeLayout))
	return c.w.Write(c.row)
}

func (c *csvWriter) cell(known bool, text string) {
	if !known {
		text = ""
	}
	c.row = append(c.row, text)
}

func (c *csvWriter) start() error {
	if c.started {
		return nil
	}
	c.started = true
	return c.w.Write(CSVHeader)
}

func (c *csvWriter) Close() error {
	if err := c.start(); err != nil {
		return err
	}
	if c.w.Flush(); c.w.Error() != nil {
		return c.w.Error()
	}
	return c.b.Flush()
}

func formatFloat(v float64) string { return strconv.FormatFloat(v, 'f', -1, 64) }

// gpxWriter writes GPX 1.1, one track a device. Fixes without a place have none in
// GPX either, and are left out.
type gpxWriter struct {
	w       *bufio.Writer
	device  track.DeviceID
	started bool
	open    bool
}

const (
	gpxHead = `<?xml version="1.0" encoding="UTF-8"?>` + "\n" +
		`<gpx version="1.1" creator="tracker" xmlns="http://www.topografix.com/GPX/1/1">` + "\n"
	gpxTail = "</gpx>\n"
)

func (g *gpxWriter) Write(f *Fix) error {
	g.start()
	if !f.HasPos() {
		return nil
	}
	if g.open && g.device != f.Device {
		g.endTrack()
	}
	if !g.open {
		g.open, g.device = true, f.Device
		name := f.Name
		if name == "" {
			name = f.Device.String()
		}
		_, _ = g.w.WriteString(" <trk><name>")
		_ = xml.EscapeText(g.w, []byte(name))
		_, _ = g.w.WriteString("</name><trkseg>\n")
	}
	_, _ = fmt.Fprintf(g.w, `  <trkpt lat="%s" lon="%s">`, formatFloat(f.At.LatDeg()), formatFloat(f.At.LonDeg()))
	if f.Has&track.HasAlt != 0 {
		_, _ = fmt.Fprintf(g.w, "<ele>%d</ele>", f.Alt)
	}
	_, err := fmt.Fprintf(g.w, "<time>%s</time></trkpt>\n", f.Time.UTC().Format(timeLayout))
	return err // bufio keeps the first error and gives it again
}

func (g *gpxWriter) start() {
	if !g.started {
		g.started = true
		_, _ = g.w.WriteString(gpxHead)
	}
}

func (g *gpxWriter) endTrack() {
	g.open = false
	_, _ = g.w.WriteString(" </trkseg></trk>\n")
}

func (g *gpxWriter) Close() error {
	g.start()
	if g.open {
		g.endTrack()
	}
	_, _ = g.w.WriteString(gpxTail)
	return g.w.Flush()
}

// geojsonWriter writes a FeatureCollection (RFC 7946) with one Feature a fix; one
// without a place has a null geometry.
type geojsonWriter struct {
	w       *bufio.Writer
	buf     []byte
	started bool
}

func (g *geojsonWriter) Write(f *Fix) error {
	b := g.buf[:0]
	if g.started {
		b = append(b, ",\n"...)
	} else {
		b = append(b, `{"type":"FeatureCollection","features":[`+"\n"...)
	}
	g.started = true
	b = append(b, `{"type":"Feature","geometry":`...)
	if f.HasPos() {
		b = append(b, `{"type":"Point","coordinates":[`...)
		b = append(appendJSONFloat(b, f.At.LonDeg()), ',')
		b = appendJSONFloat(b, f.At.LatDeg())
		if f.Has&track.HasAlt != 0 {
			b = strconv.AppendInt(append(b, ','), int64(f.Alt), 10)
		}
		b = append(b, "]}"...)
	} else {
		b = append(b, "null"...)
	}
	b = append(b, `,"properties":`...)
	rest := *f
	rest.Has &^= track.HasPos // the geometry says it
	b = append(rest.AppendJSON(b), '}')
	g.buf = b
	_, err := g.w.Write(b)
	return err
}

func (g *geojsonWriter) Close() error {
	if !g.started {
		_, _ = g.w.WriteString(`{"type":"FeatureCollection","features":[`)
	}
	_, _ = g.w.WriteString("\n]}\n")
	return g.w.Flush()
}
