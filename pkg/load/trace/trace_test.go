package trace

import (
	"bytes"
	"compress/gzip"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"tracker/pkg/geo"
)

func readAll(t testing.TB, r io.Reader) (*Reader, []Row, []Rejection, error) {
	t.Helper()
	rd, err := NewReader(r)
	if err != nil {
		return nil, nil, nil, err
	}
	var bad []Rejection
	rd.OnReject = func(x Rejection) { bad = append(bad, x) }
	var rows []Row
	for {
		row, err := rd.Next()
		if errors.Is(err, io.EOF) {
			return rd, rows, bad, nil
		}
		if err != nil {
			return rd, rows, bad, err
		}
		rows = append(rows, row)
	}
}

// show prints a row shortly, unknowns as "-".
func show(r *Reader, row Row) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s %v", r.Vehicles()[row.Vehicle], row.When().Format("2006-01-02T15:04:05.000"), row.At)
	for _, v := range []float32{row.Alt, row.Speed, row.Course, row.Accuracy, row.Battery} {
		if Known(v) {
			b.WriteString(" " + strconv.FormatFloat(float64(v), 'f', 2, 32))
		} else {
			b.WriteString(" -")
		}
	}
	return b.String()
}

func TestReaderUnderstandsEveryLayout(t *testing.T) {
	for _, tc := range []struct{ name, in, format, want string }{
		{"ships", "MMSI,BaseDateTime,LAT,LON,SOG,COG,Heading,VesselName\n338,2022-01-03T00:00:05,33.60716,-117.91483,10.0,280.5,511,A\n",
			"ais", "338 2022-01-03T00:00:05.000 33.60716,-117.91483 - 5.14 280.50 - -"},
		{"a ship that does not know speed or course", "MMSI,BaseDateTime,LAT,LON,SOG,COG,Heading\n338,2022-01-03T00:00:05,1,2,102.3,360.0,511\n",
			"ais", "338 2022-01-03T00:00:05.000 1.00000,2.00000 - - - - -"},
		{"a ship that only knows where it points", "MMSI,BaseDateTime,LAT,LON,SOG,COG,Heading\n338,2022-01-03T00:00:05,1,2,0.0,360.0,90\n",
			"ais", "338 2022-01-03T00:00:05.000 1.00000,2.00000 - 0.00 90.00 - -"},
		{"buses with a time zone", "vehicle_id,timestamp,speed,route_id,trip_id,latitude,longitude,trip_headsign\n2619,2017-03-21T00:00:31-05:00,17.43456,1,17,30.19826,-97.77679,1-Metric/South\n",
			"transit", "2619 2017-03-21T05:00:31.000 30.19826,-97.77679 - 17.43 - - -"},
		{"buses with quotes and an empty bearing", "\"id\",\"vehicle_id\",\"timestamp\",\"latitude\",\"longitude\",\"bearing\"\n1,\"4716\",\"2026-01-26 15:57:02\",53.44451,-2.925173,\n",
			"transit", "4716 2026-01-26T15:57:02.000 53.44451,-2.92517 - - - - -"},
		{"plain columns in any order and case", "Lon,LAT,Time,Device,battery_pct,Alt_m\r\n11.5,48.1,1700000000,van,80,520\r\n",
			"csv", "van 2023-11-14T22:13:20.000 48.10000,11.50000 520.00 - - - 80.00"},
		{"a history export, by name", "device,name,time,lat,lon,speed_mps,course_deg\n0123456789ab,\"van, \"\"red\"\"\",2026-01-02T03:04:05.678Z,48,11,3.5,360\n",
			"csv", "van, \"red\" 2026-01-02T03:04:05.678 48.00000,11.00000 - 3.50 0.00 - -"},
		{"unix milliseconds", "device,time,lat,lon\nvan,1700000000123,48,11\n",
			"csv", "van 2023-11-14T22:13:20.123 48.00000,11.00000 - - - - -"},
		{"a byte order mark", "\ufeffdevice,time,lat,lon\nvan,1700000000,48,11\n",
			"csv", "van 2023-11-14T22:13:20.000 48.00000,11.00000 - - - - -"},
		{"JSON lines", `{"device":"0123456789ab","name":"van","time":"2026-01-02T03:04:05.678Z","lat":48,"lon":11,"speed_mps":3,"course_deg":90,"accuracy_m":4,"battery_pct":7}` + "\n",
			"jsonl", "van 2026-01-02T03:04:05.678 48.00000,11.00000 - 3.00 90.00 4.00 7.00"},
		{"GPX", `<?xml version="1.0"?><gpx><metadata><name>no</name></metadata><trk><name>van</name><trkseg><trkpt lat="48" lon="11"><ele>520</ele><time>2026-01-02T03:04:05Z</time><extensions><speed>3</speed><course>90</course></extensions></trkpt></trkseg></trk></gpx>`,
			"gpx", "van 2026-01-02T03:04:05.000 48.00000,11.00000 520.00 3.00 90.00 - -"},
		{"GPX without a name", `<gpx><trk><trkseg><trkpt lat="48" lon="11"><time>2026-01-02T03:04:05Z</time></trkpt></trkseg></trk></gpx>`,
			"gpx", "track-1 2026-01-02T03:04:05.000 48.00000,11.00000 - - - - -"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			for _, in := range []io.Reader{strings.NewReader(tc.in), bytes.NewReader(zipped(tc.in))} {
				rd, rows, bad, err := readAll(t, in)
				if err != nil || len(rows) != 1 || len(bad) != 0 {
					t.Fatalf("got %v %v %v, want one row", rows, bad, err)
				}
				if got := show(rd, rows[0]); got != tc.want || rd.Format() != tc.format {
					t.Errorf("got  %s %s\nwant %s %s", rd.Format(), got, tc.format, tc.want)
				}
			}
		})
	}
}

