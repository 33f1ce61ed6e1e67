package tui

import (
	"bytes"
	"context"
	"errors"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"tracker/pkg/client"
	"tracker/pkg/geo"
	"tracker/pkg/track"
	"tracker/pkg/tui/fleet"
	"tracker/pkg/tui/tuitest"
	"tracker/pkg/tui/world"
)

// once is one picture of some fixes, with what else is set.
func once(t *testing.T, o Options, fixes ...client.Fix) (string, error) {
	t.Helper()
	var out bytes.Buffer
	began := time.Now() // the player's patience needs a clock that runs
	o.Feed, o.Environ, o.Now = feedOf(fixes...), []string{"TERM=xterm-256color", "LANG=C.UTF-8"}, func() time.Time { return epoch.Add(time.Since(began)) }
	o.Cols, o.Rows = 80, 24
	err := Once(t.Context(), &out, o)
	return out.String(), err
}

func TestOnceBeginsWhereItIsTold(t *testing.T) {
	for _, tt := range []struct {
		opening Opening
		shows   string
	}{
		{Opening{Place: "Tokyo"}, "z8.0"},
		{Opening{Place: "tOkYo", Zoom: 4.5}, "z4.5"},
		{Opening{Place: "35.7, 139.7", Zoom: 7}, "z7.0"},
		{Opening{Place: "van-0003"}, " van-0003  moving"},
		{Opening{Place: "van-0003", Zoom: 9}, "z9.0"},
		{Opening{Zoom: 3}, "z3.0"},
		{Opening{Zoom: 0.01}, "z0.0"}, // no further out than the world
	} {
		picture, err := once(t, Options{Opening: tt.opening}, vans(20)...)
		if err != nil || !strings.Contains(picture, tt.shows) {
			t.Errorf("%+v: %v, and not %q in\n%s", tt.opening, err, tt.shows, picture)
		}
		if far := strings.ContainsAny(tt.opening.Place, "kK,"); far != strings.Contains(picture, " 0 of 20 devices in view") {
			t.Errorf("%+v:\n%s", tt.opening, picture)
		}
	}
	for wrong, says := range map[Opening]string{
		{Place: "Nowhere"}: `no device and no city is called "Nowhere"`,
		{Place: "91,0"}:    `"91,0" is no LAT,LON`,
		{At: "-10m"}:       "there is no history",
	} {
		picture, err := once(t, Options{Opening: wrong}, vans(20)...)
		if err == nil || !strings.Contains(err.Error(), says) || picture != "" {
			t.Errorf("%+v: %v, want %s, and no picture:\n%s", wrong, err, says, picture)
		}
	}
}

// window is a history that is given by a function.
type window func(yield func([]client.Fix) error) error

func (w window) Window(_ context.Context, _ []track.DeviceID, _, _ time.Time, yield func([]client.Fix) error) error {
	return w(yield)
}

func TestOnceShowsThePast(t *testing.T) {
	now := tuitest.Fix(1, "van-1", epoch, 48, 11)
	then := tuitest.Fix(1, "van-1", epoch.Add(-time.Hour), -33.9, 151.2)
	then.Speed, then.Has = 20, then.Has|track.HasVel
	o := Options{Opening: Opening{At: epoch.Add(-59 * time.Minute).Format(time.RFC3339)}, Past: window(func(yield func([]client.Fix) error) error { return yield([]client.Fix{then, now}) })}
	picture, err := once(t, o, now)
	for _, want := range []string{"REPLAY " + epoch.Add(-59*time.Minute).Format("2006-01-02 15:04:05Z") + " held", "1 dev", "33.90°S"} {
		if err != nil || !strings.Contains(picture, want) {
			t.Errorf("%v, and not %q in\n%s", err, want, picture)
		}
	}

	// What is after the present is the present.
	o.Opening.At = epoch.Add(time.Hour).Format(time.RFC3339)
	if picture, err = once(t, o, now); err != nil || strings.Contains(picture, "REPLAY") || strings.Contains(picture, "33.90°S") {
		t.Errorf("%v, and the present is\n%s", err, picture)
	}

	o.Opening.At, o.Past = "13:22", window(func(func([]client.Fix) error) error { return track.ErrDenied })
	if picture, err = once(t, o, now); !errors.Is(err, track.ErrDenied) || picture != "" {
		t.Errorf("%v, want that it is denied, and no picture:\n%s", err, picture)
	}
}

func TestTheMapBeginsOnceThereAreDevices(t *testing.T) {
	r := newRig(t, 120, 40, "plain")
	r.opening = Opening{Place: "35.7,139.7", Zoom: 7}
	r.compose()
	r.hides("z7.0")
	r.load(vans(20)...).shows("z7.0")
	if at := r.view.Centre.Point(); geo.Distance(at, geo.Deg(35.7, 139.7)) > 10 {
		t.Errorf("the centre is %v", at)
	}
	// It does so once: what is done by hand stays, and new devices do not move the view.
	r.press("+").load(vans(40)...).shows("z7.5")

	r = newRig(t, 120, 40, "plain")
	r.opening = Opening{Place: "Nowhere", Zoom: 5}
	r.load(vans(20)...).shows("z5.0", `no device and no city is called "Nowhere"`)
	if x := r.view.Centre; math.Abs(float64(int32(x.X-world.Project(geo.Deg(0, 11)).X))) > 1<<28 {
		t.Errorf("the centre is %v, not among the devices", x.Point())
	}
}

// History comes device by device, and so do the events in it.
func TestEventsOfThePastAreInTheOrderOfTime(t *testing.T) {
	var log fleet.Log
	p := eventPane{past: true}
	happens := func(minute int) {
		log.Add(fleet.Event{At: epoch.Add(time.Duration(minute) * time.Minute), Kind: fleet.Jump})
		p.renew(&log, true)
	}
	listed := func() (minutes []int) {
		for _, e := range p.list {
			minutes = append(minutes, int(e.At.Sub(epoch).Minutes()))
		}
		return minutes
	}
	happens(10)
	happens(30)
	p.at = 1
	happens(20)
	happens(5)
	if got, want := listed(), []int{30, 20, 10, 5}; !slices.Equal(got, want) {
		t.Errorf("events of minutes %v, want %v", got, want)
	}
	if e, ok := p.selected(); !ok || !e.At.Equal(epoch.Add(10*time.Minute)) {
		t.Errorf("the choice went to %v", e.At)
	}
}
