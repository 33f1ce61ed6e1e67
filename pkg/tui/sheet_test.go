package tui

import (
	"context"
	"errors"
	"fmt"
	"io"
	"runtime"
	"strings"
	"testing"
	"time"

	"tracker/pkg/tui/canvas"
	"tracker/pkg/tui/tty"
)

// commands are a program's, for tests. Each verb tells what it was given, but for those of
// do, which do something else.
type commands map[string]func(ctx context.Context, out io.Writer) error

func (c commands) cli() *CLI {
	return &CLI{
		Verbs: []Verb{
			{Name: "device", Help: "Look after devices", Verbs: []Verb{
				{Name: "list", Help: "List the devices", Flags: []Flag{{Name: "filter", Value: "filter", Help: "only these"}, {Name: "json", Help: "print JSON"}}},
				{Name: "show", Args: "DEVICE", Help: "Show a device"},
				{Name: "enroll", Args: "NAME", Help: "Make a device", Not: "it shows a key"},
			}},
			{Name: "history", Args: "DEVICE", Help: "Where a device was", Flags: []Flag{{Name: "from", Value: "time", Help: "first time"}}},
			{Name: "maps", Args: "MAP DEVICE...", Help: "Put devices on a map"},
			{Name: "map", Help: "The live map", Not: "this is the map"},
			{Name: "status", Help: "How the server is"},
			{Name: "help", Args: "COMMAND...", Help: "What a command does", Public: true},
		},
		Run: func(ctx context.Context, words []string, out io.Writer) error {
			if do := c[words[0]]; do != nil {
				return do(ctx, out)
			}
			_, err := fmt.Fprintf(out, "was told %q\n", words)
			return err
		},
	}
}

// with gives a rig commands. Its map ends with the test, and nothing may be left of them.
func (r *rig) with(c commands) *rig {
	ctx, leave := context.WithCancel(context.Background())
	js := &jobs{ctx: ctx, cli: c.cli(), guard: tty.Config{}.Guard, now: r.clock.Now}
	r.jobs = js
	r.see.T.Cleanup(func() { leave(); js.wait() })
	return r
}

// told types a line into the palette and waits until what it started has ended.
func (r *rig) told(line string) *rig {
	r.see.T.Helper()
	r.press(":").types(line).prompts("enter")
	r.settle()
	return r
}

// settle waits for the end of a command.
func (r *rig) settle() {
	r.jobs.wait()
	r.compose()
}

func TestACommandIsRunAndItsAnswerLaidOverTheMap(t *testing.T) {
	r := newRig(t, 120, 40, "plain").load(vans(5)...).with(nil)
	r.told(`device list --filter 'van speed>50' --json`)
	r.shows("device list --filter 'van speed>50' --json", `was told ["device" "list" "--filter" "van speed>50" "--json"]`, "esc closes", "5 dev")
	r.prompts("esc").hides("was told", "esc closes")
	r.told(`history "a \"b" c\ d`).shows(`["history" "a \"b" "c d"]`)
}

func TestTheMapGoesOnBelowASheetAndItsOtherKeysToo(t *testing.T) {
	r := newRig(t, 120, 40, "plain").load(vans(5)...).with(nil).told("status")
	zoom := r.view.Zoom
	r.prompts("+").shows("was told")
	if r.view.Zoom <= zoom {
		t.Error("the map does not zoom below a sheet")
	}
	r.prompts("?").shows("Keys").prompts("esc").hides("Keys").shows("was told")
	r.prompts("q").hides("was told")
	if r.quit {
		t.Error("q closed the map, not the sheet")
	}
	if r.prompts("q"); !r.quit {
		t.Error("q does not close the map")
	}
}

func TestASheetIsScrolledThrough(t *testing.T) {
	many := commands{"status": func(_ context.Context, out io.Writer) error {
		for i := range 300 {
			fmt.Fprintf(out, "line %03d %s<end>\n", i, strings.Repeat("·", 100))
		}
		return nil
	}}
	r := newRig(t, 80, 24, "plain").load(vans(5)...).with(many).told("status")
	rows := r.sheetBox("status").inner().h
	r.shows("line 000", fmt.Sprintf("1-%d of 300", rows)).hides("<end>")
	for _, tt := range []struct {
		key   string
		first int
	}{
		{"j", 1}, {"down", 2}, {"k", 1}, {"up", 0}, {"k", 0}, {"pgdown", rows - 1}, {"space", 2 * (rows - 1)}, {"pgup", rows - 1},
		{"G", 300 - rows}, {"j", 300 - rows}, {"end", 300 - rows}, {"g", 0}, {"end", 300 - rows}, {"home", 0},
	} {
		if r.prompts(tt.key); r.sheet.top != tt.first {
			t.Errorf("%s leads to line %d, want %d", tt.key, r.sheet.top, tt.first)
		}
		r.shows(fmt.Sprintf("line %03d", tt.first))
	}
	for range 30 {
		r.prompts("l")
	}
	r.shows("<end>").hides("line 0")
	for range 30 {
		r.prompts("left")
	}
	r.shows("line 000")
	in := r.sheetBox("status").inner()
	wheel := tty.Event{Kind: tty.Wheel, Button: tty.WheelDown, X: in.x + 1, Y: in.y + 1}
	zoom := r.view.Zoom
	r.Handle(wheel)
	if r.sheet.top != 3 || r.view.Zoom != zoom {
		t.Errorf("the wheel leads to line %d, and the map from z%v to z%v", r.sheet.top, zoom, r.view.Zoom)
	}
	wheel.Y = 2
	if r.Handle(wheel); r.view.Zoom >= zoom {
		t.Error("beside the sheet the wheel does not zoom the map")
	}
}

