package fleet

import (
	"testing"
	"time"

	"tracker/pkg/client"
	"tracker/pkg/filter"
	"tracker/pkg/track"
	"tracker/pkg/tui/tuitest"
)

func TestFrameMarksWhatItCopies(t *testing.T) {
	s, c := clockedStore()
	sos := fixOf(3, "c", c.At, 3, 3)
	sos.Event = "sos"
	s.Snapshot([]client.Fix{fixOf(1, "a", c.At, 1, 1), fixOf(2, "b", c.At.Add(-time.Hour), 2, 2), sos}, true, false)
	var f Frame
	f.Refresh(s, nil)
	if want := [filter.States]int{filter.Idle: 1, filter.Lost: 1, filter.Alert: 1}; f.Counts != want || f.Matched != 3 || f.At != c.At.UnixMilli() {
		t.Errorf("counts %v, matched %d, at %d", f.Counts, f.Matched, f.At)
	}
	for i, m := range f.Marks {
		if m&MarkNew == 0 || !m.Matches() || m.State() != f.Points[i].State(f.At, s.Ages()) {
			t.Errorf("mark %d is %b", i, m)
		}
	}
	s.Left([]track.DeviceID{2})
	c.Advance(time.Second)
	s.Apply([]client.Fix{fixOf(1, "a", c.At, 1, 1.1)})
	all, _ := filter.Parse("")
	f.Refresh(s, all)
	one, two, three := f.Marks[s.Find(1)], f.Marks[1], f.Marks[s.Find(3)]
	if one&MarkNew == 0 || one.State() != filter.Moving || two != 0 || three&MarkNew != 0 || f.Matched != 2 || f.Status.Devices != 2 {
		t.Errorf("after a step: %b %b %b, matched %d of %d", one, two, three, f.Matched, f.Status.Devices)
	}
}

func TestClockOfFixesLivesInThePast(t *testing.T) {
	c := tuitest.NewClock()
	s := New(Config{Now: c.Now, ByFixTime: true})
	old := fixOf(1, "a", c.At.Add(-3*time.Minute), 1, 1)
	old.Received = c.At
	s.Apply([]client.Fix{old})
	if p := s.point(1); p.Age(c.At.UnixMilli()) != 3*time.Minute {
		t.Errorf("heard %v ago, want 3m", p.Age(c.At.UnixMilli()))
	}
}

func TestDeniedIsToldShortly(t *testing.T) {
	s, _ := clockedStore()
	s.Take(&client.Event{Kind: client.Disconnected, Err: track.ErrDenied, RetryIn: time.Second})
	if got := s.Status().Link.Note; got != "not allowed, again in 1s" {
		t.Errorf("note %q", got)
	}
}

func TestLogKeepsTheLastThousand(t *testing.T) {
	var l Log
	if got := l.Since(nil, 0); len(got) != 0 || l.Alerting() != 0 {
		t.Errorf("an empty log has %v", got)
	}
	l.Mute(7, true)
	for i := range logSize + 10 {
		l.Add(Event{Kind: SOS, Device: track.DeviceID(i % 8)})
	}
	all := l.Since(nil, 0)
	if len(all) != logSize || all[0].N != 11 || all[logSize-1].N != logSize+10 {
		t.Fatalf("%d events from %d to %d", len(all), all[0].N, all[len(all)-1].N)
	}
	if got := l.Since(nil, logSize+8); len(got) != 2 || got[0].N != logSize+9 {
		t.Errorf("news: %+v", got)
	}
	loud := l.Alerting()
	l.Ack(11)
	l.Ack(3)              // long gone
	l.Ack(logSize + 1000) // never was
	if got := l.Alerting(); loud != logSize-logSize/8 || got != loud-1 {
		t.Errorf("%d alerting, %d after one was seen", loud, got)
	}
	l.Mute(7, false)
	l.AckAll()
	l.Add(Event{Kind: Tamper, Device: 7})
	l.Add(Event{Kind: Back, Device: 7})
	if got := l.Alerting(); got != 1 {
		t.Errorf("%d alerting", got)
	}
}

func TestMaskHidesNamesAndPlaces(t *testing.T) {
	at := fixOf(1, "", epoch, 48.53521, 13.38274).At
	var none *Mask
	for _, m := range []*Mask{none, {}} {
		if m.Name(1, "van") != "van" || m.Point(at) != "48.53521,13.38274" || m.Round(at) != at {
			t.Error("no mask hides something")
		}
	}
	m := NewMask()
	if got := m.Name(1, "van"); got == "van" || got != m.Name(1, "other") {
		t.Errorf("name %q", got)
	}
	if got := m.Point(at); got != "48.5,13.4" {
		t.Errorf("place %q", got)
	}
}
