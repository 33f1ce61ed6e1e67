package tell

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"
	"unicode"

	"tracker/pkg/client"
	"tracker/pkg/track"
	"tracker/pkg/tui/fleet"
	"tracker/pkg/tui/tuitest"
)

// A whole session, as it is heard: a small fleet on the road, with everything that can
// happen to it, and somebody who asks.
func TestASessionReadsWell(t *testing.T) {
	l := told(t, 45*time.Minute, Options{}, func(s *fleet.Store, typed io.Writer) {
		f := tuitest.NewFleet(6, 11, tuitest.Europe)
		f.Clock, f.Fixes[2].Battery = time.Now(), 80
		ask := func(line string) {
			_, _ = io.WriteString(typed, line+"\n")
			wait(10 * time.Millisecond)
		}
		drive := func(d time.Duration, change func(fixes []client.Fix) []client.Fix) {
			for range int(d / (5 * time.Second)) {
				wait(5 * time.Second)
				fixes := f.Step(5*time.Second, 1)
				if change != nil {
					fixes = change(fixes)
				}
				s.Apply(fixes)
			}
		}
		wait(lookEvery / 2) // so that no two things happen at the same moment
		s.SetLink(fleet.Live, "")
		s.Snapshot(f.Step(time.Second, 1), true, false)
		drive(2*time.Minute, nil)
		f.Fixes[1].Event = "sos"
		drive(10*time.Second, nil)
		f.Fixes[1].Event = ""
		ask("alerts")
		ask("where van-0001")
		ask("ack")
		f.Fixes[2].Battery, f.Fixes[3].Speed = 12, 0 // one gets tired, one arrives
		drive(2*time.Minute, nil)
		drive(5*time.Second, func(fixes []client.Fix) []client.Fix { // a convoy sets out
			for i := range 17 {
				fixes = append(fixes, tuitest.Fix(track.DeviceID(1+i), fmt.Sprintf("bus-%d", i), time.Now(), 48.57, 13.46))
			}
			return fixes
		})
		ask("follow van-0004")
		drive(time.Minute, nil)
		ask("stop")
		drive(4*time.Minute, func(fixes []client.Fix) []client.Fix { return fixes[1:] }) // one is not heard, nor the convoy
		drive(time.Minute, nil)
		s.Take(&client.Event{Kind: client.Disconnected, Err: errors.New("connection refused"), RetryIn: time.Second})
		wait(40 * time.Second)
		f.Clock = time.Now()
		s.Take(&client.Event{Kind: client.Resumed})
		drive(time.Minute, nil)
		ask("who")
		ask("events")
		s.SetLink(fleet.Denied, "token revoked")
	})
	tuitest.Golden(t, "session", l.raw.String())

	long := 0
	for _, line := range l.lines {
		for _, r := range line {
			if !unicode.IsLetter(r) && !unicode.IsDigit(r) && !strings.ContainsRune(` .,:;-"?`, r) {
				t.Errorf("%q in %q", r, line)
			}
		}
		if len([]rune(line)) > 79 {
			long++
		}
	}
	if long*4 > len(l.lines) {
		t.Errorf("%d of %d lines are longer than a line of braille or a narrow terminal", long, len(l.lines))
	}
}
