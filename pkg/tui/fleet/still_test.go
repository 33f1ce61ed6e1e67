package fleet

import (
	"reflect"
	"slices"
	"testing"
	"time"

	"tracker/pkg/client"
	"tracker/pkg/track"
)

// What a still shows of everybody, in words that can be compared.
type portrait struct {
	fix   client.Fix
	name  string
	trail []Crumb
	speed []int
	mark  Mark
}

func portraits(s *Store) (all []portrait, events []Event, status Status) {
	var f Frame
	f.Refresh(s, nil)
	for i := range int32(len(f.Points)) {
		p := portrait{mark: f.Marks[i] &^ MarkNew, trail: s.Trail(nil, i, MaxTrail), speed: s.Spark(nil, i, OfSpeed)}
		p.fix, p.name, _ = s.Info(i)
		all = append(all, p)
	}
	return all, s.Events().Since(nil, 0), s.Status()
}

func TestAStillStandsWhileTheStoreGoesOn(t *testing.T) {
	s, c := motley(600, 3)
	for range 40 {
		c.Advance(time.Second)
		for i := range int32(300) {
			if f, _, ok := s.Info(i); ok {
				f.Time, f.At.Lat = c.At, f.At.Lat+20_000
				f.Has |= track.HasPos
				s.Apply([]client.Fix{f})
			}
		}
	}
	sos := fixOf(5000, "sos", c.At, 1, 1)
	sos.Event = "sos"
	s.Apply([]client.Fix{sos})
	before, events, status := portraits(s)
	still := s.Still()
	check := func(when string) {
		t.Helper()
		got, log, st := portraits(still)
		if !reflect.DeepEqual(got, before) || !slices.Equal(log, events) || st != status {
			t.Errorf("%s: the still is not what the store was: %+v, was %+v", when, st, status)
		}
	}
	check("at once")

	c.Advance(time.Hour)
	s.Left([]track.DeviceID{1, 2, 3, 5000})
	for i := range track.DeviceID(20) { // some of them where others were
		f := fixOf(9000+i, "new", c.At, 2, 2)
		f.Event = "tamper"
		s.Apply([]client.Fix{f})
	}
	s.Tick()
	s.Events().AckAll()
	s.Events().Mute(4, true)
	s.SetLink(Reconnecting, "gone")
	still.Tick()
	check("after an hour")

	still.Events().AckAll()
	still.Events().Mute(7, true)
	if n := s.Events().Alerting(); still.Events().Alerting() != 0 || n != 0 || s.Events().Muted(7) || still.Events().Muted(4) {
		t.Errorf("the two share a log: %d alerts in the store", n)
	}
	if still.Now() != c.At.Add(-time.Hour) || still.Find(1) == Nobody || still.Find(9001) != Nobody {
		t.Error("the still is of another moment")
	}
}
