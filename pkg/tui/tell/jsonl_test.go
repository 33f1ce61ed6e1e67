package tell

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"maps"
	"reflect"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"tracker/pkg/client"
	"tracker/pkg/track"
	"tracker/pkg/tui/fleet"
	"tracker/pkg/tui/tuitest"
)

// script is a feed that plays events and then waits to be closed, or ends with an error.
type script struct {
	events []client.Event
	pause  time.Duration
	end    error
	closed chan struct{}
	once   sync.Once
}

func newScript(events ...client.Event) *script {
	return &script{events: events, closed: make(chan struct{})}
}

func (s *script) Close() { s.once.Do(func() { close(s.closed) }) }

func (s *script) Events() iter.Seq2[client.Event, error] {
	return func(yield func(client.Event, error) bool) {
		for _, e := range s.events {
			select {
			case <-s.closed:
				yield(client.Event{}, track.ErrClosed)
				return
			case <-time.After(s.pause):
			}
			if !yield(e, nil) {
				return
			}
		}
		if s.end == nil {
			<-s.closed
			s.end = track.ErrClosed
		}
		yield(client.Event{}, s.end)
	}
}

// written plays a script for a while and returns the fixes and the events that were written.
func written(t *testing.T, d time.Duration, feed *script, only func(*client.Fix) bool) (fixes []client.Fix, events []map[string]any) {
	t.Helper()
	var out bytes.Buffer
	synctest.Test(t, func(t *testing.T) {
		feed.closed = make(chan struct{}) // of this bubble
		ctx, cancel := context.WithTimeout(t.Context(), d)
		defer cancel()
		if err := JSONL(ctx, &out, feed, fleet.New(fleet.Config{}), Only{Wants: only}); err != nil {
			t.Error(err)
		}
	})
	for line := range strings.Lines(out.String()) {
		var object map[string]any
		if err := json.Unmarshal([]byte(line), &object); err != nil {
			t.Fatalf("%v: %s", err, line)
		}
		for _, fault := range faults(t, []byte(line)) {
			t.Errorf("%s: %s", fault, line)
		}
		if object["type"] != "fix" {
			events = append(events, object)
			continue
		}
		var f client.Fix
		if err := json.Unmarshal([]byte(line), &f); err != nil {
			t.Fatalf("%v: %s", err, line)
		}
		if want := strings.Replace(string(f.AppendJSON(nil)), "{", `{"type":"fix",`, 1) + "\n"; line != want {
			t.Errorf("%s, want %s", line, want)
		}
		fixes = append(fixes, f)
	}
	return fixes, events
}

// at is a fix of a device some seconds after the start of a bubble of synctest.
func at(id track.DeviceID, seconds int) client.Fix {
	when := time.Date(2000, 1, 1, 0, 0, seconds, 0, time.UTC)
	return tuitest.Fix(id, "van-\x1b"+id.String(), when, 48, 11)
}

func TestLinesAreThoseOfWatch(t *testing.T) {
	late := at(1, 0)
	late.Late = true
	fixes, events := written(t, time.Minute, newScript(
		client.Event{Kind: client.Snapshot, First: true, More: true, Fixes: []client.Fix{at(1, 0)}},
		client.Event{Kind: client.Snapshot, Fixes: []client.Fix{at(2, 0)}},
		client.Event{Kind: client.Fixes, Fixes: []client.Fix{at(1, 1), at(2, 1), late}},
		client.Event{Kind: client.Disconnected, Err: errors.New("reset by peer"), RetryIn: time.Second},
		client.Event{Kind: client.Snapshot, First: true, Fixes: []client.Fix{at(1, 1), at(2, 2)}}, // van 1 has no news
		client.Event{Kind: client.Resync, Skipped: 7, Fixes: []client.Fix{at(1, 3), at(2, 2)}},
		client.Event{Kind: client.Fixes, Left: []track.DeviceID{2}},
		client.Event{Kind: client.Snapshot, Fixes: []client.Fix{at(1, 3), at(2, 2)}}, // it is back, and new
	), nil)
	want := []client.Fix{at(1, 0), at(2, 0), at(1, 1), at(2, 1), late, at(2, 2), at(1, 3), at(2, 2)}
	if !reflect.DeepEqual(fixes, want) {
		t.Errorf("got\n%+v\nwant\n%+v", fixes, want)
	}
	var types []string
	for _, e := range events {
		types = append(types, e["type"].(string))
	}
	if got := strings.Join(types, " "); !strings.Contains(got, "disconnected") || !strings.Contains(got, "resumed") || !strings.Contains(got, "resynced") {
		t.Errorf("events %q", got)
	}
}

func TestEventsHaveATypeAndFollowTheirFixes(t *testing.T) {
	sos := at(3, 1)
	sos.Event, sos.Name = "sos", "a\"b"
	fixes, events := written(t, time.Minute, newScript(
		client.Event{Kind: client.Snapshot, First: true, Fixes: []client.Fix{at(1, 0)}},
		client.Event{Kind: client.Fixes, Fixes: []client.Fix{sos}},
	), nil)
	if len(fixes) != 2 {
		t.Errorf("%+v", fixes)
	}
	var alarm map[string]any
	for _, e := range events {
		if e["type"] == "sos" {
			alarm = e
		}
	}
	want := map[string]any{"type": "sos", "n": alarm["n"], "time": "2000-01-01T00:00:00Z", "device": "000000000003", "name": `a"b`, "text": "reports sos", "times": 1.0}
	if !reflect.DeepEqual(alarm, want) {
		t.Errorf("got %v\nwant %v\nof %v", alarm, want, events)
	}
}

