//go:build unix

package main

import (
	"bytes"
	"cmp"
	"compress/gzip"
	"encoding/csv"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"tracker/cmd/internal/clitest"
	"tracker/pkg/client"
	"tracker/pkg/geo"
	"tracker/pkg/track"
)

// TestRecordingsEndUpInHistoryOnce replays the real buses and ships whole, and then
// asks the server what the files say, read here in another and simpler way.
func TestRecordingsEndUpInHistoryOnce(t *testing.T) {
	if testing.Short() {
		t.Skip("a minute of real buses and ships")
	}
	t.Parallel()
	d, conn := startDaemon(t)
	for _, tc := range []struct {
		file           string
		args           []string
		device, when   string // columns
		lat, lon, form string
		rows           int
	}{
		{"capmetro-2017-03-21.csv.gz", []string{"--speed", "3600"}, "vehicle_id", "timestamp", "latitude", "longitude", time.RFC3339, 45386},
		{"ais-us-2022-01-03.csv.gz", []string{"--speed", "400", "--max-gap", "1s"}, "MMSI", "BaseDateTime", "LAT", "LON", "2006-01-02T15:04:05", 99999},
	} {
		t.Run(tc.file, func(t *testing.T) {
			path := filepath.Join(clitest.Recordings(), tc.file)
			table := readTable(t, path)
			if len(table)-1 != tc.rows {
				t.Fatalf("the file has %d rows, want %d", len(table)-1, tc.rows)
			}
			out := replayed{}
			playInto(t, d, append([]string{"replay", path, "--json"}, tc.args...), &out)
			want, rejected := distinct(t, table, tc.device, tc.when, tc.lat, tc.lon, tc.form)
			if out.Stored != len(want) || out.Rows.Rows != tc.rows || out.Rows.Accepted+rejected != tc.rows {
				t.Errorf("replay says %+v, the file has %d distinct fixes and %d others", out, len(want), rejected)
			}
			compareHistory(t, conn, want)
		})
	}
	t.Run("near and boxes", func(t *testing.T) { compareAreas(t, conn) })
}

// playInto runs trackctl and reads its JSON.
func playInto(t *testing.T, d *clitest.Daemon, args []string, out *replayed) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := &exec.Cmd{Path: self, Args: append([]string{"trackctl"}, args...), Env: []string{
		"HOME=" + t.TempDir(), "TRACK_SERVER=" + d.TCP, "TRACK_TOKEN_FILE=" + filepath.Join(d.Data, "admin.token"),
	}}
	var log bytes.Buffer
	cmd.Stderr = &log
	b, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v: %v\n%s%s", args, err, b, log.Bytes())
	}
	var doc struct {
		Rows, Accepted, Stored, Missing, Twice int
		Rejected                               map[string]int
	}
	if err := json.Unmarshal(b, &doc); err != nil {
		t.Fatal(err)
	}
	sum := doc.Accepted
	for _, n := range doc.Rejected {
		sum += n
	}
	if sum != doc.Rows || doc.Missing != 0 || doc.Twice != 0 {
		t.Errorf("%s", b)
	}
	out.Rows.Rows, out.Rows.Accepted, out.Stored = doc.Rows, doc.Accepted, doc.Stored
}

func readTable(t *testing.T, path string) [][]string {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Skipf("the recording is not here: %v", err)
	}
	defer func() { _ = f.Close() }()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	table, err := csv.NewReader(z).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	return table
}

// fixKey is one fix of one device by its name.
type fixKey struct {
	device string
	time   int64
	at     geo.Point
}

// distinct reads a table the plain way: what is at 0,0 or was there before is none.
func distinct(t *testing.T, table [][]string, device, when, lat, lon, form string) (want map[fixKey]bool, rejected int) {
	t.Helper()
	col := func(name string) int { return slices.Index(table[0], name) }
	want = map[fixKey]bool{}
	for _, row := range table[1:] {
		at, err := time.Parse(form, row[col(when)])
		if err != nil {
			t.Fatal(err)
		}
		p, err := geo.ParsePoint(row[col(lat)] + "," + row[col(lon)])
		if err != nil {
			t.Fatal(err)
		}
		key := fixKey{row[col(device)], at.UnixMilli(), p}
		if p == (geo.Point{}) || want[key] {
			rejected++
			continue
		}
		want[key] = true
	}
	return want, rejected
}