// blocked is a command that says something, and then nothing until it is stopped.
func blocked(said chan<- struct{}) func(context.Context, io.Writer) error {
	return func(ctx context.Context, out io.Writer) error {
		fmt.Fprintln(out, "one moment")
		said <- struct{}{}
		<-ctx.Done()
		return ctx.Err()
	}
}

func TestARunningCommandTellsSecondsAndIsStopped(t *testing.T) {
	said := make(chan struct{}, 1)
	r := newRig(t, 80, 24, "plain").load(vans(5)...).with(commands{"status": blocked(said)})
	r.press(":").types("status").prompts("enter")
	<-said
	r.compose()
	r.shows("status · 0 s, esc stops", "one moment")
	if r.sheetDue() {
		t.Error("a sheet calls for frames while nothing is new")
	}
	if fmt.Fprintln(r.sheet.job, "more"); !r.Due(r.clock.At) {
		t.Error("what a command says does not call for a frame")
	}
	if r.clock.Advance(time.Second); !r.sheetDue() {
		t.Error("the seconds do not call for a frame")
	}
	r.compose()
	r.shows("status · 1 s, esc stops")
	job := r.sheet.job
	r.prompts("esc").hides("one moment")
	r.settle() // hangs unless it was stopped
	if lines, p := job.read(r.clock.At); !p.ended || p.failed || lines[len(lines)-1].text != "stopped" {
		t.Errorf("%+v, %v", p, lines)
	}
}

func TestACommandThatIsSilentIsSeenToRun(t *testing.T) {
	silent := commands{"status": func(ctx context.Context, _ io.Writer) error { <-ctx.Done(); return nil }}
	r := newRig(t, 80, 24, "plain").load(vans(5)...).with(silent)
	r.press(":").types("status").prompts("enter").shows("status · 0 s, esc stops").prompts("esc").hides("esc stops")
}

func TestTheEndOfASheetStaysInSight(t *testing.T) {
	said := make(chan struct{}, 1)
	r := newRig(t, 80, 24, "plain").load(vans(5)...).with(commands{"status": blocked(said)})
	r.press(":").types("status").prompts("enter")
	<-said
	more := func(from, to int) {
		for i := from; i < to; i++ {
			fmt.Fprintf(r.sheet.job, "line %02d\n", i)
		}
		r.compose()
	}
	more(0, 30)
	r.shows("line 00").hides("line 29").prompts("G").shows("line 29")
	more(30, 40)
	r.shows("line 39").prompts("k").hides("line 39")
	more(40, 50)
	r.hides("line 39", "line 49")
}

func TestASecondCommandStopsTheFirst(t *testing.T) {
	said := make(chan struct{}, 1)
	r := newRig(t, 80, 24, "plain").load(vans(5)...).with(commands{"status": blocked(said)})
	r.press(":").types("status").prompts("enter")
	<-said
	r.told("device list").shows("was told").hides("one moment") // and told waits for both
}

func TestNoGoroutineIsLeftOfACommandWhenTheMapEnds(t *testing.T) {
	before := runtime.NumGoroutine()
	ctx, leave := context.WithCancel(context.Background())
	said := make(chan struct{}, 1)
	js := &jobs{ctx: ctx, cli: commands{"status": blocked(said)}.cli(), guard: tty.Config{}.Guard, now: time.Now}
	j := js.start([]string{"status"})
	<-said
	leave()
	js.wait()
	if _, p := j.read(time.Now()); !p.ended {
		t.Error("wait does not wait")
	}
	// A goroutine that has said that it is done may still be counted for a moment.
	for deadline := time.Now().Add(10 * time.Second); runtime.NumGoroutine() > before; runtime.Gosched() {
		if time.Now().After(deadline) {
			t.Fatalf("%d goroutines, %d before", runtime.NumGoroutine(), before)
		}
	}
}

func TestWhatFailedIsToldAsTheProgramTellsIt(t *testing.T) {
	fails := commands{
		"status": func(context.Context, io.Writer) error {
			return errors.New("trackctl: no\ntrackctl: hint: try " + strings.Repeat("this ", 30))
		},
		"history": func(context.Context, io.Writer) error { return nil },
		"maps":    func(context.Context, io.Writer) error { panic("on\x1b[2J purpose") },
	}
	r := newRig(t, 80, 24, "plain").load(vans(5)...).with(fails)
	r.told("status").shows("status · failed", "trackctl: no", "trackctl: hint: try this").hides("…")
	r.told("history x").shows("there is nothing to say").hides("failed")
	r.told("maps a b").shows("maps a b · failed", "panic: on?[2J purpose").hides("\x1b[2J")
}