func TestSilenceIsWrittenWhileNothingComes(t *testing.T) {
	_, events := written(t, 10*time.Minute, newScript(
		client.Event{Kind: client.Snapshot, First: true, Fixes: []client.Fix{at(1, 0)}},
		client.Event{Kind: client.Fixes, Fixes: []client.Fix{at(1, 5)}},
		client.Event{Kind: client.Fixes, Fixes: []client.Fix{at(1, 10)}},
	), nil)
	found := false
	for _, e := range events {
		found = found || e["type"] == "silent" && e["device"] == "000000000001"
	}
	if !found {
		t.Errorf("%v", events)
	}
}

func TestWhatGoesOnIsWrittenAgain(t *testing.T) {
	var many []client.Fix
	for i := range 30 {
		many = append(many, at(track.DeviceID(10+i), 1))
	}
	_, events := written(t, time.Hour, newScript(
		client.Event{Kind: client.Snapshot, First: true, Fixes: []client.Fix{at(1, 0)}},
		client.Event{Kind: client.Fixes, Fixes: many[:25]},
		client.Event{Kind: client.Fixes, Fixes: append(many[25:], at(1, 5))},
	), nil)
	var grown, lost []string
	for _, e := range events {
		switch {
		case e["type"] == "new" && e["device"] == nil:
			grown = append(grown, fmt.Sprint(e["n"], " ", e["times"], " ", e["text"]))
		case e["type"] == "silent" && e["device"] == "000000000001":
			lost = append(lost, fmt.Sprint(e["text"]))
		}
	}
	if want := []string{"21 25 25 new devices", "21 30 30 new devices"}; !slices.Equal(grown, want) {
		t.Errorf("%q, want %q", grown, want)
	}
	if len(lost) != 2 || !strings.HasPrefix(lost[0], "silent for 2m") || !strings.HasPrefix(lost[1], "lost, silent for 15m") {
		t.Errorf("%q", lost)
	}
}

func TestOnlyWhatIsMeantIsWritten(t *testing.T) {
	fixes, _ := written(t, time.Minute, newScript(
		client.Event{Kind: client.Snapshot, First: true, Fixes: []client.Fix{at(1, 0), at(2, 0)}},
		client.Event{Kind: client.Fixes, Fixes: []client.Fix{at(1, 1), at(2, 1)}},
	), func(f *client.Fix) bool { return f.Device == 2 })
	if want := []client.Fix{at(2, 0), at(2, 1)}; !reflect.DeepEqual(fixes, want) {
		t.Errorf("%+v", fixes)
	}
}

func TestLinesEndWithTheirReaderOrTheWatch(t *testing.T) {
	present := client.Event{Kind: client.Snapshot, First: true, Fixes: []client.Fix{at(1, 0)}}
	refused := errors.New("token expired")
	for name, tt := range map[string]struct {
		write, end, want error
	}{
		"nobody reads": {write: syscall.EPIPE}, "disk full": {write: syscall.ENOSPC, want: syscall.ENOSPC},
		"watch closed": {end: track.ErrClosed}, "refused": {end: refused, want: refused},
	} {
		synctest.Test(t, func(t *testing.T) {
			feed := newScript(present, present)
			feed.pause, feed.end = time.Minute, tt.end
			var w io.Writer = &bytes.Buffer{}
			if tt.write != nil {
				w = brokenPipe{tt.write}
			}
			if err := JSONL(t.Context(), w, feed, fleet.New(fleet.Config{}), Only{}); !errors.Is(err, tt.want) {
				t.Errorf("%s: %v", name, err)
			}
			select {
			case <-feed.closed:
			default:
				t.Errorf("%s: the watch was left open", name)
			}
		})
	}
}

func TestTypesAreWords(t *testing.T) {
	for k := fleet.Silent; k <= fleet.Refused; k++ {
		if got := typeOf(k); got == "" || strings.ContainsAny(got, " -") {
			t.Errorf("%v is called %q", k, got)
		}
	}
}

// What is kept of devices is of those that are there, however long it goes on.
func TestLinesForgetWhoIsGone(t *testing.T) {
	gone := map[track.DeviceID]int{}
	l := &lineWriter{
		w: bufio.NewWriter(io.Discard), store: fleet.New(fleet.Config{}), newest: map[track.DeviceID]newest{}, written: map[uint64]goings{},
		only: Only{Gone: func(id track.DeviceID) { gone[id]++ }},
	}
	for _, e := range []client.Event{
		{Kind: client.Snapshot, First: true, Fixes: []client.Fix{at(1, 0), at(2, 0), at(3, 0)}},
		{Kind: client.Fixes, Fixes: []client.Fix{at(4, 1)}, Left: []track.DeviceID{1}},
		{Kind: client.Disconnected, Err: errors.New("reset by peer")},
		{Kind: client.Snapshot, First: true, More: true, Fixes: []client.Fix{at(2, 0)}}, // breaks off
		{Kind: client.Snapshot, First: true, More: true, Fixes: []client.Fix{at(2, 0)}},
		{Kind: client.Fixes, Fixes: []client.Fix{at(5, 2)}},
		{Kind: client.Snapshot, Fixes: []client.Fix{at(6, 2)}},
		{Kind: client.Resync, Fixes: []client.Fix{at(6, 3)}}, // of what changed
	} {
		if err := l.take(&e); err != nil {
			t.Fatal(err)
		}
	}
	if got := slices.Sorted(maps.Keys(l.newest)); !slices.Equal(got, []track.DeviceID{2, 5, 6}) {
		t.Errorf("%v are remembered", got)
	}
	if want := (map[track.DeviceID]int{1: 1, 3: 1, 4: 1}); !maps.Equal(gone, want) {
		t.Errorf("%v are gone, want %v", gone, want)
	}
}