func zipped(s string) []byte {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	_, _ = io.WriteString(z, s)
	_ = z.Close()
	return b.Bytes()
}

func TestReaderCountsWhatItRejects(t *testing.T) {
	const head = "device,time,lat,lon\nvan,2020-01-01T00:00:00Z,1,1\n"
	for _, tc := range []struct {
		name, row string
		reason    Reason
		detail    string
	}{
		{"too few columns", "van,2020-01-01T00:00:01Z,1", BadRow, "3 columns where the header has 4"},
		{"too many columns", "van,2020-01-01T00:00:01Z,1,1,1", BadRow, "5 columns"},
		{"a lost quote", `"van,2020-01-01T00:00:01Z,1,1`, BadRow, "does not end in a quote"},
		{"text behind a quote", `"van"x,2020-01-01T00:00:01Z,1,1`, BadRow, "does not end in a quote"},
		{"a quote inside", `va"n,2020-01-01T00:00:01Z,1,1`, BadRow, "inside an unquoted field"},
		{"no device", ",2020-01-01T00:00:01Z,1,1", BadRow, "names no device"},
		{"a control character", "v\x01n,2020-01-01T00:00:01Z,1,1", BadRow, "not plain text"},
		{"bytes that are no text", "v\xffn,2020-01-01T00:00:01Z,1,1", BadRow, "not plain text"},
		{"an endless name", strings.Repeat("v", 129) + ",2020-01-01T00:00:01Z,1,1", BadRow, "129 bytes"},
		{"an endless line", "van," + strings.Repeat(" ", 70<<10) + ",1,1", BadRow, "longer than"},
		{"no time", "van,,1,1", BadTime, "missing"},
		{"no such time", "van,2020-02-30T00:00:01Z,1,1", BadTime, "not a time"},
		{"before 1970", "van,1969-12-31T23:59:59Z,1,1", BadTime, "1970"},
		{"after 2106", "van,2106-02-07T06:28:16Z,1,1", BadTime, "2106"},
		{"no place", "van,2020-01-01T00:00:01Z,,1", BadPosition, "missing"},
		{"not a number", "van,2020-01-01T00:00:01Z,1,x", BadPosition, `"x" is not a number`},
		{"infinity", "van,2020-01-01T00:00:01Z,1,Inf", BadPosition, "not a number"},
		{"hexadecimal", "van,2020-01-01T00:00:01Z,1,0x1p3", BadPosition, "not a number"},
		{"null island", "van,2020-01-01T00:00:01Z,0.0,-0.0", BadPosition, "0,0"},
		{"beyond the pole", "van,2020-01-01T00:00:01Z,90.1,1", OutOfRange, "not on the globe"},
		{"beyond the date line", "van,2020-01-01T00:00:01Z,1,-180.0001", OutOfRange, "not on the globe"},
		{"the same again", "van,2020-01-01T00:00:00.000Z,1.00000001,1", Duplicate, "already there"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			in := head + tc.row + "\n\nvan,2020-01-01T00:00:02Z,1,1\n"
			rd, rows, bad, err := readAll(t, strings.NewReader(in))
			if err != nil || len(rows) != 2 || len(bad) != 1 {
				t.Fatalf("got %d rows, %v, %v; want the rows around it", len(rows), bad, err)
			}
			if bad[0].Line != 3 || bad[0].Reason != tc.reason || !strings.Contains(bad[0].Detail, tc.detail) {
				t.Errorf("got %v, want line 3: %v: …%s…", bad[0], tc.reason, tc.detail)
			}
			want := Counts{Rows: 3, Accepted: 2}
			want.Rejected[tc.reason] = 1
			if rd.Counts() != want {
				t.Errorf("got %+v, want %+v", rd.Counts(), want)
			}
		})
	}
}

