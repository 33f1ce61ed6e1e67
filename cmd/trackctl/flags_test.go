package main

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"tracker/pkg/client"
	"tracker/pkg/geo"
	"tracker/pkg/load/trace"
	"tracker/pkg/track"
)

func TestParseWhen(t *testing.T) {
	now := time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC)
	for in, want := range map[string]string{
		"2026-01-02T15:04:05Z":      "2026-01-02T15:04:05Z",
		"2026-01-02T15:04:05+02:00": "2026-01-02T13:04:05Z",
		"2026-01-02T15:04:05.25Z":   "2026-01-02T15:04:05.25Z",
		"2026-01-02T15:04":          "2026-01-02T15:04:00Z",
		"2026-01-02":                "2026-01-02T00:00:00Z",
		"now":                       "2026-03-04T05:06:07Z",
		"-2h":                       "2026-03-04T03:06:07Z",
		"-1h30m":                    "2026-03-04T03:36:07Z",
		"-3d":                       "2026-03-01T05:06:07Z",
		"+1d":                       "2026-03-05T05:06:07Z",
		"-0.5d":                     "2026-03-03T17:06:07Z",
	} {
		got, err := parseWhen("--from", in, now)
		if err != nil || got.UTC().Format(time.RFC3339Nano) != want {
			t.Errorf("%s: got %v %v, want %s", in, got, err, want)
		}
	}
	for _, in := range []string{"yesterday", "2h", "2026-13-01", "-", "-d", "12:00", "-1e9d"} {
		if _, err := parseWhen("--from", in, now); exitCode(err) != exitUsage || !strings.Contains(err.Error(), "--from") {
			t.Errorf("%s: got %v", in, err)
		}
	}
	if got, err := parseWhen("--from", "", now); err != nil || !got.IsZero() {
		t.Errorf("nothing is %v, %v", got, err)
	}
}

func TestParseDistance(t *testing.T) {
	for in, want := range map[string]geo.Meters{"500m": 500, "5km": 5000, "2.5 km": 2500, "1mi": 1609.344, "3nmi": 5556} {
		if got, err := parseDistance(in); err != nil || got != want {
			t.Errorf("%s: got %v %v, want %v", in, got, err, want)
		}
	}
	for _, in := range []string{"", "5", "km", "-1km", "0m", "NaNkm", "1e9km", "5 parsecs"} {
		if _, err := parseDistance(in); exitCode(err) != exitUsage {
			t.Errorf("%s: got %v", in, err)
		}
	}
}

func TestPlacesOnTheSouthernHalfAreNoFlags(t *testing.T) {
	for in, want := range map[string]string{
		"near -33.8,151.2":                "near -- -33.8,151.2",
		"near -33.8,151.2 --limit 3":      "near --limit 3 -- -33.8,151.2",
		"--server x near --json -33.8,-1": "--server x near --json -- -33.8,-1",
		"near -- -33.8,151.2":             "near -- -33.8,151.2",
		"near 33.8,-151.2":                "near 33.8,-151.2",
		"watch --bbox -1,2,3,4":           "watch --bbox -1,2,3,4",
		"near -x":                         "near -x",
	} {
		args := strings.Fields(in)
		before := slices.Clone(args)
		if got := strings.Join(placeLast(args), " "); got != want || !slices.Equal(args, before) {
			t.Errorf("%s: got %s, want %s", in, got, want)
		}
	}
}

