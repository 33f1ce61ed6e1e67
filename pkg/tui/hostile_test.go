//go:build unix

package tui

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"iter"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/charmbracelet/x/term"

	"tracker/pkg/client"
	"tracker/pkg/geo"
	"tracker/pkg/track"
	"tracker/pkg/tui/canvas"
	"tracker/pkg/tui/fleet"
	"tracker/pkg/tui/overlay"
	"tracker/pkg/tui/page"
	"tracker/pkg/tui/past"
	"tracker/pkg/tui/qr"
	"tracker/pkg/tui/tell"
	"tracker/pkg/tui/tty"
	"tracker/pkg/tui/tuitest"
	"tracker/pkg/tui/world"
)

// worst are names that somebody would give to a device to get at the terminal of whoever
// looks at it.
var worst = []string{
	// Titles, links, the clipboard, folders, colours, notes.
	"\x1b]0;owned\x07", "\x1b]1;owned\x1b\\", "\x1b]2;owned\x1b\\", "\x1b]7;file:///owned\x07", "\x1b]8;;https://owned\x1b\\name\x1b]8;;\x1b\\",
	"\x1b]9;owned\x07", "\x1b]52;c;b3duZWQ=\x07", "\x1b]10;#ff0000\x07", "\x1b]777;notify;owned;owned\x07", "\x1b]1337;File=:b3duZWQ=\x07",
	// The cursor, the screen, modes, questions.
	"\x1b[2J\x1b[H", "\x1b[10;10Hmoved", "\x1b[5A\x1b[7D", "\x1b[3S\x1b[2L", "\x1b[?1049l", "\x1b[?25h", "\x1b[?1000;1006h", "\x1b[4h\x1b[20h", "\x1b[2;5r",
	"\x1bc", "\x1b7\x1b8\x1bM\x1bD", "\x1b#8", "\x1b(0lqk", "\x1b[8;10;10t", "\x1b[21t", "\x1b[6n", "\x1b[c\x1b[>q", "\x1b[999b", "\x1b[31;1;5m",
	"\x1b", "\x1b[", "\x1b]2;unended", "\x1b\x1b[1m",
	// Strings that other terminals read as commands.
	"\x1bPq#0;2;0;0;0\x1b\\", "\x1bP+q544e\x1b\\", "\x1b_Gf=100;owned\x1b\\", "\x1b^owned\x1b\\", "\x1bXowned\x1b\\", "\x1bkowned\x1b\\",
	// The same with C1: as bytes and as characters.
	"\x9b2J\x9bH", "\x9d0;owned\x9c", "\x90q\x9c", "\x84\x85\x8d\x8e\x8f", "\u009b2J\u009bH", "\u009d0;owned\u009c", "\u0090q\u009c", "\u0084\u0085\u008d\u0098",
	// Control characters.
	"\a\a\a", "\b\b\b\b\b\b\b\b\b\bback", "one\ntwo\r\nthree", "a\tb\vc\fd", "\x00nul\x00", "\x7f\x7fdel", "\x0e\x0fshift", "\x11\x13\x1a\x1c\x1f", "\r" + "over",
	// Directions, joiners, piles, tags, and what has no width or two.
	"\u202eright to left\u202c", "\u2066isolated\u2067\u2068", "\u200e\u200f\u061cmarks", "שלום עולם", "مرحبا بالعالم", "a\u200bb\u200cc\u200dd\u2060e\ufeff",
	"pile" + strings.Repeat("\u0301", 1000), strings.Repeat("\u0e47", 300), "\u0301\u0302\u0303", "Z\u0338\u0489algo", "क्षि", "각\u1100\u1161\u11a8",
	"👩\u200d👩\u200d👧\u200d👦", "🇩🇪🇫🇷🇺", "1\ufe0f\u20e3#\ufe0f\u20e3", "❤\ufe0f☎\ufe0f", "👍🏽👍🏿", "🏴\U000e0067\U000e0062\U000e007f", "漢字漢字漢字", "ｆｕｌｌ", "ﷺ﷽", "𒐫𒈙", "⸻",
	"\u2028line\u2029paragraph", "\u00adsoft\u034f\u115f\u1160\u3164\uffa0", "\ue000\uf8ff\U000f0000\U0010fffd", "\ufffe\uffff\U0001fffe", "\ufff9note\ufffa\ufffb", "\U0001d173\U0001d17a", "\u2800\u3000\u00a0blank",
	// What is no UTF-8.
	"\xed\xa0\x80\xed\xbf\xbf", "\xff\xfe\xfd", "\xc3(", "\xe2\x82", "\xf0\x9f\x98", "\xc0\x9b\xc1\x9b", "\xf8\x88\x80\x80\x80",
	// Too much, and nothing.
	strings.Repeat("long", 2_500), strings.Repeat("\x1b[A", 3_000), strings.Repeat("漢", 3_000), "", " ", "\u200b", "<svg onload=alert(1)>&amp;\"'", "]]>", "%s%n{{.}}",
}

