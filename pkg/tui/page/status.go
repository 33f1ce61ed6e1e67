package page

import (
	"fmt"
	"math"
	"time"

	"tracker/pkg/tui/canvas"
	"tracker/pkg/tui/look"
	"tracker/pkg/tui/tty"
	"tracker/pkg/tui/words"
)

// Status is the page of a board: what the server takes, drops, keeps and gives out, with
// a line of dots for each that is a minute long. Where there is not room for all of it
// the least telling rows are left out.
type Status struct {
	sheet
	b       *Board
	quit    bool
	suspend bool
	version uint64 // of the board, at the last frame
}

var _ tty.Page = (*Status)(nil)

// NewStatus makes the page of a board.
func NewStatus(b *Board, f Face) *Status { return &Status{sheet: sheet{face: f}, b: b} }

// Handle takes what a person did.
func (p *Status) Handle(e tty.Event) { p.handle(e, p.key) }

func (p *Status) key(name string) {
	switch name {
	case "q", "esc", "ctrl+c":
		p.quit = true
	case "ctrl+z":
		p.suspend = true
	}
}

// Due tells whether a frame would look different from the last one.
func (p *Status) Due(now time.Time) bool {
	return p.aged(now) || p.b.Version() != p.version
}

// Look is how the frame is to be encoded.
func (p *Status) Look() (*canvas.Theme, canvas.Glyphs) { return p.face.Theme, p.face.Glyphs }

// Wants is what the page asks of its terminal.
func (p *Status) Wants() tty.Wants {
	w := tty.Wants{Quit: p.quit, Suspend: p.suspend, Redraw: p.redraws()}
	p.suspend = false
	return w
}

// Draw makes a frame of the board. The board is locked meanwhile, which is not long:
// nothing is written.
func (p *Status) Draw(now time.Time) *canvas.Canvas {
	p.b.mu.Lock()
	defer p.b.mu.Unlock()
	p.version = p.b.version
	p.begin(now)
	p.drawHead(now)
	top := 1
	if p.h >= 20 {
		top = 2
	}
	for i, r := range choose(p.b.rows(p.b.health(now)), p.h-1-top) {
		p.drawRow(top+i, &r)
	}
	if p.h > 1 {
		p.c.Text(1, p.h-1, "q quits", look.Keycap, look.OnTop)
	}
	return &p.c
}

// ofHealth is how the badge of each health looks: shape and word say what the colour
// says.
var ofHealth = [...]struct {
	glyph rune
	style canvas.Style
}{
	waiting: {'○', look.Dim}, fine: {'●', look.Good}, alarmed: {'!', look.Warn},
	degraded: {'!', look.Alert}, broken: {'✕', look.Alert}, silent: {'○', look.Lost},
}

// drawHead writes the health, the server, and as much of the rest as there is room for.
func (p *Status) drawHead(now time.Time) {
	clock := now.UTC().Format("15:04:05Z")
	room := p.w - canvas.Width(clock) - 2
	h := p.b.health(now)
	badge := fmt.Sprintf("%c %s", ofHealth[h].glyph, h)
	if h == silent {
		badge += " for " + words.Age(now.Sub(p.b.answered()))
	}
	x := p.c.Text(1, 0, canvas.Truncate(badge, max(room, 0)), ofHealth[h].style, look.OnTop) + 2
	up := time.Duration(p.b.last.Uptime * float64(time.Second))
	facts := []string{p.b.server}
	if !p.b.at.IsZero() {
		facts = append(facts, "up "+words.Age(up), "version "+canvas.Clean(p.b.last.Version))
	}
	for i, f := range facts {
		if x+canvas.Width(f) > room {
			break
		}
		style := look.Dim
		if i == 0 {
			style = look.Title
		}
		x = p.c.Text(x, 0, f, style, look.OnTop) + 2
	}
	p.c.Text(p.w-canvas.Width(clock)-1, 0, clock, look.Dim, look.OnTop)
}

// answered is when the last answer came, or when the asking began to fail.
func (b *Board) answered() time.Time {
	if b.at.IsZero() {
		return b.failed
	}
	return b.at
}

// row is one line of the page: a label, what there is of it a second, how that was
// during the last minute, and the rest.
type row struct {
	label string
	rate  string
	past  *series // nil if there is none
	text  string
	style canvas.Style // of the rate and its past; of the text where there is no rate
	rank  int          // rows of the highest are left out first
}

// Ranks of rows.
const (
	rankVital = iota
	rankUseful
	rankReason
	rankExtra
)

