package tell

import (
	"io"
	"strings"
	"testing"
	"time"

	"tracker/pkg/client"
	"tracker/pkg/geo"
	"tracker/pkg/track"
	"tracker/pkg/tui/fleet"
	"tracker/pkg/tui/tuitest"
)

func TestSentencesSayWhereADeviceIs(t *testing.T) {
	clock := tuitest.NewClock()
	store := fleet.New(fleet.Config{Now: clock.Now})
	moto := tuitest.Fix(1, "moto-3", tuitest.Epoch, 47.07, 15.44)
	moto.Has |= track.HasVel | track.HasBat
	moto.Speed, moto.Course, moto.Battery = 36.7, 315, 22
	help, still, sea := moto, moto, moto
	help.Device, help.Name, help.Event = 2, "help", "sos"
	still.Device, still.Name, still.Speed, still.Event = 3, "still", 0.1, "power_lost\x1b[2J"
	sea.Device, sea.Name, sea.At, sea.Has = 4, "sea", geo.Deg(-40, -120), track.HasPos
	store.Snapshot([]client.Fix{moto, help, still, sea, {Device: 5, Name: "x", Time: tuitest.Epoch, Received: tuitest.Epoch}}, true, false)
	clock.Advance(time.Second)
	n := newTeller(io.Discard, store, &Options{})
	masked := newTeller(io.Discard, store, &Options{Mask: fleet.NewMask()})
	n.refresh()
	masked.refresh()
	for _, tt := range []struct {
		got  []string
		want string
	}{
		{n.full(0), "moto-3: moving north-west at 132 kilometres an hour, in Graz|47.07000 north, 15.44000 east. Battery 22 percent. Heard 1 second ago"},
		{n.full(1), "help calls for help, moving north-west at 132 kilometres an hour, in Graz|47.07000 north, 15.44000 east. Battery 22 percent. Heard 1 second ago"},
		{n.full(2), "still: idle, in Graz|47.07000 north, 15.44000 east. Battery 22 percent. Reports power lost?[2J. Heard 1 second ago"},
		{n.full(3), "sea: idle, 40.00000 south, 120.00000 west|Heard 1 second ago"},
		{n.full(4), "x: idle, no place known|Heard 1 second ago"},
		{masked.full(3), masked.mask.Name(4, "") + ": idle, about 40.0 south, 120.0 west|Heard 1 second ago"},
		{n.full(99), ""},
	} {
		if got := strings.Join(tt.got, "|"); got != tt.want {
			t.Errorf("%q, want %q", got, tt.want)
		}
	}
	clock.Advance(time.Hour)
	n.refresh()
	if got, want := n.brief(3), "sea: lost, not heard for 60 minutes, 40.00000 south, 120.00000 west"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}

func TestVoiceLeavesWhatCanBeRead(t *testing.T) {
	for in, want := range map[string]string{
		"van-0417":        "van-0417",
		"Küste №5 — Nord": "Küste 5 — Nord",
		"●▲ 🚚 truck 🚚":    "truck",
		"東京 العربية":      "東京 العربية",
		"a\nb\x1b[31m":    "a?b?[31m",
		"→":               "",
	} {
		if got := voice(in); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
	for in, want := range map[string]string{
		"silent for 4m": "silent for 4 minutes", "back after 1h": "back after 1 hour", "jumped 412 m in 3.5s": "jumped 412 metres in 3 seconds", "jumped 412 km in 0.5s": "jumped 412 kilometres in less than 1 second", "12%": "12 percent", "b2d": "b2d",
	} {
		if got := spelled(in); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
}

func TestNothingLeaksThroughTheMask(t *testing.T) {
	mask := fleet.NewMask()
	secret := tuitest.Fix(0xabcdef, "secret-van", time.Now(), 48.13743, 11.57549)
	secret.Event = "sos"
	l := told(t, 30*time.Second, Options{Mask: mask}, func(s *fleet.Store, typed io.Writer) {
		secret.Time, secret.Received = time.Now(), time.Now()
		s.Snapshot([]client.Fix{secret, tuitest.Fix(2, "otto", time.Now(), 48.2, 11.6)}, true, false)
		s.Events().Add(fleet.Event{At: time.Now(), Kind: fleet.Silent, Device: 0xabcdef, Name: "secret-van", Text: "silent for 4m"})
		name := mask.Name(0xabcdef, "")
		for _, q := range []string{"list", "where " + name, "near " + name, "near Munich", "follow " + name, "events", "summary", "where secret", "where 000000abcdef"} {
			_, _ = io.WriteString(typed, q+"\n")
		}
		wait(5 * time.Second)
		secret.Time = time.Now()
		s.Apply([]client.Fix{secret})
	})
	heard := strings.ReplaceAll(l.raw.String(), `called "secret"`, "") // that was typed here
	heard = strings.ReplaceAll(heard, `called "000000abcdef"`, "")
	for _, word := range []string{"secret", "abcdef", "48.13", "11.57", "Munich", "otto"} {
		if strings.Contains(heard, word) {
			t.Errorf("%q is told:\n%s", word, heard)
		}
	}
	if l.has("about 48.1 north, 11.6 east") == 0 {
		t.Errorf("and nothing else:\n%s", heard)
	}
}

func TestDistancesDoNotSayMoreThanTheMask(t *testing.T) {
	mask := fleet.NewMask()
	store := fleet.New(fleet.Config{Now: tuitest.NewClock().Now})
	store.Snapshot([]client.Fix{tuitest.Fix(1, "a", tuitest.Epoch, 48.13743, 11.57549), tuitest.Fix(2, "b", tuitest.Epoch, 48.06, 11.64)}, true, false)
	for mask.Name(1, "") == mask.Name(2, "") {
		mask = fleet.NewMask() // once in tens of thousands
	}
	a, b := mask.Name(1, ""), mask.Name(2, "")
	for ask, want := range map[string]string{
		"near 48.1,11.6": a + ": here, idle.\n" + b + ": here, idle.\n",
		"near " + a:      b + ": here, idle.\n",
	} {
		var out strings.Builder
		if err := newTeller(&out, store, &Options{Mask: mask}).answer(question{text: ask}); err != nil || out.String() != want {
			t.Errorf("%s: %q, %v, want %q", ask, out.String(), err, want)
		}
	}
}
