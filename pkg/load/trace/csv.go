package trace

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
)

// column is a meaning that a CSV column can have.
type column uint8

const (
	colDevice column = iota
	colName
	colTime
	colLat
	colLon
	colAlt
	colSpeed
	colCourse
	colHeading
	colAccuracy
	colBattery
	numColumns
)

// layout is one publisher's way to write a recording.
type layout struct {
	format  string
	columns map[string]column       // header, lower case -> meaning; others are ignored
	convert func(*record, *float32) // the publisher's units and sentinels to ours; gets the heading
}

// layouts in order of trial: the first whose required columns are all there wins.
// Each needs a device (or name), a time and a place.
var layouts = []layout{
	{"ais", map[string]column{
		"mmsi": colDevice, "basedatetime": colTime, "lat": colLat, "lon": colLon,
		"sog": colSpeed, "cog": colCourse, "heading": colHeading,
	}, convertAIS},
	{"transit", map[string]column{
		"vehicle_id": colDevice, "timestamp": colTime, "latitude": colLat, "longitude": colLon,
		"speed": colSpeed, "bearing": colCourse,
	}, nil},
	{"csv", map[string]column{
		"device": colDevice, "name": colName,
		"time": colTime, "timestamp": colTime, "lat": colLat, "latitude": colLat,
		"lon": colLon, "lng": colLon, "longitude": colLon,
		"alt_m": colAlt, "speed_mps": colSpeed, "course_deg": colCourse,
		"accuracy_m": colAccuracy, "battery_pct": colBattery,
	}, nil},
}

const knot = 1852.0 / 3600 // metres a second

// convertAIS applies ITU-R M.1371: speed over ground in knots with 102.2 as the top
// and 102.3 as not available, course 360 and heading 511 as not available. A ship
// that does not know its course may still know where it points.
func convertAIS(rec *record, heading *float32) {
	if rec.speed >= 102 {
		rec.speed = Unknown
	}
	rec.speed *= knot
	if rec.course >= 360 {
		rec.course = Unknown
	}
	if !Known(rec.course) && *heading < 360 {
		rec.course = *heading
	}
}

type csvSource struct {
	lines
	layout *layout
	width  int             // columns of the header
	at     [numColumns]int // where each meaning stands, -1 if nowhere
	fields [][]byte        // of the current line, reused
	quoted []byte          // unescaped fields, reused
}

func newCSV(br *bufio.Reader) (source, string, error) {
	c := &csvSource{lines: lines{r: br}}
	head, _, err := c.line()
	if err != nil {
		return nil, "", fmt.Errorf("read the header: %w", err)
	}
	if err := c.split(head); err != nil {
		return nil, "", fmt.Errorf("the first line is no header: %w: %w", err, ErrFormat)
	}
	c.width = len(c.fields)
	for i := range layouts {
		if c.match(&layouts[i]) {
			return c, layouts[i].format, nil
		}
	}
	return nil, "", fmt.Errorf("the header has no columns for device, time and place: %w", ErrFormat)
}

// match lays the header on l; of two columns with one meaning the first counts.
func (c *csvSource) match(l *layout) bool {
	c.layout = l
	for i := range c.at {
		c.at[i] = -1
	}
	for i, f := range c.fields {
		if col, ok := l.columns[strings.ToLower(string(bytes.TrimSpace(f)))]; ok && c.at[col] < 0 {
			c.at[col] = i
		}
	}
	named := c.at[colDevice] >= 0 || c.at[colName] >= 0
	return named && c.at[colTime] >= 0 && c.at[colLat] >= 0 && c.at[colLon] >= 0
}

func (c *csvSource) next() (record, error) {
	text, n, err := c.line()
	if err != nil {
		return record{}, err
	}
	if err := c.split(text); err != nil {
		return record{}, faultf(n, BadRow, "%v", err)
	}
	if len(c.fields) != c.width {
		return record{}, faultf(n, BadRow, "%d columns where the header has %d", len(c.fields), c.width)
	}
	return c.record(n)
}

func (c *csvSource) record(n int) (record, error) {
	rec := blank(n)
	rec.device = c.field(colName)
	if len(rec.device) == 0 {
		rec.device = c.field(colDevice)
	}
	t, err := parseTime(c.field(colTime))
	if err != nil {
		return rec, faultf(n, BadTime, "%v", err)
	}
	rec.time = t
	lat, errLat := parseNumber(c.field(colLat))
	lon, errLon := parseNumber(c.field(colLon))
	if err := errors.Join(errLat, errLon); err != nil {
		return rec, faultf(n, BadPosition, "%v", firstLine(err))
	}
	rec.lat, rec.lon = lat, lon
	rec.alt, rec.speed, rec.course = c.number(colAlt), c.number(colSpeed), c.number(colCourse)
	rec.accuracy, rec.battery = c.number(colAccuracy), c.number(colBattery)
	if c.layout.convert != nil {
		heading := c.number(colHeading)
		c.layout.convert(&rec, &heading)
	}
	return rec, nil
}

