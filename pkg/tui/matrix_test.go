//go:build unix

package tui

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"tracker/pkg/geo"
	"tracker/pkg/track"
	"tracker/pkg/tui/tuitest"
)

// terminals are those that the map has to work on, by what they say of themselves.
var terminals = []struct {
	name    string
	env     []string
	may     []colours // what it may be sent
	must    colours   // what the theme has for it; none: nothing is asked for
	glyphs  func(r rune) bool
	unshown string // what its glyphs never are
}{
	{"truecolour", []string{"TERM=xterm-256color", "COLORTERM=truecolor"}, []colours{sixteen, of256, ofRGB}, ofRGB, nil, ""},
	{"256", []string{"TERM=xterm-256color"}, []colours{sixteen, of256}, of256, nil, ""},
	{"16", []string{"TERM=xterm"}, []colours{sixteen}, sixteen, nil, ""},
	{"no colour", []string{"TERM=xterm-256color", "COLORTERM=truecolor", "NO_COLOR=1"}, nil, none, nil, ""},
	{"linux", []string{"TERM=linux"}, []colours{sixteen}, sixteen, consoleFont, "braille, corners, or arrows aslant"},
	{"no UTF-8", []string{"TERM=xterm-256color", "LC_ALL=C"}, []colours{sixteen, of256}, of256, ascii, "anything but ASCII"},
}

func ascii(r rune) bool { return r < utf8.RuneSelf }

func consoleFont(r rune) bool {
	return !(r >= 0x2800 && r <= 0x28ff) && !strings.ContainsRune("╭╮╰╯↗↘↙↖●○✕▸⏎", r)
}

// colours is a way to say a colour.
type colours string

const (
	none    colours = "none"
	sixteen colours = "16"
	of256   colours = "256"
	ofRGB   colours = "RGB"
)

var sgr = regexp.MustCompile(`\x1b\[([0-9;:]*)m`)

// coloursIn are the ways to say a colour that are in what was written to a terminal.
func coloursIn(raw string) map[colours]int {
	found := map[colours]int{}
	for _, m := range sgr.FindAllStringSubmatch(raw, -1) {
		params := strings.FieldsFunc(m[1], func(r rune) bool { return r == ';' || r == ':' })
		for i := 0; i < len(params); i++ {
			switch p := params[i]; {
			case (p == "38" || p == "48" || p == "58") && i+1 < len(params) && params[i+1] == "5":
				found[of256]++
				i += 2
			case p == "38" || p == "48" || p == "58":
				found[ofRGB]++
				i += 4
			case len(p) > 1 && (p[0] == '3' || p[0] == '4' || p[0] == '9' || strings.HasPrefix(p, "10")) && p != "39" && p != "49":
				found[sixteen]++
			}
		}
	}
	return found
}

// TestEveryTerminalAndSize goes through a day of an operator on each kind of terminal in
// each of the layouts.
func TestEveryTerminalAndSize(t *testing.T) {
	for _, size := range sizes {
		for _, on := range terminals {
			t.Run(fmt.Sprintf("%v/%s", size, on.name), func(t *testing.T) {
				t.Parallel()
				j := setOut(t, size, append([]string{"TUI_THEME=coral"}, on.env...)...)
				j.looks()
				j.moves()
				j.points()
				j.filters()
				j.follows()
				j.travels()
				j.resizes()
				raw := j.leaves()

				found := coloursIn(raw)
				for c := range found {
					if !slices.Contains(on.may, c) {
						t.Errorf("%d colours are said by %s", found[c], c)
					}
				}
				if on.must != none && found[on.must] == 0 {
					t.Errorf("no colour is said by %s: %v", on.must, found)
				}
				_, text := tuitest.Sequences(raw)
				for _, r := range text {
					if on.glyphs != nil && !on.glyphs(r) {
						t.Errorf("it was sent %q; it cannot show %s", r, on.unshown)
						break
					}
				}
				if braille := strings.ContainsFunc(text, func(r rune) bool { return r > 0x2800 && r <= 0x28ff }); on.glyphs == nil && size.kind != listOnly && !braille {
					t.Error("the map is not made of braille")
				}
			})
		}
	}
}

// size is one of a terminal, with the layout that fits.
type size struct {
	w, h int
	kind layoutKind
	x, y int // the cell in the middle of the map
}

func (s size) String() string { return fmt.Sprintf("%dx%d", s.w, s.h) }

var (
	large  = size{120, 40, panes, 42, 15}
	middle = size{80, 24, compact, 40, 11}
	small  = size{59, 15, listOnly, 0, 0}
	sizes  = []size{large, middle, small}
)

// journey is somebody at the map.
type journey struct {
	*tuitest.Terminal
	t *testing.T
	size
	dir string // where the map writes files
}