func TestReaderKeepsPlaceWhenAMeasurementIsBad(t *testing.T) {
	in := "device,time,lat,lon,speed_mps,course_deg,battery_pct\nvan,1700000000,48,11,fast,361,-3\n"
	rd, rows, _, err := readAll(t, strings.NewReader(in))
	if err != nil || len(rows) != 1 {
		t.Fatal(rows, err)
	}
	if got, want := show(rd, rows[0]), "van 2023-11-14T22:13:20.000 48.00000,11.00000 - - - - -"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestReaderRefusesTheFuture(t *testing.T) {
	rd, err := NewReader(strings.NewReader("device,time,lat,lon\nvan,1700000001,1,1\nvan,1700000000,1,1\n"))
	if err != nil {
		t.Fatal(err)
	}
	rd.Newest = 1700000000_000
	row, err := rd.Next()
	if err != nil || row.Line != 3 || rd.Counts().Rejected[InFuture] != 1 {
		t.Errorf("got %+v %v %+v, want only line 3", row, err, rd.Counts())
	}
}

func TestReaderNamesABrokenFile(t *testing.T) {
	torn := zipped("device,time,lat,lon\nvan,1700000000,1,1\n")
	for _, tc := range []struct{ name, in, want string }{
		{"empty", "", "the file is empty"},
		{"blank", "\n \n", "the file is empty"},
		{"another table", "a,b,c\n1,2,3\n", "no columns for device, time and place"},
		{"no place", "device,time,lat\n", "no columns for device, time and place"},
		{"another XML", "<html></html>", "not <gpx>"},
		{"broken XML", `<gpx><trk></gpx>`, "read GPX"},
		{"torn gzip", string(torn[:len(torn)-9]), "unexpected EOF"},
		{"a header without an end", "x" + strings.Repeat("y", 70<<10), "longer than"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, _, _, err := readAll(t, strings.NewReader(tc.in))
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("got %v, want …%s…", err, tc.want)
			}
		})
	}
}

