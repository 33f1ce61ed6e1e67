package load

import (
	"context"
	"os"
	"os/exec"
	"reflect"
	"strings"
	"testing"
	"time"
)

func shell(script string) *exec.Cmd { return exec.Command("sh", "-c", script) }

func isReady(line string) bool { return strings.HasPrefix(line, "ready") }

func TestAChildIsReadyWhenItSaysSo(t *testing.T) {
	c, err := StartChild(t.Context(), shell("echo first; echo ready now; echo more; exec sleep 60"), "sleeper", isReady)
	if err != nil {
		t.Fatal(err)
	}
	if c.Ready != "ready now" || c.PID == 0 {
		t.Error(c.Ready, c.PID)
	}
	if err := c.Stop(); err != nil {
		t.Error(err)
	}
	if err := c.Stop(); err != nil {
		t.Error("again:", err)
	}
}

func TestAChildThatFailsSaysWhy(t *testing.T) {
	_, err := StartChild(t.Context(), shell("echo no such thing >&2; exit 3"), "loser", isReady)
	if err == nil || !strings.Contains(err.Error(), "no such thing") || !strings.Contains(err.Error(), "start loser") {
		t.Error(err)
	}
	if _, err := StartChild(t.Context(), exec.Command("no-such-program-at-all"), "ghost", isReady); err == nil {
		t.Error("it started")
	}
}

func TestAChildThatIsNeverReadyIsEnded(t *testing.T) {
	ctx, giveUp := context.WithCancel(t.Context())
	never := func(string) bool { giveUp(); return false }
	if _, err := StartChild(ctx, shell("echo almost; exec sleep 60"), "mute", never); err == nil || !strings.Contains(err.Error(), "almost") {
		t.Error(err)
	}
}

func TestProcessTellsCPUAndMemory(t *testing.T) {
	self := &Process{PID: os.Getpid()}
	before, ok := self.CPU()
	if !ok {
		t.Skip("this system does not say")
	}
	for n := 0; ; n++ { // until the system's clock of it moves
		if now, _ := self.CPU(); now > before {
			break
		}
	}
	if rss, ok := self.RSS(); !ok || rss < 1<<20 {
		t.Error(rss, ok)
	}
	for _, p := range []*Process{nil, {PID: 1 << 30}} {
		if _, ok := p.CPU(); ok {
			t.Error(p, "tells its CPU")
		}
		if _, ok := p.RSS(); ok {
			t.Error(p, "tells its memory")
		}
	}
}

func TestParseRanges(t *testing.T) {
	for s, want := range map[string][]int{
		"0-1": {0, 1}, "0-2,7": {0, 1, 2, 7}, "3": {3}, "": nil, "x": nil, "4-2": nil, "0-99999999": nil,
	} {
		if got := parseRanges(s); !reflect.DeepEqual(got, want) {
			t.Errorf("%q: %v, want %v", s, got, want)
		}
	}
}

func TestRecordManyIsRecordManyTimes(t *testing.T) {
	one, many := NewRecorder(), NewRecorder()
	for _, d := range []time.Duration{-1, time.Millisecond, time.Second, 2 * time.Minute} {
		for range 7 {
			one.Record(d)
		}
		many.RecordMany(d, 7)
	}
	if got, want := many.Summary(), one.Summary(); !reflect.DeepEqual(got, want) {
		t.Errorf("%+v, want %+v", got, want)
	}
}
