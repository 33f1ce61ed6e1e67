package fleet

import (
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"tracker/pkg/track"
)

// lines are the events of a log in a few words each.
func lines(l *Log) (all []string) {
	for _, e := range l.Since(nil, 0) {
		all = append(all, strings.Join(strings.Fields(e.Kind.String()+": "+e.Name+" "+e.Text), " "))
	}
	return all
}

func wantLines(t *testing.T, l *Log, want ...string) {
	t.Helper()
	if got := lines(l); !slices.Equal(got, want) {
		t.Errorf("the log says\n\t%s\nwant\n\t%s", strings.Join(got, "\n\t"), strings.Join(want, "\n\t"))
	}
}

// at is a moment in a log whose events are far enough from each other.
func at(i int) time.Time { return epoch.Add(time.Duration(i) * time.Second) }

func TestLogKeepsTheLastThousand(t *testing.T) {
	var l Log
	if got := l.Since(nil, 0); len(got) != 0 || l.Alerting() != 0 || l.Version() != 0 {
		t.Errorf("an empty log has %v", got)
	}
	if _, ok := l.AckLast(); ok {
		t.Error("nothing was acknowledged")
	}
	l.Mute(7, true)
	for i := range logSize + 10 {
		if n := l.Add(Event{At: at(i), Kind: SOS, Device: track.DeviceID(i % 8)}); n != uint64(i+1) {
			t.Fatalf("event %d has number %d", i+1, n)
		}
	}
	all := l.Since(nil, 0)
	if len(all) != logSize || all[0].N != 11 || all[logSize-1].N != logSize+10 {
		t.Fatalf("%d events from %d to %d", len(all), all[0].N, all[len(all)-1].N)
	}
	if got := l.Since(nil, logSize+8); len(got) != 2 || got[0].N != logSize+9 {
		t.Errorf("news: %+v", got)
	}
	want := Event{N: logSize + 10, At: at(logSize + 9), Kind: SOS, Device: 1, Text: "reports sos", Times: 1}
	if got := all[logSize-1]; got != want {
		t.Errorf("got %+v\nwant %+v", got, want)
	}
	loud := l.Alerting()
	l.Ack(11)
	l.Ack(3)              // long gone
	l.Ack(logSize + 1000) // never was
	if got := l.Alerting(); loud != logSize-logSize/8 || got != loud-1 {
		t.Errorf("%d alerting, %d after one was seen", loud, got)
	}
	if !l.Muted(7) || l.Muted(6) {
		t.Error("not the one that was muted is muted")
	}
	l.Mute(7, false)
	l.AckAll()
	l.Add(Event{At: at(5000), Kind: Tamper, Device: 7})
	l.Add(Event{At: at(5001), Kind: Back, Device: 7})
	if got := l.Alerting(); got != 1 {
		t.Errorf("%d alerting", got)
	}
}

func TestWhatIsSeenUpToALineEndsThere(t *testing.T) {
	var l Log
	for i := range 3 {
		l.Add(Event{At: at(i * 1000), Kind: SOS, Device: track.DeviceID(i + 1)})
	}
	l.AckTo(2)
	if e, ok := l.AckLast(); !ok || e.Device != 3 || l.Alerting() != 0 {
		t.Errorf("%+v was left, and %d more", e, l.Alerting())
	}
	l.Add(Event{At: at(9000), Kind: SOS, Device: 4})
	if last := l.AckAll(); last != 4 || l.Alerting() != 0 {
		t.Errorf("all up to %d are seen, and %d not", last, l.Alerting())
	}
}

func TestTheNewestAlertIsAcknowledgedFirst(t *testing.T) {
	var l Log
	l.Mute(9, true)
	for i, e := range []Event{
		{Kind: SOS, Device: 1}, {Kind: Silent, Device: 1}, {Kind: Tamper, Device: 2}, {Kind: SOS, Device: 9}, {Kind: Back, Device: 1},
	} {
		e.At = at(i)
		l.Add(e)
	}
	version := l.Version()
	for _, want := range []uint64{3, 1, 0} {
		if e, ok := l.AckLast(); e.N != want || ok != (want > 0) || ok && !e.Acked {
			t.Errorf("acknowledged %+v, %v; want number %d", e, ok, want)
		}
	}
	if l.Alerting() != 0 || l.Version() == version {
		t.Errorf("%d alerting after all are seen, version %d, was %d", l.Alerting(), l.Version(), version)
	}
}

