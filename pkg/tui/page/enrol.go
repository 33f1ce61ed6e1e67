package page

import (
	"fmt"
	"time"

	"tracker/pkg/client"
	"tracker/pkg/track"
	"tracker/pkg/tui/canvas"
	"tracker/pkg/tui/chart"
	"tracker/pkg/tui/fleet"
	"tracker/pkg/tui/look"
	"tracker/pkg/tui/qr"
	"tracker/pkg/tui/tty"
	"tracker/pkg/tui/words"
	"tracker/pkg/tui/world"
)

// Enrolment is what an Enrol shows. Code and Link are a key: nothing of them is drawn
// any more once the device was heard or the page is left.
type Enrolment struct {
	Device client.Device
	Code   *qr.Code
	Style  qr.Style
	Link   string    // what the code says
	Fresh  bool      // the device is new, and ends if its code expires unused
	Until  time.Time // when the wait is over

	// Store is fed with what the device sends. Without one the page does not wait: it
	// shows the code until a key.
	Store *fleet.Store
}

// End is what ended a page.
type End uint8

const (
	Unfinished  End = iota // something else: a signal, or a terminal that went away
	Left                   // a key
	Interrupted            // Ctrl-C
	Expired                // the time was over and nobody had come
)

// Enrol is the page of an enrolment: the device's name, its code and the link, how long
// the code is good for, and after the first fix the device on the map. Its last frame is
// blank, so that a terminal which keeps the screen of a program keeps no key.
//
//	waiting ──first fix──► on the map ──key──┐
//	   └──────key, time is over──────────────┴──► blank ──► Wants().Quit
type Enrol struct {
	sheet
	e Enrolment

	end   End
	wiped bool // the blank frame was drawn
	hurry bool // a key came while it was not

	frame fleet.Frame
	at    int32       // the device in frame
	seen  *client.Fix // the latest since the enrolment, nil before the first
	chart chart.Chart
	view  world.View
}

var _ tty.Page = (*Enrol)(nil)

// NewEnrol makes the page of an enrolment.
func NewEnrol(e Enrolment, f Face) *Enrol {
	return &Enrol{sheet: sheet{face: f}, e: e, at: fleet.Nobody}
}

// How tells what ended the page, when it has ended.
func (p *Enrol) How() End { return p.end }

// Seen is the latest fix since the enrolment, nil if there was none.
func (p *Enrol) Seen() *client.Fix { return p.seen }

// Handle takes what a person did.
func (p *Enrol) Handle(e tty.Event) { p.handle(e, p.key) }

func (p *Enrol) key(name string) {
	switch name {
	case "q", "enter", "ctrl+j", "esc":
		p.leave(Left)
	case "ctrl+c":
		p.leave(Interrupted)
	case "+", "=":
		p.zoom(0.5)
	case "-", "_":
		p.zoom(-0.5)
	}
}

// leave ends the page with the next frame, the blank one. Whoever asks twice does not
// wait for it: the terminal may not take any frame.
func (p *Enrol) leave(how End) {
	p.hurry = p.end != Unfinished
	if p.end == Unfinished {
		p.end = how
	}
	p.dirty = true
}

func (p *Enrol) zoom(by float64) {
	if p.view.W == 0 {
		return
	}
	p.view.ZoomAt(by, float64(p.view.W)/2, float64(p.view.H)/2)
	p.dirty = true
}

// Due tells whether a frame would look different from the last one.
func (p *Enrol) Due(now time.Time) bool {
	return p.aged(now) || p.e.Store != nil && p.e.Store.Status().Version != p.frame.Status.Version
}

// Look is how the frame is to be encoded. Whoever asked for half blocks gets them,
// whatever the locale says.
func (p *Enrol) Look() (*canvas.Theme, canvas.Glyphs) {
	if p.seen == nil && p.e.Style == qr.Half {
		return p.face.Theme, min(p.face.Glyphs, canvas.Blocks)
	}
	return p.face.Theme, p.face.Glyphs
}

// Wants is what the page asks of its terminal.
func (p *Enrol) Wants() tty.Wants {
	return tty.Wants{Quit: p.wiped || p.hurry, Redraw: p.redraws()}
}

// Draw makes a frame of what there is to show now.
func (p *Enrol) Draw(now time.Time) *canvas.Canvas {
	p.look(now)
	p.begin(now)
	switch {
	case p.end != Unfinished:
		p.wiped = true
	case p.seen != nil:
		p.drawPlace(now)
	default:
		p.drawCode(now)
	}
	return &p.c
}