func setOut(t *testing.T, s size, env ...string) *journey {
	t.Helper()
	j := &journey{t: t, size: s, dir: t.TempDir(), Terminal: tuitest.Prepare(t, s.w, s.h, "run", env...)}
	j.Cmd.Dir = j.dir
	j.Start()
	j.Listen()
	return j
}

// mapped tells whether there is a map: the smallest layout is a list.
func (j *journey) mapped() bool { return j.kind != listOnly }

// line is a row of the screen.
func (j *journey) line(y int) string { return strings.Split(j.Text(), "\n")[y] }

var vanNames = regexp.MustCompile(`van-\d{4}`)

// selected is the name of the selected device, in the heading of its details.
func (j *journey) selected() string {
	at := 1
	if j.kind == compact {
		at = j.h - 3
	}
	names := vanNames.FindAllString(j.line(at), -1)
	if len(names) == 0 {
		return ""
	}
	return names[len(names)-1]
}

func (j *journey) looks() {
	j.t.Helper()
	j.Sees("40 dev", "LIVE", "van-00")
	switch j.kind {
	case panes:
		j.Sees("Devices 40 by state", "1 cell", "Natural Earth", "No device selected", "pan")
	case compact:
		j.Sees("40 of 40 devices", " z", "Natural Earth", "pan")
		j.Loses("batt")
	case listOnly:
		j.Sees("name", "km/h", "batt", "van-0003")
		j.Loses("Natural Earth")
	}
}

var (
	clipboard = regexp.MustCompile(`\x1b\]52;c;([A-Za-z0-9+/=]*)(\x07|\x1b\\)`)
	zoomShown = regexp.MustCompile(` z(\d+\.\d)`)
)

// place is the middle of the map, or the place of the selected device: what the map puts
// on the clipboard.
func (j *journey) place() geo.Point {
	j.t.Helper()
	before := len(clipboard.FindAllString(j.Raw(), -1))
	j.Send("y")
	var all [][]string
	j.Eventually("copy a place", func() bool {
		all = clipboard.FindAllStringSubmatch(j.Raw(), -1)
		return len(all) > before
	})
	text, err := base64.StdEncoding.DecodeString(all[before][1])
	if err != nil {
		j.t.Fatal(err)
	}
	lat, lon, _ := strings.Cut(string(text), ",")
	y, err1 := strconv.ParseFloat(strings.TrimSpace(lat), 64)
	x, err2 := strconv.ParseFloat(strings.TrimSpace(lon), 64)
	if err1 != nil || err2 != nil {
		j.t.Fatalf("on the clipboard is %q", text)
	}
	return geo.Deg(y, x)
}

// zoomed waits until the map says another zoom than before, and tells it.
func (j *journey) zoomed(before float64) (now float64) {
	j.t.Helper()
	j.Eventually(fmt.Sprintf("zoom away from %.1f", before), func() bool {
		m := zoomShown.FindStringSubmatch(j.Text())
		if m == nil {
			return false
		}
		now, _ = strconv.ParseFloat(m[1], 64)
		return now != before
	})
	return now
}

// marked is the name in the selected row of the list.
func (j *journey) marked() string {
	m := markedRow.FindStringSubmatch(j.Text())
	if m == nil {
		return ""
	}
	return m[1]
}

var markedRow = regexp.MustCompile(`(?m)^[▸>].*?(van-\d{4})`)

// marks waits until the selected row is another one than before, and tells its name.
func (j *journey) marks(before string) (now string) {
	j.t.Helper()
	j.Eventually(fmt.Sprintf("select another row than %q", before), func() bool {
		now = j.marked()
		return now != "" && now != before
	})
	return now
}

// moves goes by keys: over the map, or down the list.
func (j *journey) moves() {
	j.t.Helper()
	if !j.mapped() {
		j.Send("j")
		first := j.marks("")
		j.Send("j")
		second := j.marks(first)
		j.Send("\x1b[A") // up
		if again := j.marks(second); again != first {
			j.t.Errorf("down and up goes from %s to %s", first, again)
		}
		j.Send("G")
		last := j.marks(first)
		j.Send("\x1b[H") // home
		j.marks(last)
		return
	}
	fitted := j.zoomed(math.NaN())
	j.Send("+")
	if in := j.zoomed(fitted); math.Abs(in-fitted-zoomStep) > 0.11 {
		j.t.Errorf("+ zooms from %.1f to %.1f", fitted, in)
	}
	from := j.place()
	j.Send("\x1b[C") // right
	if to := j.place(); to.LonDeg() <= from.LonDeg() || math.Abs(to.LatDeg()-from.LatDeg()) > 0.01 {
		j.t.Errorf("right goes from %v to %v", from, to)
	}
	j.Send("hK")
	if to := j.place(); math.Abs(to.LonDeg()-from.LonDeg()) > 0.01 || to.LatDeg() <= from.LatDeg() {
		j.t.Errorf("left and up goes from %v to %v", from, to)
	}
	j.Send("J")
}

