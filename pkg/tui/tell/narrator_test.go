package tell

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"tracker/pkg/client"
	"tracker/pkg/filter"
	"tracker/pkg/track"
	"tracker/pkg/tui/fleet"
	"tracker/pkg/tui/tuitest"
)

func TestOfManyNobodyIsToldAlone(t *testing.T) {
	l := told(t, 10*time.Minute, Options{}, func(s *fleet.Store, _ io.Writer) {
		f := tuitest.NewFleet(few+1, 3, tuitest.Europe)
		f.Clock = time.Now()
		s.Snapshot(f.Step(time.Second, 1), true, false)
		s.SetLink(fleet.Live, "")
		for range 9 * 60 {
			wait(time.Second)
			s.Apply(f.Step(time.Second, 1))
		}
	})
	if l.has(" van-") != 0 || l.has("summary: ") != 1 || len(l.lines) > 4 {
		t.Errorf("%d lines:\n%s", len(l.lines), strings.Join(l.lines, "\n"))
	}
}

func TestManyCallsForHelpAreOneSentence(t *testing.T) {
	l := told(t, 10*time.Second, Options{}, func(s *fleet.Store, typed io.Writer) {
		var fixes []client.Fix
		for i := range 23 {
			f := tuitest.Fix(track.DeviceID(1+i), "", time.Now(), 48, 11)
			f.Event = "sos"
			fixes = append(fixes, f)
		}
		s.Snapshot(fixes[:2], true, false)
		wait(time.Second)
		s.Apply(fixes[2:])
		wait(time.Second)
		_, _ = io.WriteString(typed, "alerts\nack\n")
	})
	for want, n := range map[string]int{
		" alert: 000000000001 calls for help, 42 kilometres south of Augsburg.": 1, " alert: ": 3, "23 alerts.": 1,
		" alert: 21 devices raise an alarm: 000000000003, 000000000004, 000000000005 and 18 more. Ask for alerts to hear them all.": 1,
		" calls for help, 42 kilometres south of Augsburg, 1 second ago.":                                                           listMax, "And 13 more before.": 1, "23 alerts acknowledged.": 1,
	} {
		if l.has(want) != n {
			t.Errorf("%d lines say %q, want %d:\n%s", l.has(want), want, n, strings.Join(l.lines, "\n"))
		}
	}
}

func TestMuchOfAKindIsOneSentence(t *testing.T) {
	l := told(t, time.Minute, Options{}, func(s *fleet.Store, _ io.Writer) {
		s.Snapshot(tuitest.Vans(2), true, false)
		wait(time.Second)
		add := func(kind fleet.Kind, from, n int, pause time.Duration) {
			for i := range n {
				s.Events().Add(fleet.Event{At: time.Now(), Kind: kind, Device: track.DeviceID(from + i), Name: fmt.Sprintf("bus-%d", i)})
				wait(pause)
			}
		}
		add(fleet.Appeared, 1, 17, 20*time.Millisecond) // each of them a line of the log
		wait(10 * time.Second)
		add(fleet.Silent, 1, 600, 20*time.Millisecond) // one line of the log, which grows for 12 seconds
		wait(10 * time.Second)
		add(fleet.Back, 1, 2, 0)
	})
	var got []string
	for _, line := range l.lines {
		if _, words, _ := strings.Cut(line, " "); strings.Contains(words, "bus-") || strings.Contains(words, "silent") {
			got = append(got, words)
		}
	}
	want := []string{
		"17 devices were seen for the first time: bus-0, bus-1 and 15 more.",
		"523 devices have gone silent.", "77 more devices have gone silent.", "bus-0 and bus-1 are back.",
	}
	if !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}

