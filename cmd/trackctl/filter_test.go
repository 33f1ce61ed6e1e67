package main

import (
	"errors"
	"iter"
	"reflect"
	"slices"
	"testing"
	"time"

	"tracker/pkg/client"
	"tracker/pkg/filter"
	"tracker/pkg/geo"
	"tracker/pkg/track"
)

var noon = time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC)

// tell is one thing that a judge hears, and whether it wants it.
type tell struct {
	fix   client.Fix
	heard time.Duration // after noon
	now   time.Duration
	want  bool
}

func at(lat, lon float64, f client.Fix) client.Fix {
	f.At, f.Has = geo.Deg(lat, lon), f.Has|track.HasPos
	return f
}

func TestWatchJudgesADeviceByMoreThanItsLatestFix(t *testing.T) {
	fast := client.Fix{Has: track.HasVel, Speed: 30}
	slow := client.Fix{Has: track.HasVel, Speed: 0.4}
	for name, tt := range map[string]struct {
		filter string
		tells  []tell
	}{
		"no filter wants all": {"", []tell{{want: true}, {fix: fast, want: true}}},
		"the fix itself":      {"speed>90", []tell{{fix: fast, want: true}, {fix: slow}, {}}},
		"moving by speed":     {"state:moving", []tell{{fix: at(1, 1, fast), want: true}, {fix: at(2, 2, slow)}}},
		"moving by places": {"state:moving", []tell{
			{fix: at(1, 1, client.Fix{})}, {fix: at(1.001, 1, client.Fix{}), want: true},
			{fix: client.Fix{}, want: true}, {fix: at(1.00101, 1, client.Fix{})},
		}},
		"an alarm lasts": {"state:alert", []tell{
			{fix: client.Fix{Event: "sos"}, want: true}, {now: time.Minute, heard: time.Minute, want: true},
			{now: 5 * time.Minute, heard: 5 * time.Minute},
		}},
		"an event does not": {"event:sos", []tell{{fix: client.Fix{Event: "sos"}, want: true}, {}}},
		"a heartbeat is where it was": {"bbox:0,0,2,2", []tell{
			{}, {fix: at(1, 1, client.Fix{}), want: true}, {want: true}, {fix: at(3, 1, client.Fix{})}, {},
		}},
		"history changes nothing": {"state:alert|bbox:0,0,2,2", []tell{
			{fix: at(3, 1, client.Fix{})}, {fix: at(1, 1, client.Fix{Late: true, Event: "sos"}), want: true}, {},
		}},
		"the present may be old": {"state:stale age>1m", []tell{
			{now: 3 * time.Minute, want: true}, {now: 30 * time.Minute}, {now: 3 * time.Minute, heard: 3 * time.Minute},
		}},
	} {
		ff := filterFlags{text: tt.filter, stale: 2 * time.Minute, lost: 15 * time.Minute}
		j, err := ff.judge()
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		for i, x := range tt.tells {
			x.fix.Device = 7
			if got := j.wants(&x.fix, noon.Add(x.heard), noon.Add(x.now)); got != x.want {
				t.Errorf("%s: %d: got %v", name, i, got)
			}
		}
	}
}

func TestWatchForgetsWhatLeft(t *testing.T) {
	ff := filterFlags{text: "state:alert", stale: 1, lost: 1}
	j, err := ff.judge()
	if err != nil {
		t.Fatal(err)
	}
	sos, quiet := client.Fix{Device: 7, Event: "sos"}, client.Fix{Device: 7}
	if !j.wants(&sos, noon, noon) || !j.wants(&quiet, noon, noon) {
		t.Error("it was no alert at all")
	}
	j.forget(7)
	if j.wants(&quiet, noon, noon) || len(j.known) != 1 {
		t.Errorf("it is an alert still, or %v", j.known)
	}
}

func TestRegisteredDevicesAsSubjects(t *testing.T) {
	ages := filter.Ages{}
	last := at(48, 11, client.Fix{
		Device: 7, Name: "old name", Received: noon.Add(-time.Minute), Time: noon.Add(-time.Hour),
		Has: track.HasVel | track.HasBat, Speed: 3, Course: 90, Battery: 50, Power: true, Event: "tamper", Jump: true, Suspect: true,
	})
	ahead, untold := last, last
	ahead.Received, ahead.Event = noon.Add(time.Hour), ""
	untold.Received = time.Time{}
	want := filter.Subject{
		ID: 7, Name: "van-1", State: filter.Alert, Age: time.Minute, At: geo.Deg(48, 11), Has: track.HasPos | track.HasVel | track.HasBat,
		Speed: 3, Course: 90, Battery: 50, Power: true, Jump: true, Suspect: true, Event: "tamper",
		Status: "active", Alarms: []string{"clone_suspected"},
	}
	wantAhead, wantUntold := want, want
	wantAhead.Age, wantAhead.State, wantAhead.Event = 0, filter.Moving, ""
	wantUntold.Age, wantUntold.State = time.Hour, filter.Lost
	for name, tt := range map[string]struct {
		last *client.Fix
		want filter.Subject
	}{
		"heard":                {&last, want},
		"by a clock ahead":     {&ahead, wantAhead},
		"nobody knows when":    {&untold, wantUntold},
		"enrolled, and silent": {nil, filter.Subject{ID: 7, Name: "van-1", State: filter.Lost, Age: filter.Never, Status: "active", Alarms: want.Alarms}},
	} {
		d := client.Device{ID: 7, Name: "van-1", State: "active", Alarms: []string{"clone_suspected"}, Last: tt.last}
		if got := registered(&d, ages, noon); !reflect.DeepEqual(got, tt.want) {
			t.Errorf("%s: got\n%+v\nwant\n%+v", name, got, tt.want)
		}
	}
}

// A page that fails is told, whatever the filter.
func TestWhatAListFailsWithIsNotFiltered(t *testing.T) {
	broken := errors.New("broken")
	var pages iter.Seq2[client.Device, error] = func(yield func(client.Device, error) bool) {
		_ = yield(client.Device{Name: "a"}, nil) && yield(client.Device{Name: "b"}, nil) && yield(client.Device{}, broken)
	}
	var got []string
	for d, err := range chosen(pages, func(d *client.Device) bool { return d.Name == "b" }) {
		if err != nil {
			d.Name = err.Error()
		}
		got = append(got, d.Name)
	}
	if want := []string{"b", "broken"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}
