// Package trace reads recordings of real vehicles as they are, dirt and all.
//
//	bytes ──gunzip?──► sniff ──► csv   AIS, transit or plain columns, told by the header
//	                        ├──► jsonl what watch and history write
//	                        └──► gpx   track points
//	                                │ one row at a time
//	                                ▼
//	                    check place, time, duplicate ──► Row, or a counted Rejection
//
// A Reader streams and trusts nothing. Every row of a file is either returned or
// counted under one Reason, so that the sums always meet: Rows = Accepted + all
// Rejected. A bad row is the row's fault and reading goes on; only a file that is
// broken as a whole (no known header, torn gzip, malformed XML) is an error.
//
// Load reads a whole file into a Recording that can be played: in order of time,
// whatever the order of the file.
package trace

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"math"
	"time"
	"unicode"
	"unicode/utf8"

	"tracker/pkg/geo"
)

// ErrFormat is the failure of a file that is no recording we know.
var ErrFormat = errors.New("not a recording we can read")

// Formats names what a Reader understands, for hints.
const Formats = "CSV with a header (AIS, GTFS-realtime vehicle positions, or device,time,lat,lon), JSON lines, or GPX; each may be gzipped"

// Reason says why a row was rejected.
type Reason uint8

// The reasons, in the order in which reports list them.
const (
	BadRow      Reason = iota // not a row: wrong number of columns, broken quotes, no device
	BadTime                   // no time, not a time, or before 1970 or after 2106
	BadPosition               // no position, not a number, or exactly 0,0
	OutOfRange                // latitude or longitude not on the globe
	InFuture                  // recorded after the newest time that the reader was told to take
	Duplicate                 // same device, time and place as an earlier row
	NumReasons
)

var reasonNames = [NumReasons]string{"bad_row", "bad_time", "bad_position", "out_of_range", "in_future", "duplicate"}

func (r Reason) String() string {
	if r < NumReasons {
		return reasonNames[r]
	}
	return fmt.Sprintf("reason_%d", r)
}

// Unknown is the value of a measurement that a row does not have.
var Unknown = float32(math.NaN())

// Known tells whether a measurement was in the row.
func Known(v float32) bool { return v == v }

// Row is one recorded report.
type Row struct {
	Vehicle  int       // index into Reader.Vehicles
	Line     int       // where in the file, the first line is 1
	Time     int64     // unix milliseconds
	At       geo.Point // on the globe
	Alt      float32   // metres
	Speed    float32   // metres a second, not negative
	Course   float32   // degrees, 0 <= course < 360
	Accuracy float32   // metres
	Battery  float32   // percent
}

// When is the time of the row, in UTC.
func (r *Row) When() time.Time { return time.UnixMilli(r.Time).UTC() }

// Rejection is a row that was not taken.
type Rejection struct {
	Line   int
	Reason Reason
	Detail string
}

func (r Rejection) String() string { return fmt.Sprintf("line %d: %v: %s", r.Line, r.Reason, r.Detail) }

// Counts accounts for every row of a file.
type Counts struct {
	Rows     int
	Accepted int
	Rejected [NumReasons]int
}

// TotalRejected is the number of rows that were not taken.
func (c Counts) TotalRejected() int {
	n := 0
	for _, r := range c.Rejected {
		n += r
	}
	return n
}

// Reader reads one recording. Set the fields before the first Next.
type Reader struct {
	// Newest, in unix milliseconds, is the latest time to take; 0 takes all.
	Newest int64
	// OnReject, if set, sees every rejection as it happens.
	OnReject func(Rejection)

	format   string
	src      source
	counts   Counts
	vehicles []string
	index    map[string]int
	seen     map[sighting]struct{}
}

// sighting is what makes two rows the same report.
type sighting struct {
	vehicle int
	time    int64
	at      geo.Point
}

// record is a row on its way from a source to the common checks: what the file said,
// and whether it said it at all. Device is only valid until the next record.
type record struct {
	line     int
	device   []byte
	time     int64
	lat, lon float64
	alt      float32
	speed    float32
	course   float32
	accuracy float32
	battery  float32
}

func blank(line int) record {
	return record{line: line, alt: Unknown, speed: Unknown, course: Unknown, accuracy: Unknown, battery: Unknown}
}

// source is one file format. A *fault is about this row only; any other error ends
// the file, io.EOF when it ended well.
type source interface {
	next() (record, error)
}

// fault is how a source rejects a row.
type fault Rejection

func (f *fault) Error() string { return Rejection(*f).String() }

func faultf(line int, why Reason, format string, args ...any) error {
	return &fault{line, why, fmt.Sprintf(format, args...)}
}

const bufferSize = 64 << 10 // also the longest line that can be a row

// NewReader looks at the first bytes of r and makes a reader for what they are. It
// reads ahead; r is the reader's until the end.
func NewReader(r io.Reader) (*Reader, error) {
	br := bufio.NewReaderSize(r, bufferSize)
	if magic, _ := br.Peek(2); bytes.Equal(magic, []byte{0x1f, 0x8b}) {
		z, err := gzip.NewReader(br)
		if err != nil {
			return nil, fmt.Errorf("gunzip: %w", err)
		}
		br = bufio.NewReaderSize(z, bufferSize)
	}
	src, format, err := sniff(br)
	if err != nil {
		return nil, err
	}
	return &Reader{format: format, src: src, index: map[string]int{}, seen: map[sighting]struct{}{}}, nil
}