func TestMutedDevicesDoNotCallForHelp(t *testing.T) {
	l := told(t, 10*time.Second, Options{}, func(s *fleet.Store, _ io.Writer) {
		loud, muted := tuitest.Fix(1, "loud", time.Now(), 48, 11), tuitest.Fix(2, "muted", time.Now(), 48, 11)
		s.Snapshot([]client.Fix{loud, muted}, true, false)
		s.Events().Mute(2, true)
		wait(time.Second)
		for _, f := range []*client.Fix{&loud, &muted} {
			f.Event, f.Time = "sos", time.Now()
		}
		s.Apply([]client.Fix{loud, muted})
	})
	if l.has("alert: loud calls for help, ") != 1 || l.has("alert: muted") != 0 {
		t.Errorf("%s", strings.Join(l.lines, "\n"))
	}
}

func TestAlarmsThatAreOverAreForgotten(t *testing.T) {
	clock := tuitest.NewClock()
	store := fleet.New(fleet.Config{Now: clock.Now})
	cry := tuitest.Fix(1, "van-1", clock.At, 48, 11)
	cry.Event = "sos"
	teller := newTeller(io.Discard, store, &Options{})
	for range 3 { // it goes on, but nobody has to hear it every minute
		for minute := range 5 {
			cry.Time = clock.At
			store.Apply([]client.Fix{cry})
			if got := teller.urgent(); (got != "") != (minute == 0) {
				t.Errorf("after %d minutes: %q", minute, got)
			}
			clock.Advance(time.Minute)
		}
	}
	clock.Advance(filter.AlarmFor)
	teller.refresh()
	if teller.summary(); len(teller.alarmed) != 0 {
		t.Errorf("still known: %v", teller.alarmed)
	}
}

func TestEventsAreToldOrCounted(t *testing.T) {
	l := told(t, 40*time.Second, Options{}, func(s *fleet.Store, _ io.Writer) {
		van := tuitest.Fix(1, "van-1", time.Now(), 48, 11)
		s.Snapshot([]client.Fix{van}, true, false)
		log := s.Events()
		add := func(e fleet.Event) { e.At = time.Now(); log.Add(e) }
		add(fleet.Event{Kind: fleet.Silent, Device: 1, Name: "van-1", Text: "silent for 4m, usually every 30s"})
		add(fleet.Event{Kind: fleet.Back, Device: 9, Name: "gone\x1b[2J"})
		add(fleet.Event{Kind: fleet.LowBattery, Device: 1, Name: "van-1", Text: "battery low, 12%"})
		add(fleet.Event{Kind: fleet.Resumed, Text: "live again after 1d"})
		add(fleet.Event{Kind: fleet.Back, Device: 7, Name: "quiet one", Muted: true})
		wait(20 * time.Second)
		for i := range 9 {
			add(fleet.Event{Kind: []fleet.Kind{fleet.Silent, fleet.Back, fleet.Jump}[i%3], Device: track.DeviceID(1 + i), Name: "bus-" + string(rune('0'+i))})
		}
	})
	for _, want := range []string{
		" van-1 has been silent for 4 minutes, 42 kilometres south of Augsburg.", " gone?[2J is back after less than 1 second.",
		" alert: van-1 is low on battery, 12 percent, 42 kilometres south of Augsburg.", " link: live again after 1 day.",
		" bus-0, bus-3 and bus-6 have gone silent.", " bus-1, bus-4 and bus-7 are back.", " bus-2, bus-5 and bus-8 jumped.",
	} {
		if l.has(want) != 1 {
			t.Errorf("%d lines say %q:\n%s", l.has(want), want, strings.Join(l.lines, "\n"))
		}
	}
	if l.has("quiet one") != 0 || len(l.lines) != 10 {
		t.Errorf("too much:\n%s", strings.Join(l.lines, "\n"))
	}
}