// look finds the device in what has come so far. While the server does not answer,
// nobody can tell that the device has not come, and the code does not expire.
func (p *Enrol) look(now time.Time) {
	if p.e.Store == nil || p.end != Unfinished {
		return
	}
	p.frame.Refresh(p.e.Store, nil)
	p.at = p.e.Store.Find(p.e.Device.ID)
	if int(p.at) >= len(p.frame.Points) {
		p.at = fleet.Nobody // came after the frame
	}
	if fix, _, ok := p.e.Store.Info(p.at); ok && IsNew(&p.e.Device, &fix) {
		p.seen = &fix
	}
	known := p.frame.Status.Loaded && p.frame.Status.Link.State == fleet.Live
	if p.seen == nil && known && !now.Before(p.e.Until) {
		p.end = Expired
	}
}

// IsNew tells whether a fix was taken after the last one that was known of a device when
// it was enrolled.
func IsNew(d *client.Device, f *client.Fix) bool {
	return d.Last == nil || f.Time.After(d.Last.Time)
}

// beside is how many columns the words need to stand next to the code.
const beside = 24

// drawCode places the code and the words: the words below the code if the terminal is
// high enough, else beside it, and without the code if it does not fit at all. The link
// comes whole on one line wherever it can.
func (p *Enrol) drawCode(now time.Time) {
	code, style := p.e.Code, p.e.Style
	below := p.words(p.w, now)
	quiet, ok := code.Fit(style, p.w, p.h-len(below))
	if ok && quiet == qr.Quiet {
		p.stack(quiet, below)
		return
	}
	if quiet, fits := code.Fit(style, p.w-beside, p.h); fits {
		width, _ := code.Size(style, quiet)
		p.drawModules(quiet)
		p.text(width+2, 1, p.words(p.w-width-2, now))
		return
	}
	if ok {
		p.stack(quiet, below)
		return
	}
	p.text(0, 0, append(styled(wrap(p.tooSmall(), p.w), look.Warn), below...))
}

// stack draws the code with words below it.
func (p *Enrol) stack(quiet int, below []line) {
	_, rows := p.e.Code.Size(p.e.Style, quiet)
	p.drawModules(quiet)
	p.text(0, rows, below)
}

func (p *Enrol) tooSmall() string {
	cols, rows := p.e.Code.Size(p.e.Style, qr.Quiet)
	s := fmt.Sprintf("The code needs a terminal of %dx%d, this one is %dx%d: enlarge it, or use the link", cols+beside, rows, p.w, p.h)
	if p.e.Style == qr.Full {
		s += ", or --qr-style half"
	}
	return s + ", or leave and give it a new code: device rotate " + p.name() + " --png FILE"
}

func (p *Enrol) text(x, y int, lines []line) {
	for i, l := range lines {
		p.c.Text(x, y+i, l.text, l.style, look.OnTop)
	}
}

// line is a line of words.
type line struct {
	text  string
	style canvas.Style
}

func styled(texts []string, style canvas.Style) (lines []line) {
	for _, t := range texts {
		lines = append(lines, line{t, style})
	}
	return lines
}

// drawModules draws the code into the upper left corner. In half blocks a cell is two
// modules high, and the half that is left over at the lower edge is light.
func (p *Enrol) drawModules(quiet int) {
	code := p.e.Code
	cols, rows := code.Size(p.e.Style, quiet)
	if p.e.Style != qr.ASCII {
		p.c.Fill(0, 0, cols, rows, ink, paper, look.OnTop)
	}
	for y := range rows {
		for x := range cols {
			switch p.e.Style {
			case qr.Half:
				if r := halves(code.Dark(x-quiet, 2*y-quiet), code.Dark(x-quiet, 2*y+1-quiet)); r != ' ' {
					p.c.Rune(x, y, r, ink, look.OnTop)
				}
			case qr.Full:
				if code.Dark(x/2-quiet, y-quiet) {
					p.c.Tint(x, y, 1, 1, night)
				}
			case qr.ASCII:
				if code.Dark(x/2-quiet, y-quiet) {
					p.c.Rune(x, y, '#', look.Text, look.OnTop)
				}
			}
		}
	}
}

func halves(upper, lower bool) rune {
	switch {
	case upper && lower:
		return '█'
	case upper:
		return '▀'
	case lower:
		return '▄'
	}
	return ' '
}