// Events of the mouse, at a cell.
const (
	wheelUp   = "\x1b[<64;%d;%dM"
	wheelDown = "\x1b[<65;%d;%dM"
	press     = "\x1b[<0;%d;%dM"
	drag      = "\x1b[<32;%d;%dM"
	release   = "\x1b[<0;%d;%dm"
)

func (j *journey) mouse(event string, x, y int) {
	j.t.Helper()
	j.Send(fmt.Sprintf(event, x+1, y+1))
}

func (j *journey) click(x, y int) {
	j.t.Helper()
	j.mouse(press, x, y)
	j.mouse(release, x, y)
}

// points goes by mouse: the wheel, a drag, a click on a device and one on a row.
func (j *journey) points() {
	j.t.Helper()
	if !j.mapped() {
		j.clicksRows()
		return
	}
	x, y := j.x, j.y
	scale := j.zoomed(math.NaN())
	j.mouse(wheelUp, x, y)
	in := j.zoomed(scale)
	j.mouse(wheelDown, x, y)
	if out := j.zoomed(in); in <= scale || out != scale {
		j.t.Errorf("the wheel zooms from %.1f to %.1f and back to %.1f", scale, in, out)
	}
	from := j.place()
	j.mouse(press, x, y)
	j.mouse(drag, x+6, y)
	j.mouse(release, x+6, y)
	if to := j.place(); to.LonDeg() >= from.LonDeg() || math.Abs(to.LatDeg()-from.LatDeg()) > 0.01 {
		j.t.Errorf("dragged to the right it goes from %v to %v", from, to)
	}

	// A device that stands still in the middle of the map, and is not selected.
	j.Send("n")
	j.Sees(", heard")
	j.Send("f")
	j.Sees("following")
	j.Send("z")
	j.Sees(" z11.0")
	j.Send(" ")
	j.Sees("PAUSED")
	j.readable()
	name := j.selected()
	j.Send("\x1b")
	j.Loses("following")
	j.Send("\x1b")
	j.Loses(", heard")
	j.click(x, y)
	j.Sees(", heard")
	if found := j.selected(); found != name {
		j.t.Errorf("a click in the middle selects %q, and not %q:\n%s", found, name, j.Text())
	}
	j.Send(" ")
	j.Loses("PAUSED")
	j.Send("\x1b")
	j.Loses(", heard")
	j.Send("0")
	j.Loses(" z11.0")
}

// clicksRows is points where there is only the list.
func (j *journey) clicksRows() {
	j.t.Helper()
	const first = 2 // row of the screen, below the head
	before := vanNames.FindString(j.line(first))
	j.mouse(wheelDown, 10, first+2)
	j.Eventually("scroll", func() bool { return vanNames.FindString(j.line(first)) != before })
	j.mouse(wheelUp, 10, first+2)
	j.Eventually("scroll back", func() bool { return j.marked() != "" })
	marked := j.marked()
	j.click(10, first+3)
	if now := j.marks(marked); !strings.Contains(j.line(first+3), now) {
		j.t.Errorf("a click on a row selects %s:\n%s", now, j.Text())
	}
}

// asking waits until the prompt with a filter is open, or is not any more.
func (j *journey) asking(open bool) {
	j.t.Helper()
	j.Eventually(fmt.Sprintf("have the prompt open: %v", open), func() bool {
		return strings.HasPrefix(j.line(j.h-1), " /") == open
	})
}

// filters narrows the fleet while it types, and is told how many are left.
func (j *journey) filters() {
	j.t.Helper()
	j.Send("/van-000")
	j.asking(true)
	j.Loses("van-001")
	if j.mapped() {
		j.Sees("10 of 40")
	}
	j.Send("\r")
	j.asking(false)
	j.Loses("van-001")
	if j.mapped() {
		j.Sees("10 of 40")
	}
	j.Send("/")
	j.asking(true)
	j.Send("\x1b")
	j.asking(false)
	j.Sees("van-001")
	j.Loses("10 of 40")
}

// follows stays with a device until the map is moved by hand.
func (j *journey) follows() {
	j.t.Helper()
	j.Send("f")
	if j.mapped() {
		j.Sees("following")
		from := j.place()
		j.Eventually("go with the device", func() bool { return j.place() != from })
		j.Send("\x1b[D") // left
		j.Loses("following")
		j.Send("\x1b")
		j.Loses(", heard")
		return
	}
	j.Resize(middle.w, middle.h) // to see what the list has no room for
	j.Sees("following")
	j.Send("\x1b") // from the list to the map
	j.Sees("Natural Earth")
	j.Send("\x1b")
	j.Loses("following")
	j.Send("\x1b")
	j.Loses(", heard")
	j.Resize(j.w, j.h)
	j.Sees("batt")
}

