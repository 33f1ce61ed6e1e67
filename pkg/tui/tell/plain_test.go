package tell

import (
	"testing"
	"time"

	"tracker/pkg/client"
	"tracker/pkg/filter"
	"tracker/pkg/track"
	"tracker/pkg/tui/tuitest"
)

func TestSentencesSayWhereADeviceIs(t *testing.T) {
	f := tuitest.Fix(1, "moto-3", tuitest.Epoch, 47.07, 15.44)
	f.Has |= track.HasVel | track.HasBat
	f.Speed, f.Course, f.Battery = 36.7, 315, 22
	if got, want := sentence("moto-3", &f, filter.Moving, time.Second),
		"moto-3: 47.07000 north, 15.44000 east, in Graz, moving 132 km/h north-west, battery 22 percent, fix 1 second ago."; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	if got, want := sentence("x", &client.Fix{}, filter.Idle, 0), "x: no place known, idle, fix 0 seconds ago."; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}