func (c *csvSource) field(col column) []byte {
	if c.at[col] < 0 {
		return nil
	}
	return bytes.TrimSpace(c.fields[c.at[col]])
}

// number reads an optional measurement: what is not a number is not known.
func (c *csvSource) number(col column) float32 {
	text := c.field(col)
	if len(text) == 0 {
		return Unknown
	}
	v, err := parseNumber(text)
	if err != nil {
		return Unknown
	}
	return float32(v)
}

var (
	errQuote     = errors.New(`a quoted field does not end in a quote`)
	errBareQuote = errors.New(`a quote stands inside an unquoted field`)
)

// split cuts a line at its commas, RFC 4180 within the line. A quoted field cannot
// run on into the next line: one lost quote would swallow the rest of the file as
// one row, and none of these recordings needs it.
func (c *csvSource) split(line []byte) error {
	c.fields, c.quoted = c.fields[:0], slices.Grow(c.quoted[:0], len(line))
	for {
		field, rest, more, err := c.cut(line)
		if err != nil {
			return err
		}
		c.fields = append(c.fields, field)
		if !more {
			return nil
		}
		line = rest
	}
}

func (c *csvSource) cut(line []byte) (field, rest []byte, more bool, err error) {
	if len(line) == 0 || line[0] != '"' {
		field, rest, more = bytes.Cut(line, []byte{','})
		if bytes.IndexByte(field, '"') >= 0 {
			err = errBareQuote
		}
		return field, rest, more, err
	}
	start := len(c.quoted)
	for line = line[1:]; ; line = line[1:] {
		i := bytes.IndexByte(line, '"')
		if i < 0 {
			return nil, nil, false, errQuote
		}
		c.quoted = append(c.quoted, line[:i]...) // cannot move: split made room for the whole line
		line = line[i+1:]
		switch {
		case len(line) == 0:
			return c.quoted[start:], nil, false, nil
		case line[0] == ',':
			return c.quoted[start:], line[1:], true, nil
		case line[0] != '"':
			return nil, nil, false, errQuote
		}
		c.quoted = append(c.quoted, '"')
	}
}

// lines cuts a text into lines and numbers them.
type lines struct {
	r *bufio.Reader
	n int
}

// line returns the next line that is not blank, without its end, and its number. A
// line that is longer than the buffer is passed over and is a fault.
func (l *lines) line() ([]byte, int, error) {
	for {
		text, err := l.r.ReadSlice('\n')
		if len(text) > 0 {
			l.n++
		}
		if errors.Is(err, bufio.ErrBufferFull) {
			return nil, l.n, l.skipLine()
		}
		if err != nil && !errors.Is(err, io.EOF) {
			return nil, l.n, fmt.Errorf("read line %d: %w", l.n+1, err)
		}
		if trimmed := bytes.TrimRight(text, "\r\n"); len(bytes.TrimSpace(trimmed)) > 0 {
			return trimmed, l.n, nil
		}
		if err != nil {
			return nil, l.n, io.EOF
		}
	}
}

func (l *lines) skipLine() error {
	for {
		_, err := l.r.ReadSlice('\n')
		if errors.Is(err, bufio.ErrBufferFull) {
			continue
		}
		if err != nil && !errors.Is(err, io.EOF) {
			return fmt.Errorf("read line %d: %w", l.n, err)
		}
		return faultf(l.n, BadRow, "the line is longer than %d bytes", bufferSize)
	}
}

// parseNumber takes decimal numbers only: no hex, no infinity, no underscores.
func parseNumber(b []byte) (float64, error) {
	if len(b) == 0 {
		return 0, errors.New("a coordinate is missing")
	}
	for _, c := range b {
		if (c < '0' || c > '9') && c != '.' && c != '-' && c != '+' && c != 'e' && c != 'E' {
			return 0, fmt.Errorf("%q is not a number", b)
		}
	}
	v, err := strconv.ParseFloat(string(b), 64)
	if err != nil || math.IsInf(v, 0) {
		return 0, fmt.Errorf("%q is not a number", b)
	}
	return v, nil
}

// timeForms are the ways to write a time; where the zone is missing, UTC is meant.
var timeForms = []string{"2006-01-02T15:04:05", "2006-01-02 15:04:05", time.RFC3339, "2006-01-02 15:04:05Z07:00"}

// parseTime reads RFC 3339, the same without a zone as UTC, with a space for the T,
// or unix seconds or milliseconds; the result is unix milliseconds.
func parseTime(b []byte) (int64, error) {
	if len(b) == 0 {
		return 0, errors.New("the time is missing")
	}
	s := string(b)
	for _, form := range timeForms {
		if len(s) < len("2006-01-02T15:04:05") {
			break
		}
		if t, err := time.Parse(form, s); err == nil {
			return t.UnixMilli(), nil
		}
	}
	if n, err := strconv.ParseInt(s, 10, 64); err == nil && n >= 0 {
		if n <= newestSecond {
			return n * 1000, nil
		}
		return n, nil
	}
	return 0, fmt.Errorf("%.40q is not a time", b)
}

func firstLine(err error) string {
	s, _, _ := strings.Cut(err.Error(), "\n")
	return s
}