func TestWhatCommandsSayCannotTouchTheTerminal(t *testing.T) {
	hostile := "\x1b]0;title\a\x1b[2J\x1b[31mred\x1b[0m\x9b5n \u202eevil\u202c e\u0301 \ufeff"
	says := commands{"status": func(_ context.Context, out io.Writer) error {
		fmt.Fprintf(out, "%s\r\n\tindented\ttwice\r\n  日本語\t|\n\xff\xfe\x00", hostile)
		return errors.New("no " + hostile + "\n" + hostile)
	}}
	r := newRig(t, 80, 24, "plain").load(vans(5)...).with(says).told("status")
	r.shows("?]0;title??[2J?[31mred?[0m", "        indented        twice", "  日本語        |", "???")
	picture := string(r.Draw(r.clock.At).Encode(nil, theme("plain"), canvas.Braille))
	for _, r := range picture {
		if r != '\n' && r < ' ' || r >= 0x7f && r < 0xa0 || r == '\u202e' || r == '\u202c' {
			t.Fatalf("%q is in %q", r, picture)
		}
	}
	// The box is whole: each of its rows begins and ends with its frame.
	box := r.sheetBox(r.sheetTitle(rect{w: 78}))
	for y := box.y + 1; y < box.y+box.h-1; y++ {
		if a, b := r.c.At(box.x, y), r.c.At(box.x+box.w-1, y); a.R != '│' || b.R != '│' {
			t.Errorf("row %d lies between %q and %q", y, a.R, b.R)
		}
	}
}

func TestAMegabyteIsCutAndEndsItsCommand(t *testing.T) {
	for name, part := range map[string]string{"lines": "a line of it\n", "one line": "word ", "wide": "日本語", "empty": "\n"} {
		t.Run(name, func(t *testing.T) {
			var failed error
			wrote := 0
			much := commands{"status": func(ctx context.Context, out io.Writer) error {
				for failed == nil && wrote < 1<<20 {
					_, failed = io.WriteString(out, strings.Repeat(part, 100))
					wrote += 100 * len(part)
				}
				return ctx.Err()
			}}
			r := newRig(t, 80, 24, "plain").load(vans(5)...).with(much).told("status")
			if failed == nil {
				t.Errorf("all of %d bytes were taken", wrote)
			}
			r.prompts("G").shows("… and more: 256 KiB and 5000 lines")
			size := 0
			for _, l := range r.sheet.lines {
				size += len(l.text)
			}
			if len(r.sheet.lines) > mostLines+1 || size > mostSaid+200 {
				t.Errorf("%d lines of %d bytes are kept", len(r.sheet.lines), size)
			}
		})
	}
}

func TestTheMaskHidesWhatCommandsTell(t *testing.T) {
	says := commands{"status": func(_ context.Context, out io.Writer) error {
		_, err := fmt.Fprintln(out, "secret-van is at 48.13743,11.57549")
		return err
	}}
	r := newRig(t, 80, 24, "plain").load(vans(5)...).with(says)
	r.told("status").shows("secret-van", "48.13743").press("p").hides("secret-van", "48.137", "11.575", "status").shows("hidden, as names and places are; p shows them")
	r.press("p").shows("secret-van").prompts("esc").press("p")
	r.press(":").types("history secret").prompts("enter").shows("names and places are hidden, and history might tell some; p shows them")
	if r.sheet.isOpen() {
		t.Error("a command was run under the mask")
	}
	r.prompts("esc").told("help device").shows("was told") // which tells nothing of devices
	r.prompts("esc").press(":").types("follow van-").prompts("tab")
	if got := r.prompt.string(); got != "follow van-" {
		t.Errorf("under the mask %q is offered", got)
	}
	r.prompts("esc").press(":").types("follow dev").prompts("tab", "enter")
	if r.prompt.isOpen() || !r.follow {
		t.Errorf("%q is not followed: %s", r.prompt.string(), r.prompt.note)
	}
}

func TestASheetFitsWhereThereIsLittleRoom(t *testing.T) {
	for _, size := range [][2]int{{59, 15}, {20, 5}, {20, 3}, {8, 4}, {3, 2}, {1, 1}, {0, 0}} {
		r := newRig(t, size[0], size[1], "plain").load(vans(5)...).with(nil).told("device list")
		r.prompts("j", "G", "g", "l", "h", "pgdown")
		r.Handle(tty.Event{Kind: tty.Wheel, Button: tty.WheelUp})
		if r.prompts("esc"); r.sheet.isOpen() {
			t.Errorf("%v: it stays open", size)
		}
	}
}