func TestALinkThatIsBackIsToldOnce(t *testing.T) {
	l := told(t, 10*time.Second, Options{}, func(s *fleet.Store, _ io.Writer) {
		s.SetLink(fleet.Live, "")
		wait(3 * time.Second)
		s.SetLink(fleet.Reconnecting, "no answer, again in 1.2s")
		wait(3 * time.Second)
		s.SetLink(fleet.Live, "")
	})
	var links []string
	for _, line := range l.lines {
		if _, words, ok := strings.Cut(line, " link: "); ok {
			links = append(links, words)
		}
	}
	if want := []string{"live.", "lost, trying again: no answer.", "live again after 3 seconds."}; !slices.Equal(links, want) {
		t.Errorf("%q, want %q", links, want)
	}
}

func TestAQuietHourIsQuiet(t *testing.T) {
	l := told(t, time.Hour, Options{}, func(s *fleet.Store, _ io.Writer) {
		f := tuitest.NewFleet(100, 3, tuitest.Europe)
		f.Clock = time.Now()
		s.Snapshot(f.Step(time.Second, 1), true, false)
		s.SetLink(fleet.Live, "")
		for range 59 {
			wait(time.Minute)
			s.Apply(f.Step(time.Minute, 1))
		}
	})
	if l.has("summary: 100 devices, 85 moving, 15 idle.") != 6 || l.has("summary: 100 devices, 85 moving, 15 idle. 2 fixes a second.") != 5 || len(l.lines) != 8 { // with the greeting and the link
		t.Errorf("%d lines about nothing:\n%s", len(l.lines), strings.Join(l.lines, "\n"))
	}
}

func TestAnHourOfSilenceIsSaidSometimes(t *testing.T) {
	l := told(t, time.Hour, Options{}, func(s *fleet.Store, _ io.Writer) {
		s.Snapshot([]client.Fix{tuitest.Fix(1, "van-1", time.Now(), 48, 11)}, true, false)
		s.SetLink(fleet.Live, "")
	})
	if l.has("summary: 1 device, 1 lost. Nobody was heard for ") != 5 || len(l.lines) > 11 {
		t.Errorf("%d lines about nothing:\n%s", len(l.lines), strings.Join(l.lines, "\n"))
	}
}

func TestNewsIsOfThoseWhoAreMeant(t *testing.T) {
	l := told(t, 5*time.Minute, Options{}, func(s *fleet.Store, typed io.Writer) {
		f := tuitest.NewFleet(30, 3, tuitest.Europe)
		f.Clock = time.Now()
		s.Snapshot(f.Step(time.Second, 1), true, false)
		_, _ = io.WriteString(typed, "follow van-0008\n")
		for range 290 {
			wait(time.Second)
			s.Apply(f.Step(time.Second, 1))
		}
	})
	news := 0
	for _, line := range l.lines {
		switch {
		case strings.Contains(line, "summary: "):
			if !strings.Contains(line, ". Following van-0008: ") {
				t.Errorf("%q", line)
			}
		case strings.Contains(line, "van-"):
			if !strings.Contains(line, "van-0008: ") {
				t.Errorf("%q", line)
			}
			news++
		}
	}
	if news < 290/30 || news > 290/30+2 {
		t.Errorf("%d lines of it:\n%s", news, strings.Join(l.lines, "\n"))
	}
}

// A device that comes where another was is told of like any other.
func TestWhoTakesThePlaceOfAnotherIsTold(t *testing.T) {
	l := told(t, 5*time.Minute, Options{}, func(s *fleet.Store, _ io.Writer) {
		s.Snapshot([]client.Fix{tuitest.Fix(1, "first", time.Now(), 48, 11)}, true, false)
		s.SetLink(fleet.Live, "")
		wait(30 * time.Second)
		s.Left([]track.DeviceID{1})
		s.Apply([]client.Fix{tuitest.Fix(2, "second", time.Now(), 48, 11)})
	})
	if l.has(" first: ") != 1 || l.has(" second: ") != 1 {
		t.Errorf("%d lines:\n%s", len(l.lines), strings.Join(l.lines, "\n"))
	}
}