// compareHistory holds that the server has exactly these fixes of these devices.
func compareHistory(t *testing.T, conn *client.Conn, want map[fixKey]bool) {
	t.Helper()
	devices := map[string]bool{}
	for k := range want {
		devices[k.device] = true
	}
	found := map[fixKey]int{}
	for name := range devices {
		for f, err := range conn.History(t.Context(), client.HistoryQuery{Device: name}) {
			if err != nil {
				t.Fatal(err)
			}
			found[fixKey{name, f.Time.UnixMilli(), f.At}]++
		}
	}
	for k, n := range found {
		if !want[k] || n != 1 {
			t.Errorf("%+v is %d times in history, in the file: %v", k, n, want[k])
		}
	}
	if len(found) != len(want) {
		t.Errorf("history has %d fixes, the file %d", len(found), len(want))
	}
}

// compareAreas holds near and boxes against a look at every position.
func compareAreas(t *testing.T, conn *client.Conn) {
	t.Helper()
	var all []client.Fix
	for f, err := range conn.Positions(t.Context(), client.Area{}) {
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, f)
	}
	if len(all) < 10_000 {
		t.Skipf("only %d positions: the recordings are not here", len(all))
	}
	for _, p := range []geo.Point{geo.Deg(30.27, -97.74), geo.Deg(29.95, -90.06), geo.Deg(47.6, -122.4), geo.Deg(21.3, -157.9), geo.Deg(0, 0)} {
		for _, within := range []geo.Meters{500, 20_000, 400_000} {
			compareNear(t, conn, all, p, within)
		}
	}
	for _, s := range []string{"29,-98,31,-97", "25,-98,31,-80", "20,-160,23,-150", "-90,170,90,-120", "7,-180,50,180"} {
		compareBox(t, conn, all, s)
	}
}

func compareNear(t *testing.T, conn *client.Conn, all []client.Fix, p geo.Point, within geo.Meters) {
	t.Helper()
	const limit = 1000
	type hit struct {
		distance geo.Meters
		device   track.DeviceID
	}
	var want []hit
	for i := range all {
		if d := geo.Distance(p, all[i].At); d <= within {
			want = append(want, hit{d, all[i].Device})
		}
	}
	slices.SortFunc(want, func(a, b hit) int {
		return cmp.Or(cmp.Compare(a.distance, b.distance), cmp.Compare(a.device, b.device))
	})
	want = want[:min(limit, len(want))]
	hits, err := conn.Near(t.Context(), p, within, limit)
	if err != nil {
		t.Fatal(err)
	}
	if len(hits) != len(want) {
		t.Errorf("near %v within %v: %d devices, want %d", p, within, len(hits), len(want))
		return
	}
	for i := range hits { // those at one distance may come in any order
		if d := float64(hits[i].Distance - want[i].distance); d > 0.1 || d < -0.1 {
			t.Errorf("near %v within %v: hit %d is at %v, want %v", p, within, i, hits[i].Distance, want[i].distance)
			return
		}
	}
}

func compareBox(t *testing.T, conn *client.Conn, all []client.Fix, s string) {
	t.Helper()
	box, err := geo.ParseBox(s)
	if err != nil {
		t.Fatal(err)
	}
	want := map[track.DeviceID]bool{}
	for i := range all {
		if box.Contains(all[i].At) {
			want[all[i].Device] = true
		}
	}
	w, err := conn.Watch(t.Context(), client.Area{Box: &box})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	got := map[track.DeviceID]bool{}
	for {
		e, err := w.Next()
		if err != nil {
			t.Fatal(err)
		}
		for i := range e.Fixes {
			got[e.Fixes[i].Device] = true
		}
		if e.Kind == client.Snapshot && !e.More {
			break
		}
	}
	for id := range got {
		if !want[id] {
			t.Errorf("box %s: %v is not in it", s, id)
		}
	}
	if len(got) != len(want) {
		t.Errorf("box %s: %d devices, want %d", s, len(got), len(want))
	}
}