// words are the lines beside the code, none longer than width.
func (p *Enrol) words(width int, now time.Time) []line {
	lines := styled(wrap(fmt.Sprintf("%s (%v)", p.name(), p.e.Device.ID), width), look.Bright)
	lines = append(lines, styled(wrap(canvas.Clean(p.e.Link), width), look.Text)...)
	state, style := p.state(now)
	return append(append(lines, styled(wrap(state, width), style)...), styled(wrap("q leaves", width), look.Keycap)...)
}

// name is what the device is called, without anything that a terminal could take for a
// command.
func (p *Enrol) name() string { return canvas.Clean(p.e.Device.Name) }

// soon is when a wait is nearly over.
const soon = 30 * time.Second

// state is what the page waits for, empty if it does not.
func (p *Enrol) state(now time.Time) (text string, style canvas.Style) {
	if p.e.Store == nil {
		return "", look.Text
	}
	left := max(0, p.e.Until.Sub(now)).Round(time.Second)
	what := "expires"
	if !p.e.Fresh {
		what = "closes"
	}
	text, style = fmt.Sprintf("waiting for the first fix… %s in %d:%02d", what, int(left.Minutes()), int(left.Seconds())%60), look.Text
	if left <= soon {
		style = look.Warn
	}
	if p.frame.Status.Link.State == fleet.Reconnecting {
		return text + " (the server does not answer)", look.Warn
	}
	return text, style
}

const (
	closeBy  = 11.0 // the zoom at which a device is shown: a cell is about 100 m wide
	leastMap = 3    // rows and columns; a smaller map shows nothing
)

// drawPlace shows the device on the map, with what its fix says below.
func (p *Enrol) drawPlace(now time.Time) {
	head := p.c.Text(0, 0, " "+canvas.Truncate(p.name(), max(p.w/2, 8))+" ", look.Title, look.OnTop)
	p.c.Text(head, 0, "has been heard", look.Good, look.OnTop)
	clock := now.UTC().Format("15:04:05Z")
	p.c.Text(p.w-canvas.Width(clock)-1, 0, clock, look.Dim, look.OnTop)

	lines := p.told(now)
	rows := p.h - 2 - len(lines)
	if p.seen.HasPos() && p.at != fleet.Nobody && min(rows, p.w) >= leastMap {
		p.drawMap(rows)
		p.text(1, 1+rows, styled(lines, look.Text))
	} else {
		p.text(1, 1, styled(lines[:min(len(lines), max(p.h-2, 0))], look.Text))
	}
	end := p.c.Text(1, p.h-1, "Enter leaves", look.Keycap, look.OnTop)
	if p.seen.HasPos() {
		p.c.Text(end+2, p.h-1, "+ - zoom", look.Keycap, look.OnTop)
	}
}

// drawMap keeps the device in the middle.
func (p *Enrol) drawMap(rows int) {
	if p.view.W == 0 {
		p.view.Zoom = closeBy
	}
	p.view.Centre = p.frame.Points[p.at].Pos
	p.view.Resize(2*p.w, 4*rows)
	picture := p.chart.Draw(&chart.Scene{
		View: p.view, Frame: &p.frame, Store: p.e.Store, Theme: p.face.Theme,
		Layers: chart.Everything, Selected: p.at, Followed: p.at,
	})
	p.c.Blit(picture, 0, 1)
	chart.Corners(&p.c, &p.view, 0, rows, p.w, "")
}

// told are the lines about the latest fix.
func (p *Enrol) told(now time.Time) []string {
	f := p.seen
	if !f.HasPos() {
		return wrap(fmt.Sprintf("It was heard at %s and does not know yet where it is.", f.Time.UTC().Format("15:04:05Z")), p.w-2)
	}
	where := words.Place(f.At)
	if f.Has&track.HasAcc != 0 {
		where += " ± " + words.Length(f.Accuracy)
	}
	if near := words.Near(f.At); near != "" {
		where += ", " + near
	}
	when := fmt.Sprintf("taken at %s, %s", f.Time.UTC().Format("15:04:05Z"), words.Ago(now.Sub(f.Time)))
	if f.Has&track.HasVel != 0 {
		when += fmt.Sprintf(", %s km/h %s", words.KMH(f.Speed), words.Direction(f.Course))
	}
	if f.Has&track.HasBat != 0 {
		when += fmt.Sprintf(", battery %d%%", f.Battery)
	}
	return append(wrap(where, p.w-2), wrap(when, p.w-2)...)
}