// rows is everything that can be told.
func (b *Board) rows(h health) []row {
	var rows []row
	if why := b.reason(h); why != "" {
		rows = append(rows, row{label: h.String(), text: why, style: ofHealth[h].style})
	}
	if b.at.IsZero() {
		return rows
	}
	s := &b.last
	if h == silent {
		rows = append(rows, row{label: "before that", text: "what follows is the last that is known", style: look.Dim, rank: rankUseful})
	}
	rows = append(rows,
		row{label: "devices", text: fmt.Sprintf("%s enrolled, %s with a fix", words.Thousands(s.Devices), words.Thousands(s.Live)), rank: rankExtra},
		b.row("taken", "ingest.ok", look.Good, number(s.Ingest["ok"])+" datagrams", rankVital))
	rows = append(rows, b.dropRows()...)
	lost := b.gauge("waiting", "store.pending", s.Store.Pending, number(s.Store.Lost)+" lost")
	if s.Store.Lost > 0 {
		lost.style = look.Alert
	}
	slow := b.gauge("behind", "hub.behind", s.Hub["behind"], "slow watchers")
	if slow.rank = rankUseful; s.Hub["behind"] > 0 {
		slow.style = look.Warn
	}
	rows = append(rows,
		b.row("stored", "store.stored", look.Good, number(s.Store.Stored)+", "+size(s.Store.Bytes), rankVital), lost,
		b.row("sent", "hub.fixes_out", look.Good, watchers(s.Hub["viewers"]), rankUseful), slow,
		b.row("skipped", "hub.skipped", look.Warn, fmt.Sprintf("%s, %s", number(s.Hub["skipped"]), words.Plural(int(s.Hub["resyncs"]), "resync")), rankUseful),
		b.row("calls", calls, look.Good, fmt.Sprintf("%s open, %d in flight", number(s.RPC["connections"]), s.RPC["inflight"]), rankExtra),
		b.probeRow())
	return append(rows, b.alarmRows()...)
}

// dropRows are the sum of what was not taken, and the reasons.
func (b *Board) dropRows() []row {
	sum := uint64(0)
	var reasons []row
	for _, d := range b.reasons() {
		sum += d.count
		reasons = append(reasons, b.row("  "+canvas.Clean(d.name), "ingest."+d.name, look.Warn, number(d.count), rankReason))
	}
	return append([]row{b.row("dropped", dropped, look.Warn, number(sum)+" in all", rankVital)}, reasons...)
}

func (b *Board) probeRow() row {
	p := b.last.Probe
	if !p.OK {
		return row{label: "probe", text: "FAILED", style: look.Alert}
	}
	return row{label: "probe", text: "ok, " + words.Ago(time.Duration(p.Age)*time.Millisecond), rank: rankUseful}
}

// alarmRows are the newest alarms first: there may be more than there is room for.
func (b *Board) alarmRows() []row {
	var rows []row
	for i := len(b.last.Alarms) - 1; i >= 0; i-- {
		al := &b.last.Alarms[i]
		text := fmt.Sprintf("%s device %v at %s", canvas.Clean(al.Kind), al.Device, al.Time.UTC().Format("2006-01-02 15:04:05Z"))
		rows = append(rows, row{label: "alarm", text: text, style: look.Warn, rank: rankUseful})
	}
	return rows
}

// row is one of something that grows.
func (b *Board) row(label, name string, busy canvas.Style, text string, rank int) row {
	r := row{label: label, rate: "—", past: b.past[name], text: text, style: look.Dim, rank: rank}
	if v, ok := b.rate(name); ok {
		r.rate = words.Rate(v) + "/s"
		if v > 0 {
			r.style = busy
		}
	}
	return r
}

// gauge is one of something that may fall.
func (b *Board) gauge(label, name string, v uint64, text string) row {
	return row{label: label, rate: number(v), past: b.past[name], text: text, style: look.Text}
}

// choose leaves out what there is no room for: of the highest rank the last.
func choose(rows []row, room int) []row {
	for len(rows) > max(room, 0) {
		worst := 0
		for i := range rows {
			if rows[i].rank >= rows[worst].rank {
				worst = i
			}
		}
		rows = append(rows[:worst], rows[worst+1:]...)
	}
	return rows
}

// Columns of a row.
const (
	labelW = 16
	shortW = 10 // of labels, where otherwise there is no room for rates
	rateW  = 8
)

func (p *Status) drawRow(y int, r *row) {
	label := labelW
	if p.w < 1+labelW+rateW {
		label = shortW
	}
	p.c.Text(1, y, canvas.Truncate(r.label, label-1), look.Text, look.OnTop)
	x := 1 + label
	if r.rate == "" {
		p.c.Text(x, y, canvas.Truncate(r.text, max(p.w-x-1, 0)), r.style, look.OnTop)
		return
	}
	p.c.Text(x+rateW-canvas.Width(r.rate), y, r.rate, r.style, look.OnTop)
	x += rateW + 2
	cells := min(max(p.w-52, 8), samples/2)
	p.spark(x, y, cells, r)
	x += cells + 2
	p.c.Text(x, y, canvas.Truncate(r.text, max(p.w-x-1, 0)), look.Text, look.OnTop)
}

// spark draws a past as columns of dots, two to a cell and four high, the newest at the
// right. The highest of what is shown is four; what is more than nothing is at least one.
func (p *Status) spark(x, y, cells int, r *row) {
	if r.past == nil {
		return
	}
	most := r.past.most(2 * cells)
	r.past.newest(2*cells, func(i int, v float64) {
		if !(v > 0) {
			return
		}
		for k := range int(math.Ceil(4 * v / most)) {
			p.c.Dot(2*x+i, 4*y+3-k, r.style, look.OnTop)
		}
	})
}

func number(n uint64) string { return words.Thousands(int(min(n, math.MaxInt64))) }

// size writes bytes in at most six columns.
func size(n uint64) string {
	switch {
	case n < 1e3:
		return fmt.Sprintf("%d B", n)
	case n < 1e6:
		return fmt.Sprintf("%d kB", n/1e3)
	case n < 1e9:
		return fmt.Sprintf("%d MB", n/1e6)
	case n < 1e13:
		return fmt.Sprintf("%.1f GB", float64(n)/1e9)
	}
	return fmt.Sprintf("%d TB", n/1e12)
}
