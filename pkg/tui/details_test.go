package tui

import (
	"strings"
	"testing"
	"time"

	"tracker/pkg/client"
	"tracker/pkg/geo"
	"tracker/pkg/track"
)

// full is a fix that says all that a fix can say.
func full(at time.Time, speed float64, battery int) client.Fix {
	f := fixOf(7, "van-0417", at, 48.53521, 13.38274)
	f.Has |= track.HasVel | track.HasBat | track.HasAcc | track.HasAlt
	f.Speed, f.Course, f.Battery, f.Accuracy, f.Alt = speed, 131, battery, geo.Meters(6), 312
	return f
}

func TestDetailsTellAllThatIsKnown(t *testing.T) {
	r := newRig(t, 160, 50, "plain").load(full(epoch, 20, 83))
	for i := range 31 { // through three hours, with a battery that goes down by some percent in each
		r.clock.Advance(6 * time.Minute)
		r.live.Apply([]client.Fix{full(r.clock.At, float64(10+i%5), 83-4*(i+1)/10)})
	}
	last := full(r.clock.At.Add(time.Second), 23.4, 71)
	last.Received = last.Time.Add(90 * time.Second)
	last.Power, last.Jump, last.Suspect, last.Event = true, true, true, "low_battery"
	r.clock.Advance(92 * time.Second)
	r.live.Apply([]client.Fix{last})
	r.hit("n", "M", "f")
	// In this order, each in a line of its own.
	at := 0
	for _, want := range []string{
		"van-0417 · following", "state   moving, heard now", "event   low_battery", "doubt   jumped too far to be true", "doubt   its clock runs ahead",
		"place   48.53521,13.38274 ±6.0 m", "71 km west of Linz", "speed   84 km/h ↘ 131°", " 20m", "battery ▇▇▇▇▇▇▇░░░ 71% −3%/h", "20h", "runs on external power",
		"height  312 m", "fix     2026-01-02 17:28:08Z", "came 1m after that", "events  muted, M lets them come",
	} {
		from := strings.Index(r.see.Frame[at:], want)
		if from < 0 {
			t.Fatalf("%q is not there, or not after what comes before it:\n%s", want, r.see.Frame)
		}
		at += from + len(want)
	}
	r.Resize(80, 24)
	r.hit("enter").shows("place   48.53521,13.38274", "height  312 m", "id      000000000007")
	r.hit("esc")
	line := strings.Split(r.see.Frame, "\n")[r.lay.detail]
	if !strings.Contains(line, "low_battery") || strings.Contains(line, "muted") {
		t.Errorf("the line of details is %q", line)
	}
}

func TestDetailsDoNotInventWhatIsNotKnown(t *testing.T) {
	r := newRig(t, 160, 50, "plain")
	beat := client.Fix{Device: 7, Name: "beat", Time: epoch, Received: epoch}
	r.load(beat).hit("n").shows("place   not known", "fix     2026-01-02").hides("speed  ", "battery ", "height", "doubt", "came", "muted", "%/h")
	r.hit("f", "z", "enter", "enter", "y") // which have no place to go to
	late := fixOf(7, "beat", epoch.Add(time.Minute), 1, 1)
	late.Received = late.Time.Add(-20 * time.Second)
	r.live.Apply([]client.Fix{late})
	r.compose()
	r.shows("came 20s before that")
	for _, d := range []time.Duration{0, 4 * time.Second, -4 * time.Second} {
		late.Received = late.Time.Add(d)
		if got := arrival(&late); got != "" {
			t.Errorf("%v: %q", d, got)
		}
	}
}