func TestStormBecomesOneLine(t *testing.T) {
	var l Log
	l.Add(Event{At: at(0), Kind: Back, Device: 1, Name: "before"})
	var line uint64
	for i := range 312 {
		line = l.Add(Event{At: at(10).Add(time.Duration(i) * time.Millisecond), Kind: Silent, Device: track.DeviceID(i + 1), Name: "van"})
		if i == stormFrom-1 && len(lines(&l)) != stormFrom+1 {
			t.Errorf("%d lines of the first %d", len(lines(&l)), stormFrom)
		}
		if i == stormFrom {
			wantLines(t, &l, "back: before back after 0.0s", "silent: 21 devices silent")
		}
	}
	l.Add(Event{At: at(10), Kind: Back, Device: 2, Name: "meanwhile"}) // another kind is no part of it
	wantLines(t, &l, "back: before back after 0.0s", "silent: 312 devices silent", "back: meanwhile back after 0.0s")
	if got := l.Since(nil, line-1)[0]; got != (Event{N: line, At: at(10), Kind: Silent, Text: "312 devices silent", Times: 312}) {
		t.Errorf("the line is %+v", got)
	}
	if !l.again(line, Silent, 0) || l.again(line, Back, 0) || l.again(0, Silent, 0) {
		t.Error("only a line of the kind goes on")
	}
	// A second without one ends it.
	l.Add(Event{At: at(12), Kind: Silent, Device: 5, Name: "later"})
	if got := lines(&l); len(got) != 4 || got[3] != "silent: later silent for 0.0s" {
		t.Errorf("%q", got)
	}
}

func TestStormOfAlertsStaysAnAlert(t *testing.T) {
	var l Log
	l.Mute(1, true)
	for i := range 50 {
		l.Add(Event{At: at(0), Kind: SOS, Device: track.DeviceID(i % 2)})
	}
	wantLines(t, &l, "sos: 25 reports of sos", "sos: 25 reports of sos") // of the muted one, too
	if got := l.Alerting(); got != 1 {
		t.Errorf("%d alerting, want one line for all", got)
	}
	l.AckLast()
	l.Add(Event{At: at(0), Kind: SOS, Device: 4})
	if got := l.Alerting(); got != 1 {
		t.Error("one more after the storm was seen does not alert")
	}
	for range 30 {
		l.Add(Event{At: at(60), Kind: Refused})
	}
	if got := lines(&l); got[len(got)-1] != "denied: 30 times denied" {
		t.Errorf("%q", got)
	}
}

func TestEventuallyEveryStormIsSparse(t *testing.T) {
	var l Log
	for i := range 1000 { // five a second, for minutes: never more than twenty within one
		l.Add(Event{At: epoch.Add(time.Duration(i) * 200 * time.Millisecond), Kind: Jump, num: unknown})
	}
	if got := len(lines(&l)); got != 1000 {
		t.Errorf("%d lines", got)
	}
	for i := range 100_000 { // one long storm
		l.Add(Event{At: at(1000).Add(time.Duration(i) * time.Millisecond), Kind: Jump, num: unknown})
	}
	if got := lines(&l); len(got) != logSize-stormFrom || got[len(got)-1] != "jump: 100000 jumps" {
		t.Errorf("%d lines, the last is %q", len(got), got[len(got)-1])
	}
}

func TestWordsOfEvents(t *testing.T) {
	var l Log
	for i, e := range []Event{
		{Kind: Silent, span: 4*time.Minute + 2*time.Second, num: int64(30 * time.Second)},
		{Kind: Silent, span: 16 * time.Minute, num: int64(1500 * time.Millisecond), lost: true},
		{Kind: Back, span: 3 * time.Hour}, {Kind: LowBattery, num: 12}, {Kind: LowBattery, num: unknown},
		{Kind: SOS}, {Kind: Tamper, Times: 3}, {Kind: Jump, num: 412_345, span: 3 * time.Second}, {Kind: Jump, num: 800, span: 72 * time.Hour},
		{Kind: Jump, num: unknown}, {Kind: Appeared}, {Kind: Resynced, num: 40}, {Kind: Disconnected, Text: "no answer"}, {Kind: Refused},
	} {
		e.At, e.Device = at(i), 1
		l.Add(e)
	}
	wantLines(t, &l,
		"silent: silent for 4m, usually every 30s", "silent: lost, silent for 16m, usually every 1.5s",
		"back: back after 3h", "low battery: battery low, 12%", "low battery: battery low",
		"sos: reports sos", "tamper: reports tampering, 3 times", "jump: jumped 412 km in 3.0s", "jump: jumped 800 m in 3d",
		"jump: jumped", "new: first fix", "resynced: 40 fixes skipped: this viewer was too slow", "disconnected: no answer", "denied: denied")
	if Kind(99).String() != "" || Kind(99).OfLink() || !Resumed.OfLink() || SOS.OfLink() {
		t.Error("kinds are mixed up")
	}
}

func TestLogOfManyHands(t *testing.T) {
	var l Log
	var wg sync.WaitGroup
	for g := range 4 {
		wg.Go(func() {
			var buf []Event
			for i := range 500 {
				n := l.Add(Event{At: at(i), Kind: Kind(1 + g), Device: track.DeviceID(i)})
				l.Ack(n)
				l.AckLast()
				l.again(n, Silent, 1)
				l.turnLost(n, time.Hour)
				l.Mute(track.DeviceID(i), i%2 == 0)
				buf = l.Since(buf[:0], n-1)
				l.Alerting()
			}
		})
	}
	wg.Wait()
	if got := l.Since(nil, 0); len(got) == 0 || l.Version() < 2000 {
		t.Errorf("%d events, version %d", len(got), l.Version())
	}
}