func TestReportMakesAFix(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 678e6, time.UTC)
	n := func(v float64) *float64 { return &v }
	for _, tc := range []struct {
		name string
		r    report
		want track.Fix
		err  string
	}{
		{"nothing is a heartbeat", report{}, track.Fix{Time: now.UnixMilli()}, ""},
		{"everything", report{Time: "2026-01-01", Lat: n(-33.8), Lon: n(151.2), Alt: n(-3.4), Speed: n(5.555), Course: n(359.999), Accuracy: n(0), Battery: n(99.6), Power: true, Event: "sos"},
			track.Fix{Time: 1767225600000, At: geo.Deg(-33.8, 151.2), Alt: -3, Speed: 556, Course: 0, Bat: 100 | 0x80,
				Has: track.HasPos | track.HasAlt | track.HasVel | track.HasAcc | track.HasBat, Event: track.EventSOS}, ""},
		{"power without a charge", report{Power: true}, track.Fix{Time: now.UnixMilli(), Bat: 127 | 0x80, Has: track.HasBat}, ""},
		{"speed is saturated", report{Speed: n(1e6), Course: n(0)}, track.Fix{Time: now.UnixMilli(), Speed: 65535, Has: track.HasVel}, ""},
		{"half a place", report{Lat: n(1)}, track.Fix{}, "go together"},
		{"half a velocity", report{Course: n(1)}, track.Fix{}, "go together"},
		{"beyond the pole", report{Lat: n(90.5), Lon: n(0)}, track.Fix{}, "not on the globe"},
		{"too fast backwards", report{Speed: n(-1), Course: n(0)}, track.Fix{}, "speed -1"},
		{"more than full", report{Battery: n(101)}, track.Fix{}, "battery 101"},
		{"before 1970", report{Time: "1969-12-31"}, track.Fix{}, "1970"},
		{"no such event", report{Event: "boredom"}, track.Fix{}, "boredom"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got, err := tc.r.fix(now)
			if tc.err != "" {
				if err == nil || !strings.Contains(err.Error(), tc.err) {
					t.Errorf("got %v, want …%s…", err, tc.err)
				}
				return
			}
			if err != nil || got != tc.want {
				t.Errorf("got  %+v %v\nwant %+v", got, err, tc.want)
			}
		})
	}
}

func TestRowsBecomeFixes(t *testing.T) {
	u := trace.Unknown
	for _, tc := range []struct {
		row  trace.Row
		want track.Fix
	}{
		{trace.Row{Time: 7, At: geo.Deg(1, 2), Alt: u, Speed: u, Course: u, Accuracy: u, Battery: u},
			track.Fix{Time: 7, At: geo.Deg(1, 2), Has: track.HasPos}},
		{trace.Row{At: geo.Deg(1, 2), Alt: 10.6, Speed: 1.234, Course: 359.999, Accuracy: 0, Battery: 50},
			track.Fix{At: geo.Deg(1, 2), Alt: 11, Speed: 123, Course: 0, Bat: 50, Has: track.HasPos | track.HasAlt | track.HasVel | track.HasAcc | track.HasBat}},
		{trace.Row{At: geo.Deg(1, 2), Alt: u, Speed: 3, Course: u, Accuracy: u, Battery: u}, // half a velocity is none
			track.Fix{At: geo.Deg(1, 2), Has: track.HasPos}},
	} {
		if got := fixOf(&tc.row); got != tc.want {
			t.Errorf("got  %+v\nwant %+v", got, tc.want)
		}
	}
}

func TestErrorsHaveTheirCodeAndTheNextStep(t *testing.T) {
	for _, tc := range []struct {
		err  error
		code int
		hint string
	}{
		{usagef("x"), exitUsage, ""},
		{fmt.Errorf("x: %w", client.ErrUnreachable), exitUnreachable, "is trackerd running there"},
		{fmt.Errorf("x: %w", client.ErrUntrusted), exitUnreachable, "known servers"},
		{&client.Error{Code: "unauthenticated"}, exitDenied, "admin.token"},
		{&client.Error{Code: "denied"}, exitDenied, "role admin"},
		{&client.Error{Code: "denied", Hint: "the server's"}, exitDenied, "the server's"},
		{hint(&client.Error{Code: "denied", Hint: "the server's"}, "our own"), exitDenied, "our own"},
		{&client.Error{Code: "not_found"}, exitFailed, "device list"},
		{&client.Error{Code: "rate_limited"}, exitFailed, "try again"},
		{fmt.Errorf("f: %w", trace.ErrFormat), exitFailed, "readable are"},
		{errors.New("x"), exitFailed, ""},
	} {
		var b strings.Builder
		code := explain(&b, tc.err)
		if code != tc.code || !strings.HasPrefix(b.String(), "trackctl: ") {
			t.Errorf("%v: code %d, want %d: %s", tc.err, code, tc.code, b.String())
		}
		if got := hintFor(tc.err); !strings.Contains(got, tc.hint) || tc.hint == "" && got != "" {
			t.Errorf("%v: hint %q, want …%s…", tc.err, got, tc.hint)
		}
	}
}

func TestFileNamesOfServersAndFleetsAreHarmless(t *testing.T) {
	for in, want := range map[string]string{"127.0.0.1:4810": "127.0.0.1_4810", "[::1]:4810": "___1__4810", "..": "_", "": "_", "a/../b": "a_.._b", "ships.csv.gz": "ships.csv.gz"} {
		if got := fileName(in); got != want {
			t.Errorf("%q: got %q, want %q", in, got, want)
		}
	}
}