func TestLoadOrdersByTimeAndKeepsFileOrderWithin(t *testing.T) {
	in := "device,time,lat,lon\na,1700000003,1,1\nb,1700000001,2,2\na,1700000001,3,3\nb,1700000002,4,4\n"
	rec, err := Load(strings.NewReader(in), Options{})
	if err != nil {
		t.Fatal(err)
	}
	var got []int
	for _, r := range rec.Rows {
		got = append(got, r.Line)
	}
	if fmt.Sprint(got) != "[3 4 5 2]" || rec.Span() != 2*time.Second {
		t.Errorf("got lines %v over %v, want [3 4 5 2] over 2s", got, rec.Span())
	}
}

func TestLoadCompletesHalfAVelocity(t *testing.T) {
	for _, tc := range []struct{ name, in, want string }{
		{"course from movement", "device,time,lat,lon,speed_mps\nv,1700000000,0,1,5\nv,1700000010,0,2,5\nv,1700000020,0,2.00001,0\n", "5 - | 5 90 | 0 90"},
		{"speed from movement", "device,time,lat,lon,course_deg\nv,1700000000,0,1,90\nv,1700000010,0,1.001,90\n", "- 90 | 11.1 90"},
		{"not from a jump", "device,time,lat,lon,course_deg\nv,1700000000,0,1,90\nv,1700000010,0,2,90\n", "- 90 | - 90"},
		{"not over a long gap", "device,time,lat,lon,course_deg\nv,1700000000,0,1,90\nv,1700001000,0,1.001,90\n", "- 90 | - 90"},
		{"nothing from nothing", "device,time,lat,lon\nv,1700000000,0,1\nv,1700000010,0,2\n", "- - | - -"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			rec, err := Load(strings.NewReader(tc.in), Options{})
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, r := range rec.Rows {
				got = append(got, tenths(r.Speed)+" "+tenths(r.Course))
			}
			if s := strings.Join(got, " | "); s != tc.want {
				t.Errorf("got %s, want %s", s, tc.want)
			}
		})
	}
}

func tenths(v float32) string {
	if !Known(v) {
		return "-"
	}
	return strconv.FormatFloat(math.Round(float64(v)*10)/10, 'f', -1, 64)
}

// data is where the recordings lie beside a work tree; they are too big to ship.
func data(t testing.TB, name string) *os.File {
	t.Helper()
	dir := os.Getenv("TRACKER_DATA")
	if dir == "" {
		dir = filepath.Join("..", "..", "..", "..", "shared", "data")
	}
	f, err := os.Open(filepath.Join(dir, name))
	if err != nil {
		t.Skipf("the recording %s is not here: %v", name, err)
	}
	t.Cleanup(func() { _ = f.Close() })
	return f
}

func TestLoadAccountsForRealRecordings(t *testing.T) {
	for _, tc := range []struct {
		file, format string
		vehicles     int
		want         Counts
	}{
		{"ais-us-2022-01-03.csv.gz", "ais", 10631, Counts{99999, 99996, [NumReasons]int{Duplicate: 3}}},
		{"capmetro-2017-03-21.csv.gz", "transit", 329, Counts{45386, 45382, [NumReasons]int{BadPosition: 3, Duplicate: 1}}},
		{"liverpool-bus-route14.csv.gz", "transit", 8, Counts{1533, 1533, [NumReasons]int{}}},
	} {
		t.Run(tc.file, func(t *testing.T) {
			rec, err := Load(data(t, tc.file), Options{})
			if err != nil {
				t.Fatal(err)
			}
			if rec.Counts != tc.want || rec.Format != tc.format || len(rec.Vehicles) != tc.vehicles || len(rec.Rows) != tc.want.Accepted {
				t.Errorf("got %s %d vehicles %+v", rec.Format, len(rec.Vehicles), rec.Counts)
			}
			if rec.Counts.Accepted+rec.Counts.TotalRejected() != rec.Counts.Rows {
				t.Errorf("the sum is not the row count: %+v", rec.Counts)
			}
		})
	}
}