// all is everything at once.
var all = strings.Join(worst, "")

// hostileFixes are devices with these names, and with others of them for what they report.
func hostileFixes(now time.Time) []client.Fix {
	var fixes []client.Fix
	for i, name := range append(worst, all) {
		f := client.Fix{
			Device: track.DeviceID(0x1000 + i), Name: name, Time: now, Received: now, Event: worst[(i+11)%len(worst)],
			At: geo.Deg(37+float64(i%12)*2, -8+float64(i/12)*4), Has: track.HasPos | track.HasVel | track.HasBat, Speed: 20, Battery: 40,
		}
		switch i % 5 {
		case 1:
			f.Event = "sos"
		case 3:
			f.Event = ""
		}
		fixes = append(fixes, f)
	}
	return fixes
}

// hostileFeed is a server with such a fleet, and with such errors.
func hostileFeed(ctx context.Context, s *fleet.Store) error {
	fixes := hostileFixes(time.Now())
	half := len(fixes) / 2
	s.Snapshot(fixes[:half], true, false)
	s.SetLink(fleet.Live, "")
	s.Apply(fixes[half:]) // which are events
	for i, text := range worst {
		s.Take(&client.Event{Kind: client.Disconnected, Err: errors.New(text), RetryIn: time.Second})
		if i%2 == 0 {
			s.Take(&client.Event{Kind: client.Resumed})
		}
	}
	s.SetLink(fleet.Live, all)
	every := time.NewTicker(200 * time.Millisecond)
	defer every.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case now := <-every.C:
			for i := range fixes {
				fixes[i].Time, fixes[i].Received = now, now
				fixes[i].At.Lon += 20
			}
			s.Apply(fixes)
		}
	}
}

// hostilePast has no history but an error.
type hostilePast struct{}

func (hostilePast) Window(context.Context, []track.DeviceID, time.Time, time.Time, func([]client.Fix) error) error {
	return errors.New(all)
}

var _ past.Source = hostilePast{}

// hostileWatch is what JSONL reads.
type hostileWatch struct{}

func (hostileWatch) Close() {}
func (hostileWatch) Events() iter.Seq2[client.Event, error] {
	return func(yield func(client.Event, error) bool) {
		fixes := hostileFixes(time.Now())
		_ = yield(client.Event{Kind: client.Snapshot, First: true, Fixes: fixes[:5]}, nil) &&
			yield(client.Event{Kind: client.Fixes, Fixes: fixes[5:]}, nil) &&
			yield(client.Event{Kind: client.Disconnected, Err: errors.New(all)}, nil)
	}
}

// hostileModes are what the driver does with such names.
var hostileModes = map[string]func(Options) error{
	"hostile": func(o Options) error {
		o.Feed, o.Server, o.Past = hostileFeed, all, hostilePast{}
		for _, name := range worst {
			at := geo.Deg(60, float64(len(o.Overlays)%60)-20)
			o.Overlays = append(o.Overlays, &overlay.Overlay{Name: name, Labels: []overlay.Label{{Name: name, Pos: world.Project(at)}}})
		}
		return Run(context.Background(), o)
	},
	"hostile once": func(o Options) error {
		o.Feed = hostileFeed
		return Once(context.Background(), os.Stdout, o)
	},
	"hostile plain": func(o Options) error {
		o.In = os.Stdin
		o.Feed = func(ctx context.Context, s *fleet.Store) error {
			ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
			defer cancel()
			_ = hostileFeed(ctx, s)
			return nil
		}
		return Plain(context.Background(), os.Stdout, o)
	},
	"hostile lines": func(Options) error {
		return tell.JSONL(context.Background(), os.Stdout, hostileWatch{}, fleet.New(fleet.Config{}), tell.Only{})
	},
	"hostile page":   hostilePage,
	"hostile widths": hostileWidths,
}

// hostilePage is the page of an enrolment.
func hostilePage(Options) error {
	const link = "https://track.example.org/d#1.AAAA"
	code, err := qr.Encode(link)
	if err != nil {
		return err
	}
	store := fleet.New(fleet.Config{})
	f := hostileFixes(time.Now())[0]
	f.Name = all
	e := page.Enrolment{Device: client.Device{ID: f.Device, Name: all}, Code: code, Link: link + all, Fresh: true, Until: time.Now().Add(time.Hour), Store: store}
	p := page.NewEnrol(e, page.NewFace(tty.Profile(os.Stdout, os.Environ()), os.Environ()))
	time.AfterFunc(time.Second, func() { store.Snapshot([]client.Fix{f}, true, false) })
	return tty.Run(context.Background(), p, tty.Config{})
}

