package tell

import (
	"bufio"
	"cmp"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"tracker/pkg/client"
	"tracker/pkg/geo"
	"tracker/pkg/tui/canvas"
	"tracker/pkg/tui/fleet"
	"tracker/pkg/tui/tuitest"
)

func dialogue(t *testing.T, o Options, typed ...string) string {
	t.Helper()
	var out strings.Builder
	clock := tuitest.NewClock()
	store := fleet.New(fleet.Config{Now: clock.Now})
	f := tuitest.NewFleet(24, 3, tuitest.Europe)
	f.Fixes[5].Name, f.Fixes[6].Event, f.Fixes[7].Has = "Müll <5>\x1b[2J", "sos", 0
	fixes := f.Step(time.Second, 1)
	store.Snapshot(fixes, true, false)
	clock.At = f.Clock
	teller := newTeller(&out, store, &o)
	for _, q := range typed {
		out.WriteString(canvas.Clean(q) + "\n")
		if err := teller.answer(question{text: q}); err != nil && !errors.Is(err, errQuit) {
			t.Fatal(err)
		}
		clock.Advance(time.Second)
	}
	return out.String()
}

func TestDialogues(t *testing.T) {
	for name, typed := range map[string][]string{
		"where":  {"where van-0003", "where VAN-0003", "where müll", "where MULL", "where 0000000003ec", "where van", "where nobody", "where", "where van-0007", "w van-0003", "van-0003"},
		"near":   {"near 48.14,11.58", "near Paris", "near krakow", "near van-0003", "near van-0007", "near nowhere", "near 91,0"},
		"who":    {"who", "list state:idle", "follow van-0003", "summary", "follow", "follow x", "stop"},
		"held":   {"", "where van-0003", "", "hold", "summary", "go"},
		"others": {"help", "events", "alerts", "ack", "e", "h", "sing", "\x1b[2J\x07", "quit"},
	} {
		tuitest.Golden(t, "dialogue-"+name, dialogue(t, Options{}, typed...))
	}
}

func TestAFilterNarrowsTheNews(t *testing.T) {
	out := dialogue(t, Options{}, "filter name:van-0003", "list", "summary", "filter", "filter speed>>3", "list (", "filter \x1b[2J(")
	for _, want := range []string{
		"\nNews of 1 of 24 devices, 1 ", "; calls for help are told of all.\n", "\n1 device.\nvan-0003: moving ", "summary: 1 of 24 devices, 1 ",
		"\nNews of all devices: 24 devices, ", "filter speed>>3\nThat filter is not right at character ", "list (\nThat filter is not right at character ",
	} {
		if !strings.Contains(out, want) {
			t.Errorf("nothing says %q in\n%s", want, out)
		}
	}
}

func TestQuestionsAreBounded(t *testing.T) {
	long := strings.Repeat("x", 1<<20)
	r := bufio.NewReaderSize(strings.NewReader(long+"\nhelp\r\nlast"), maxQuestion)
	for _, want := range []question{{long: true}, {text: "help"}, {text: "last", end: true}, {end: true}} {
		if got := readQuestion(r); got != want {
			t.Errorf("%+v, want %+v", got, want)
		}
	}
}

func FuzzAnswer(f *testing.F) {
	for _, q := range []string{"where van", "near 1,1", "list state:moving", "filter (", "follow \x1b[2J", "near Köln", "events", "ack", "", "help", "summary", "\xff"} {
		f.Add(q)
	}
	store := fleet.New(fleet.Config{Now: tuitest.NewClock().Now})
	store.Snapshot(tuitest.Vans(30), true, false)
	f.Fuzz(func(t *testing.T, q string) {
		l := &listener{}
		teller := newTeller(l, store, &Options{})
		if err := teller.answer(question{text: q}); err != nil && !errors.Is(err, errQuit) {
			t.Fatal(err)
		}
		l.audible(t)
		if n := strings.Count(l.raw.String(), "\n"); n > len(verbs())+1 || strings.ContainsAny(l.raw.String(), "\x1b\x07\r") {
			t.Errorf("%d lines: %q", n, l.raw.String())
		}
	})
}

func TestTheNearestComesFirst(t *testing.T) {
	store := fleet.New(fleet.Config{Now: tuitest.NewClock().Now})
	store.Snapshot(tuitest.Vans(200), true, false)
	var out strings.Builder
	at := geo.Deg(48, 11)
	teller := newTeller(&out, store, &Options{})
	if err := teller.answer(question{text: "near 48,11"}); err != nil {
		t.Fatal(err)
	}
	fixes := tuitest.Vans(200)
	slices.SortFunc(fixes, func(a, b client.Fix) int { return cmp.Compare(geo.Distance(at, a.At), geo.Distance(at, b.At)) })
	var got, want []string
	for line := range strings.Lines(out.String()) {
		name, _, _ := strings.Cut(line, ":")
		got = append(got, name)
	}
	for _, f := range fixes[:nearMax] {
		want = append(want, f.Name)
	}
	if !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}
