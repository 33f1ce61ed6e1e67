//go:build unix

package tui

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"regexp"
	"sync"
	"testing"
	"time"

	"tracker/pkg/client"
	"tracker/pkg/tui/canvas"
	"tracker/pkg/tui/fleet"
	"tracker/pkg/tui/tty"
	"tracker/pkg/tui/tuitest"
)

// What a measured feed sends: a server's frames, each of so many fixes, and how many of
// them wait for a viewer that does not take them before they are dropped.
const (
	measuredDevices = 400
	measuredBatches = 600
	measuredFixes   = 100
	measuredEvery   = 5 * time.Millisecond
	measuredWaiting = 64

	measuredStep  = time.Minute // of the devices' time, so that every frame differs
	measuredShare = measuredFixes / float64(measuredDevices)
)

// counting is a screen that counts its frames.
type counting struct {
	*screen
	mu     sync.Mutex
	frames int
}

func (c *counting) Draw(now time.Time) *canvas.Canvas {
	c.mu.Lock()
	c.frames++
	c.mu.Unlock()
	return c.screen.Draw(now)
}

func (c *counting) drawn() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.frames
}

// runMeasured is Run with a feed that is measured for a while. Then it tells on descriptor
// 3 how many fixes were sent, how many were applied, and how many frames were drawn.
func runMeasured(o Options) error {
	f, err := o.look(tty.Profile(os.Stdout, o.environ()))
	if err != nil {
		return err
	}
	store := o.store()
	s, err := newScreen(&o, store, f)
	if err != nil {
		return err
	}
	page := &counting{screen: s}
	report := os.NewFile(3, "report")
	go func() { // ends with the process
		fleet := tuitest.NewFleet(measuredDevices, 7, tuitest.Europe)
		sent, applied := sendMeasured(store, fleet)
		fmt.Fprintf(report, "%d %d %d\n", sent, applied, page.drawn())
		for range time.Tick(measuredEvery) {
			store.Apply(fleet.Step(measuredStep, measuredShare))
		}
	}()
	return tty.Run(context.Background(), page, tty.Config{Link: s.link})
}

// sendMeasured sends at a steady pace, and drops what the store does not take.
func sendMeasured(store *fleet.Store, f *tuitest.Fleet) (sent, applied int) {
	f.Clock = time.Now()
	store.Snapshot(f.Step(time.Second, 1), true, false)
	store.SetLink(fleet.Live, "")

	line := make(chan []client.Fix, measuredWaiting)
	taken := make(chan struct{})
	go func() { // as the stream of a watch does
		defer close(taken)
		for fixes := range line {
			store.Apply(fixes)
			applied += len(fixes)
		}
	}()
	pace := time.NewTicker(measuredEvery)
	defer pace.Stop()
	for range measuredBatches {
		<-pace.C
		fixes := f.Step(measuredStep, measuredShare)
		sent += len(fixes)
		select {
		case line <- fixes:
		default: // dropped
		}
	}
	close(line)
	<-taken
	return sent, applied
}

// fewer is how many frames a second the map allows itself.
var fewer = regexp.MustCompile(`(\d+) fps, slow link`)

// A terminal that takes 20 kB a second, or one behind a line that takes a megabyte at once,
// delays no fix; it only gets fewer frames, and says so.
func TestSlowTerminalDelaysNoFix(t *testing.T) {
	const slowly = 20_000
	for _, tt := range []struct {
		name     string
		buffered int // -1: it is fast
		env      string
	}{
		{"fast", -1, "SSH_TTY="}, {"slow", 0, "SSH_TTY="}, {"slow and far", 1 << 20, "SSH_TTY=/dev/pts/1"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			tm := tuitest.Prepare(t, 200, 60, "measured", tt.env)
			near, far, err := os.Pipe()
			if err != nil {
				t.Fatal(err)
			}
			defer near.Close()
			tm.Cmd.ExtraFiles = []*os.File{far}
			tm.Start()
			_ = far.Close()
			var slow *tuitest.Slow
			if tt.buffered < 0 {
				tm.Listen()
			} else {
				slow = tm.ListenSlowly(slowly, tt.buffered)
			}
			if err := near.SetReadDeadline(time.Now().Add(30 * time.Second)); err != nil {
				t.Fatal(err)
			}
			said, err := bufio.NewReader(near).ReadString('\n')
			var sent, applied, drawn int
			if n, _ := fmt.Sscan(said, &sent, &applied, &drawn); n != 3 {
				t.Fatalf("the feed said %q: %v", said, err)
			}
			t.Logf("%d fixes sent, %d applied, %d frames drawn, %d bytes taken", sent, applied, drawn, len(tm.Raw()))
			if sent < measuredBatches*measuredFixes/2 || applied*100 < sent*99 {
				t.Errorf("%d of %d fixes were applied", applied, sent)
			}
			if slow != nil {
				tm.Eventually("tell of few frames", func() bool {
					m := fewer.FindStringSubmatch(tm.Text())
					return m != nil && m[1] != "10"
				})
			}
			tm.Send("?")
			tm.Sees("Keys")
			tm.Send("q")
			if slow != nil {
				slow.Hurry()
				if n := slow.Most(); tt.buffered > 0 && n > 256<<10 {
					t.Errorf("%d bytes stood before a terminal that takes %d a second", n, slowly)
				}
			}
			raw, err := tm.Ends()
			if err != nil {
				t.Error(err)
			}
			tuitest.Restored(t, raw)
		})
	}
}