// hostileWidths asks the terminal how wide it draws each name, and tells where it does not
// agree.
func hostileWidths(Options) error {
	before, err := term.MakeRaw(os.Stdin.Fd())
	if err != nil {
		return err
	}
	defer func() { _ = term.Restore(os.Stdin.Fd(), before) }()
	in, answer := bufio.NewReader(os.Stdin), regexp.MustCompile(`\[\d+;(\d+)R`)
	wrong := 0
	for _, name := range worst {
		clean := canvas.Truncate(canvas.Clean(name), 40)
		fmt.Printf("\r\x1b[K%s\x1b[6n", clean)
		said, err := in.ReadString('R')
		if err != nil {
			return err
		}
		column := answer.FindStringSubmatch(said)
		if column == nil || column[1] != fmt.Sprint(1+canvas.Width(clean)) {
			wrong++
			fmt.Printf("\r\n%+q should take %d columns: %q\r\n", clean, canvas.Width(clean), said)
		}
	}
	fmt.Printf("\r\x1b[K%d of %d are drawn otherwise\r\n", wrong, len(worst))
	return nil
}

// harmless are the kinds of control sequences that the map itself sends to a terminal:
// where the cursor goes, what is deleted and drawn again, colours, and what is asked and
// taken at the beginning and given back at the end.
var harmless = []string{
	"CSI H", "CSI d", "CSI G", "CSI A", "CSI B", "CSI C", "CSI D", "CSI S", "CSI T", "CSI r", "ESC M", "C0 08", "C0 09", "C0 0a", "C0 0d",
	"CSI J", "CSI K", "CSI X", "CSI L", "CSI M", "CSI P", "CSI @", "CSI Z", "CSI b", "CSI m",
	"CSI h", "CSI l", "CSI ?h", "CSI ?l", "CSI ?W", "CSI >m", "CSI <u", "CSI >u", "CSI ?u", "CSI ?$p",
}

// onlyHarmless holds that nothing that was sent is a command out of a name.
func onlyHarmless(t *testing.T, raw string, may ...string) {
	t.Helper()
	if !utf8.ValidString(raw) {
		t.Error("what was sent is no UTF-8")
	}
	kinds, text := tuitest.Sequences(raw)
	marks := slices.Contains(may, "marks") // which are drawn over what is before them
	for kind, n := range kinds {
		if !slices.Contains(may, kind) && !(marks && strings.HasPrefix(kind, "no width")) {
			t.Errorf("%s was sent, %d times", kind, n)
		}
	}
	for _, r := range text {
		if canvas.RuneWidth(r) == 0 && !(marks && unicode.In(r, unicode.M)) {
			t.Errorf("%+q was sent, which has no width", r)
		}
	}
}

func TestHostileNamesOnAMap(t *testing.T) {
	for _, s := range sizes {
		t.Run(s.String(), func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			tm := tuitest.Prepare(t, s.w, s.h, "hostile")
			tm.Cmd.Dir = dir
			tm.Start()
			tm.Listen()
			tm.Sees("LIVE", fmt.Sprintf("%d dev", len(worst)+1))
			amongHostile(tm, s)
			whole(tm, s)
			for _, name := range []string{"a.svg", "a.txt", "a.ansi"} {
				tm.Send("x")
				tm.Sees("export to")
				tm.Send("\x15" + name + "\r")
				tm.Loses("export to")
			}
			tm.Send("q")
			raw, err := tm.Ends()
			if err != nil {
				t.Error(err)
			}
			tuitest.Restored(t, raw)
			tuitest.Blank(t, raw)
			onlyHarmless(t, raw, harmless...)
			for name, may := range map[string][]string{"a.svg": {"C0 0a"}, "a.txt": {"C0 0a"}, "a.ansi": {"C0 0a", "CSI m"}} {
				b, err := os.ReadFile(filepath.Join(dir, name))
				if err != nil {
					t.Error(err)
				}
				onlyHarmless(t, string(b), may...)
			}
		})
	}
}

// whole holds that the frames of the panes stand where they belong.
func whole(tm *tuitest.Terminal, s size) {
	if s.kind != panes {
		return
	}
	for _, x := range []int{0, s.w - 37, s.w - 36, s.w - 1} {
		tm.Eventually(fmt.Sprintf("have its frames in column %d", x), func() bool {
			for _, cell := range tm.Column(x)[1:30] {
				if !strings.Contains("╭╮╰╯│─", cell) || cell == "" {
					return false
				}
			}
			return true
		})
	}
}

var details = regexp.MustCompile(`id +([0-9a-f]{12})`)