// readable holds that the glyphs of the status line have a substitute where the terminal
// has no font for them.
func (j *journey) readable() {
	j.t.Helper()
	if top := j.line(0); strings.Contains(top, "?") {
		j.t.Errorf("the status line has signs that this terminal cannot show: %q", top)
	}
}

var moments = regexp.MustCompile(`REPLAY (\d{4}-\d\d-\d\d \d\d:\d\d:\d\d)Z held`)

// travels goes back in time, keeps what was there then, and comes back.
func (j *journey) travels() {
	j.t.Helper()
	j.Send("[")
	j.Eventually("show the past", func() bool {
		return moments.MatchString(j.Text()) && !strings.Contains(j.Text(), "loading") && strings.Contains(j.Text(), "40 dev")
	})
	j.readable()
	first := moments.FindStringSubmatch(j.Text())[1]
	j.Send("[")
	j.Loses(first)
	j.Eventually("show the past", func() bool {
		return moments.MatchString(j.Text()) && !strings.Contains(j.Text(), "loading")
	})
	at, err := time.Parse(time.DateTime, moments.FindStringSubmatch(j.Text())[1])
	if err != nil {
		j.t.Fatal(err)
	}
	j.saves("then.geojson")
	j.holds("then.geojson", at)
	j.saves("then.txt")
	b, err := os.ReadFile(filepath.Join(j.dir, "then.txt"))
	if err != nil {
		j.t.Fatal(err)
	}
	if text := string(b); !strings.Contains(text, "REPLAY "+at.Format(time.DateTime)) || strings.ContainsRune(text, '\x1b') {
		j.t.Errorf("the picture is\n%s", text)
	}
	j.Send(".")
	j.Sees("LIVE")
	j.Loses("REPLAY")
}

// saves writes a file.
func (j *journey) saves(name string) {
	j.t.Helper()
	j.Send("x")
	j.Sees("export to")
	j.Send("\x15" + name) // ctrl+u
	j.Sees("export to " + name)
	j.Send("\r")
	j.Loses("export to")
	if _, err := os.Stat(filepath.Join(j.dir, name)); err != nil {
		j.t.Fatalf("nothing was saved: %v\n%s", err, j.Text())
	}
}

// holds looks whether a file says where everybody was at a moment.
func (j *journey) holds(name string, at time.Time) {
	j.t.Helper()
	b, err := os.ReadFile(filepath.Join(j.dir, name))
	if err != nil {
		j.t.Fatal(err)
	}
	var file struct {
		Features []struct {
			Geometry   struct{ Coordinates [2]float64 }
			Properties struct {
				Device string
				Time   time.Time
			}
		}
	}
	if err := json.Unmarshal(b, &file); err != nil {
		j.t.Fatalf("%v in\n%s", err, b)
	}
	if len(file.Features) != 40 {
		j.t.Errorf("%d devices are in the file", len(file.Features))
	}
	for _, f := range file.Features {
		id, err := track.ParseDeviceID(f.Properties.Device)
		if err != nil {
			j.t.Fatal(err)
		}
		want := tuitest.History{}.At(id, at)
		got := geo.Deg(f.Geometry.Coordinates[1], f.Geometry.Coordinates[0])
		if !f.Properties.Time.Equal(want.Time) || geo.Distance(got, want.At) > 1 {
			j.t.Errorf("%s was at %v at %v, want %v at %v", id, got, f.Properties.Time, want.At, want.Time)
		}
	}
}

// resizes goes through the other sizes and back.
func (j *journey) resizes() {
	j.t.Helper()
	for _, to := range []size{large, small, middle, j.size} {
		j.Resize(to.w, to.h)
		switch to.kind {
		case panes:
			j.Sees("40 dev", "Devices 40 by state", "Natural Earth")
		case compact:
			j.Sees("40 dev", "Natural Earth")
			j.Loses("Devices 40")
		case listOnly:
			j.Sees("40 dev", "batt")
			j.Loses("Natural Earth")
		}
	}
}

// leaves quits, looks at what is left, and gives all that was written.
func (j *journey) leaves() string {
	j.t.Helper()
	j.Send("q")
	raw, err := j.Ends()
	if err != nil {
		j.t.Errorf("ended with %v", err)
	}
	tuitest.Restored(j.t, raw)
	tuitest.Blank(j.t, raw)
	return raw
}