func sniff(br *bufio.Reader) (source, string, error) {
	if bom, _ := br.Peek(3); bytes.Equal(bom, []byte("\ufeff")) {
		_, _ = br.Discard(3)
	}
	head, err := br.Peek(512)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, "", fmt.Errorf("read: %w", err)
	}
	switch text := bytes.TrimLeft(head, " \t\r\n"); {
	case len(text) == 0:
		return nil, "", fmt.Errorf("the file is empty: %w", ErrFormat)
	case text[0] == '<':
		return newGPX(br), "gpx", nil
	case text[0] == '{':
		return &jsonl{lines: lines{r: br}}, "jsonl", nil
	}
	return newCSV(br)
}

// Format is what the file turned out to be: ais, transit, csv, jsonl or gpx.
func (r *Reader) Format() string { return r.format }

// Counts accounts for the rows read so far.
func (r *Reader) Counts() Counts { return r.counts }

// Vehicles are the names of the devices seen so far, in order of appearance. The
// slice is the reader's own.
func (r *Reader) Vehicles() []string { return r.vehicles }

// Next returns the next good row, or io.EOF. Rows that it passes over are in Counts.
func (r *Reader) Next() (Row, error) {
	for {
		rec, err := r.src.next()
		if bad := (*fault)(nil); errors.As(err, &bad) {
			r.reject(bad)
			continue
		}
		if err != nil {
			return Row{}, err
		}
		row, err := r.admit(&rec)
		if bad := (*fault)(nil); errors.As(err, &bad) {
			r.reject(bad)
			continue
		}
		r.counts.Rows++
		r.counts.Accepted++
		return row, nil
	}
}

func (r *Reader) reject(f *fault) {
	r.counts.Rows++
	r.counts.Rejected[f.Reason]++
	if r.OnReject != nil {
		r.OnReject(Rejection(*f))
	}
}

const newestSecond = math.MaxUint32 // a datagram's clock ends in 2106

// admit holds a record against everything that all formats have in common.
func (r *Reader) admit(rec *record) (Row, error) {
	if err := checkName(rec); err != nil {
		return Row{}, err
	}
	if rec.time < 0 || rec.time/1000 > newestSecond {
		return Row{}, faultf(rec.line, BadTime, "%d ms is not between 1970 and 2106", rec.time)
	}
	if rec.lat < -90 || rec.lat > 90 || rec.lon < -180 || rec.lon > 180 {
		return Row{}, faultf(rec.line, OutOfRange, "%g,%g is not on the globe", rec.lat, rec.lon)
	}
	at := geo.Deg(rec.lat, rec.lon)
	if at == (geo.Point{}) {
		return Row{}, faultf(rec.line, BadPosition, "0,0 is what a receiver without a fix says")
	}
	if r.Newest != 0 && rec.time > r.Newest {
		return Row{}, faultf(rec.line, InFuture, "%s is still to come", time.UnixMilli(rec.time).UTC().Format(time.RFC3339))
	}
	s := sighting{r.vehicle(rec.device), rec.time, at}
	if _, ok := r.seen[s]; ok {
		return Row{}, faultf(rec.line, Duplicate, "%s was already there at that time", rec.device)
	}
	r.seen[s] = struct{}{}
	return Row{
		Vehicle: s.vehicle, Line: rec.line, Time: rec.time, At: at,
		Alt:      within(rec.alt, math.MinInt16, math.MaxInt16),
		Speed:    within(rec.speed, 0, math.MaxFloat32),
		Course:   course(rec.course),
		Accuracy: within(rec.accuracy, 0, math.MaxFloat32),
		Battery:  within(rec.battery, 0, 100),
	}, nil
}

// maxName is how long a device's name may be on a server, in bytes.
const maxName = 128

// checkName trims the name and wants printable text, since it becomes a device's name.
func checkName(rec *record) error {
	rec.device = bytes.TrimSpace(rec.device)
	switch name := rec.device; {
	case len(name) == 0:
		return faultf(rec.line, BadRow, "the row names no device")
	case len(name) > maxName:
		return faultf(rec.line, BadRow, "the device name has %d bytes, at most %d are allowed", len(name), maxName)
	case !utf8.Valid(name) || bytes.ContainsFunc(name, func(c rune) bool { return !unicode.IsPrint(c) }):
		return faultf(rec.line, BadRow, "the device name %q is not plain text", name)
	}
	return nil
}

// vehicle gives a name its index; only a new name costs an allocation.
func (r *Reader) vehicle(name []byte) int {
	if i, ok := r.index[string(name)]; ok {
		return i
	}
	i := len(r.vehicles)
	r.vehicles = append(r.vehicles, string(name))
	r.index[r.vehicles[i]] = i
	return i
}

// within makes a measurement outside of its range unknown: the place is still good.
func within(v, low, high float32) float32 {
	if v >= low && v <= high {
		return v
	}
	return Unknown
}

// course brings 360 to 0; what is further outside is unknown.
func course(v float32) float32 {
	if v == 360 {
		return 0
	}
	if v >= 0 && v < 360 {
		return v
	}
	return Unknown
}