// FuzzReader holds that no bytes can make the sums miss, and that what was read can
// be written plainly and read back the same.
func FuzzReader(f *testing.F) {
	for _, s := range []string{
		"MMSI,BaseDateTime,LAT,LON,SOG,COG,Heading\n338,2022-01-03T00:00:05,33.6,-117.9,102.3,360.0,511\n",
		"vehicle_id,timestamp,speed,latitude,longitude\n1,2017-03-21T00:00:31-05:00,17.4,30.1,-97.7\n",
		"\"vehicle_id\",\"timestamp\",\"latitude\",\"longitude\",\"bearing\"\n\"1\",\"2026-01-26 15:57:02\",53.4,-2.9,\n",
		"device,time,lat,lon\n\"a\"\"b\",1700000000,0,0\n\"",
		`{"device":"a","time":"2026-01-02T03:04:05.678Z","lat":48,"lon":11,"speed_mps":1e39}`,
		`<gpx><trk><name>a</name><trkseg><trkpt lat="1" lon="2"><time>2026-01-02T03:04:05Z</time></trkpt></trkseg></trk></gpx>`,
		"\ufeff\n", "\x1f\x8b\x08",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		rd, rows, bad, err := readAll(t, bytes.NewReader(in))
		if rd == nil {
			return
		}
		if c := rd.Counts(); c.Accepted != len(rows) || c.TotalRejected() != len(bad) || c.Rows != len(rows)+len(bad) {
			t.Fatalf("%d rows, %d rejected, %+v", len(rows), len(bad), c)
		}
		if err != nil {
			return
		}
		again, back, bad, err := readAll(t, bytes.NewReader(plain(t, rd, rows)))
		if err != nil && len(rows) > 0 || len(bad) != 0 || len(back) != len(rows) {
			t.Fatalf("wrote %d rows, read %d back, %v, %v", len(rows), len(back), bad, err)
		}
		for i := range rows {
			if want, got := show(rd, rows[i]), show(again, back[i]); got != want {
				t.Fatalf("got  %s\nwant %s", got, want)
			}
		}
	})
}

func plain(t testing.TB, rd *Reader, rows []Row) []byte {
	t.Helper()
	var b bytes.Buffer
	w := csv.NewWriter(&b)
	_ = w.Write([]string{"device", "time", "lat", "lon", "alt_m", "speed_mps", "course_deg", "accuracy_m", "battery_pct"})
	num := func(v float64) string {
		if math.IsNaN(v) {
			return ""
		}
		return strconv.FormatFloat(v, 'g', -1, 64)
	}
	for _, r := range rows {
		_ = w.Write([]string{rd.Vehicles()[r.Vehicle], r.When().Format(time.RFC3339Nano), num(r.At.LatDeg()), num(r.At.LonDeg()),
			num(float64(r.Alt)), num(float64(r.Speed)), num(float64(r.Course)), num(float64(r.Accuracy)), num(float64(r.Battery))})
	}
	w.Flush()
	return b.Bytes()
}

func BenchmarkReader(b *testing.B) {
	var file bytes.Buffer
	file.WriteString("MMSI,BaseDateTime,LAT,LON,SOG,COG,Heading,VesselName,VesselType,Status,Length,TransceiverClass\n")
	const rows = 10_000
	for i := range rows {
		p := geo.Deg(30+float64(i)/rows, -90)
		fmt.Fprintf(&file, "3381488%02d,2022-01-03T00:%02d:%02d,%g,%g,12.3,280.0,511,CAZADOR,37,,14,B\n", i%100, i/60%60, i%60, p.LatDeg(), p.LonDeg())
	}
	b.ReportAllocs()
	b.SetBytes(int64(file.Len()))
	for b.Loop() {
		rd, err := NewReader(bytes.NewReader(file.Bytes()))
		for err == nil {
			_, err = rd.Next()
		}
		if !errors.Is(err, io.EOF) || rd.Counts().Accepted != rows {
			b.Fatal(rd.Counts(), err)
		}
	}
}