// amongHostile looks at every name in every place.
func amongHostile(tm *tuitest.Terminal, s size) {
	if s.kind == panes { // in the details
		seen := ""
		for range 30 {
			tm.Send("n")
			tm.Eventually("select the next one", func() bool {
				m := details.FindStringSubmatch(tm.Text())
				if m == nil || m[1] == seen {
					return false
				}
				seen = m[1]
				return true
			})
		}
		whole(tm, s)
	}
	tm.Send("\x1b")
	tm.Sees("LIVE")
	for _, prompt := range []string{":select ", "g", ":mute "} {
		answered(tm, prompt)
		for range 8 {
			answered(tm, "\t")
		}
		answered(tm, "\x1b")
	}
	for some := range slices.Chunk(worst, 12) {
		typed := strings.ReplaceAll(strings.Join(some, ""), "\x1b[201~", "")
		answered(tm, "/\x1b[200~"+typed[:min(len(typed), 2_000)]+"\x1b[201~\r")
	}
	answered(tm, "/\x15\r")
	for _, keys := range []string{"\t", "\t", "j", "a", "M", "\x1b[6~", "\x1b[6~", "\t", "p", "p", "0", "++", "+++"} { // events, pages, the mask
		answered(tm, keys)
	}
	tm.Send("?")
	tm.Sees("Keys")
	tm.Send("\x1b")
	tm.Loses("Keys")
	tm.Send("[")
	tm.Sees("REPLAY")
	tm.Send(".")
	tm.Sees("LIVE")
}

// answered sends keys and waits for another picture.
func answered(tm *tuitest.Terminal, keys string) {
	before := tm.Text()
	tm.Send(keys)
	tm.Eventually("change", func() bool { return tm.Text() != before })
}

func TestHostileNamesInLines(t *testing.T) {
	for mode, may := range map[string][]string{
		"hostile plain": {"C0 0a", "C0 0d"}, "hostile lines": {"C0 0a", "C0 0d", "marks"}, "hostile once": {"C0 0a", "C0 0d", "CSI m"},
	} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			tm := tuitest.Open(t, 120, 40, mode)
			raw, err := tm.Ends()
			if err != nil {
				t.Error(err)
			}
			if len(raw) < 200 {
				t.Errorf("little was said: %q", raw)
			}
			onlyHarmless(t, raw, may...)
			if told := tm.Told(); len(told.Titles) > 0 || told.Bells > 0 || len(told.Modes()) > 0 {
				t.Errorf("the terminal was told %+v", told)
			}
		})
	}
}

func TestHostileNameOnAPage(t *testing.T) {
	tm := tuitest.Open(t, 120, 40, "hostile page")
	tm.Sees("has been heard")
	tm.Send("q")
	raw, err := tm.Ends()
	if err != nil {
		t.Error(err)
	}
	tuitest.Restored(t, raw)
	onlyHarmless(t, raw, harmless...)
}

// Terminals agree with the map on how wide the names are that it shows.
func TestHostileNamesAreAsWideAsTheMapBelieves(t *testing.T) {
	none := fmt.Sprintf("0 of %d are drawn otherwise", len(worst))
	t.Run("vt", func(t *testing.T) {
		t.Parallel()
		tm := tuitest.Open(t, 100, 30, "hostile widths")
		tm.Sees(none)
	})
	t.Run("tmux", func(t *testing.T) {
		t.Parallel()
		m := tuitest.OpenTmux(t, 100, 30, `"$SELF"; exec cat`, "hostile widths")
		m.Sees(none)
	})
}

// In tmux neither title nor cursor nor screen are other than with harmless names.
func TestTmuxWithHostileNames(t *testing.T) {
	t.Parallel()
	m := tuitest.OpenTmux(t, 120, 40, `echo before; read go; "$SELF"; echo after $?; exec cat`, "hostile")
	m.Sees("before")
	untouched := m.Says(besides)
	m.Send("Enter")
	m.Sees("LIVE", fmt.Sprintf("%d dev", len(worst)+1))
	title := m.Says("#{pane_title}")
	for range 30 {
		m.Send("n", "n", "n")
	}
	m.Send("?")
	m.Sees("Keys")
	m.Send("Escape")
	m.Loses("Keys")
	rows := strings.Split(m.Text(), "\n")
	for y, row := range rows[1:30] {
		if end := canvas.Width(row); end != 120 || !strings.HasSuffix(row, "│") && !strings.HasSuffix(row, "╮") && !strings.HasSuffix(row, "╯") {
			t.Errorf("row %d ends in column %d: %q", y+1, end, row)
		}
	}
	if got := m.Says("#{pane_title}"); got != title {
		t.Errorf("the title became %q", got)
	}
	m.Send("q")
	m.Sees("before", "after 0")
	if got := m.Says(besides); got != untouched {
		t.Errorf("other screen, cursor, mouse, title: %q, want %q", got, untouched)
	}
}
