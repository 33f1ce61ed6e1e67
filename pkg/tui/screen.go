package tui

import (
	"fmt"
	"strings"
	"time"

	"tracker/pkg/client"
	"tracker/pkg/filter"
	"tracker/pkg/geo"
	"tracker/pkg/track"
	"tracker/pkg/tui/canvas"
	"tracker/pkg/tui/chart"
	"tracker/pkg/tui/conf"
	"tracker/pkg/tui/fleet"
	"tracker/pkg/tui/look"
	"tracker/pkg/tui/overlay"
	"tracker/pkg/tui/past"
	"tracker/pkg/tui/tty"
	"tracker/pkg/tui/words"
	"tracker/pkg/tui/world"
)

// screen is the whole of the map's face: what is shown, and what a key or the mouse
// does to it. It is a tty.Page, and so knows no terminal. It belongs to one goroutine.
type screen struct {
	store  *fleet.Store // what is shown: the present, or the past
	live   *fleet.Store // the present
	player *past.Player // the way from one to the other; nil: there is only the present
	server string
	face
	conf   *conf.Config
	getenv func(string) string
	link   *tty.Pace // how fast the terminal is
	keys   *conf.Keymap
	does   map[string]func(*screen) // by name of the action

	w, h  int
	most  layoutKind // what people want where more would fit
	lay   layout
	view  world.View
	focus focus
	list  list
	order *fleet.Order

	prompt  prompt
	events  eventPane
	flt     *filter.Filter // who is meant; nil is all
	wanted  string         // its text
	members []int32        // of a cluster, instead of who is meant; nil is none
	colour  look.ColourBy
	mask    *fleet.Mask
	over    []*overlay.Overlay
	said    saying
	copies  string           // for the clipboard, until it was handed over
	moved   uint64           // of the player, when it was looked at
	first   []track.DeviceID // whose history is wanted first
	fast    float64          // how fast the past goes by, 0 is as life does
	slots   []int            // memory for a sparkline

	sel      track.DeviceID // 0 is none
	selIndex int32          // where it is in the frame, fleet.Nobody if it is not
	follow   bool
	fitting  bool // the view keeps all devices in sight until it is moved by hand
	fitted   int  // how many devices it was fitted to
	fittedAt time.Time
	trails   chart.TrailMode
	layers   chart.Layers
	help     bool
	helpTop  int // first line of it that is shown
	noMouse  bool
	quit     bool
	redraw   bool
	suspend  bool
	still    bool // one frame only: no hints
	paused   bool
	pausedAt uint64

	dragging, dragged bool
	dragX, dragY      int

	dirty   bool        // a key or the mouse changed something
	frame   fleet.Frame // what is shown
	at      time.Time   // of frame
	second  int64       // of the last picture
	places  []world.Pos
	speed   float64 // fixes a second
	counted uint64
	countAt time.Time

	chart chart.Chart
	scene chart.Scene
	c     canvas.Canvas
	where whereCache
}

var _ tty.Page = (*screen)(nil)

// list is how the list of devices is looked at.
type list struct {
	by      fleet.Column
	reverse bool
	top     int // first row shown
}

// show scrolls so that a row of n can be seen in a window of h rows.
func (l *list) show(row, h, n int) {
	l.top = min(max(l.top, row-h+1), row)
	l.clamp(h, n)
}

func (l *list) clamp(h, n int) { l.top = max(min(l.top, n-h), 0) }

type focus uint8

const (
	onMap focus = iota
	onList
	onEvents
)

// whereCache spares looking up the nearest city for a device that has not moved.
type whereCache struct {
	at   geo.Point
	text string
}

// rect is a part of the screen, in cells.
type rect struct{ x, y, w, h int }

func (r rect) empty() bool { return r.w <= 0 || r.h <= 0 }

func (r rect) has(x, y int) bool { return x >= r.x && y >= r.y && x < r.x+r.w && y < r.y+r.h }

func (r rect) inner() rect { return rect{r.x + 1, r.y + 1, max(r.w-2, 0), max(r.h-2, 0)} }

// layoutKind is how much fits.
type layoutKind uint8

const (
	panes    layoutKind = iota // from 100x30 on: map, details and list side by side
	compact                    // map or list, details in one line
	listOnly                   // below 60x16
)

// layout is where things are. What is not shown is empty.
type layout struct {
	kind      layoutKind
	mapBox    rect // with its frame
	m         rect // what is drawn on
	detailBox rect
	listBox   rect
	list      rect // header and rows
	eventBox  rect
	// Rows of the one-liners, -1 if not shown.
	hints, detail, event int
}

// Rows of boxes, with their frames.
const (
	detailRows = 12
	eventRows  = 9 // from eventsFrom rows on, and fewEvents below
	fewEvents  = 5
	eventsFrom = 40
)

func layOut(w, h int, most layoutKind, f focus, events, still bool) layout {
	l := layout{hints: -1, detail: -1, event: -1}
	if still {
		defer func() { l.hints = -1 }()
		h++ // for the hints that are not drawn
	}
	switch {
	case w >= 100 && h >= 30 && most == panes:
		l.hints = h - 1
		side, low := min(max(w/4, 36), 44), 0
		if events {
			if low = eventRows; h < eventsFrom {
				low = fewEvents
			}
			l.eventBox = rect{0, h - 1 - low, w, low}
		}
		l.mapBox = rect{0, 1, w - side, h - 2 - low}
		l.m = l.mapBox.inner()
		l.detailBox = rect{w - side, 1, side, detailRows}
		l.listBox = rect{w - side, 1 + detailRows, side, h - 2 - detailRows - low}
		l.list = l.listBox.inner()
	case w >= 60 && h >= 16 && most <= compact:
		l.kind = compact
		l.hints, l.event, l.detail = h-1, h-2, h-3
		body := rect{0, 1, w, h - 4}
		switch f {
		case onList:
			l.list = body
		case onEvents:
			l.eventBox = body
		default:
			l.m = body
		}
	default:
		l.kind = listOnly
		l.list = rect{0, 1, w, h - 1}
	}
	return l
}

func newScreen(o *Options, store *fleet.Store, f face) (*screen, error) {
	s := &screen{
		store: store, live: store, order: fleet.NewOrder(store), server: canvas.Clean(o.Server), face: f, link: &tty.Pace{},
		selIndex: fleet.Nobody, fitting: true, layers: chart.Everything, dirty: true,
		view: world.View{Centre: world.Project(geo.Deg(20, 10))},
		conf: o.settings(), getenv: o.getenv, flt: o.Filter, wanted: o.Filter.String(), over: o.Overlays,
	}
	s.events.shown = true
	s.prefer()
	return s, s.bind(o)
}

// Resize keeps the geographic centre and the scale.
func (s *screen) Resize(w, h int) {
	s.w, s.h = max(w, 0), max(h, 0)
	s.dirty = true
	s.arrange()
	if s.fitting {
		s.fit()
	}
}

// Handle takes what a person did.
func (s *screen) Handle(e tty.Event) {
	switch e.Kind {
	case tty.Press:
		if s.prompt.isOpen() {
			s.typeKey(e)
			return
		}
		s.key(e.Key)
	case tty.Paste:
		if s.prompt.isOpen() {
			s.prompt.insert(e.Text)
			s.typed()
		}
	case tty.Click:
		if e.Button == tty.Left {
			s.mouse(e)
		}
	case tty.Drag, tty.Release:
		s.mouse(e)
	case tty.Wheel:
		if e.Button == tty.WheelUp || e.Button == tty.WheelDown {
			s.mouse(e)
		}
	case tty.Focus:
		s.dirty = true
	case tty.Resumed:
		s.redraw = true
	}
}

// Look is how the frame is to be encoded.
func (s *screen) Look() (*canvas.Theme, canvas.Glyphs) { return s.theme, s.glyphs }

// Wants is what the map asks of its terminal.
func (s *screen) Wants() tty.Wants {
	w := tty.Wants{Quit: s.quit, Suspend: s.suspend, Redraw: s.redraw, Mouse: !s.noMouse, Copy: s.copies}
	s.suspend, s.redraw, s.copies = false, false, ""
	return w
}

func (s *screen) arrange() {
	s.lay = layOut(s.w, s.h, s.most, s.focus, s.events.shown, s.still)
	if !s.lay.m.empty() && (s.view.W != 2*s.lay.m.w || s.view.H != 4*s.lay.m.h) {
		s.view.Resize(2*s.lay.m.w, 4*s.lay.m.h)
	}
}

func (s *screen) listFocused() bool { return s.lay.kind == listOnly || s.focus == onList }

// Due tells whether a frame would look different from the last one.
func (s *screen) Due(time.Time) bool {
	return s.dirty || s.order.Ready() || s.store.Now().Unix() != s.second || s.player != nil && s.player.State().Version != s.moved ||
		!s.paused && (s.store.Status().Version != s.frame.Status.Version || s.store.Events().Version() != s.events.version)
}

// Draw makes a frame out of what the store holds now. It goes by the store's clock.
func (s *screen) Draw(time.Time) *canvas.Canvas {
	s.arrange()
	s.refresh()
	s.dirty, s.second = false, s.at.Unix()
	s.c.Resize(s.w, s.h)
	s.drawMap()
	if !s.lay.list.empty() {
		s.drawList()
	}
	s.drawDetails()
	s.drawEvents()
	s.drawLatest()
	s.drawStatus()
	s.drawHints()
	if s.prompt.isOpen() {
		s.prompt.draw(&s.c, s.h-1, s.w)
	}
	if s.help {
		s.drawHelp()
	}
	return &s.c
}

// refresh takes over what is new in the store, unless the picture is paused.
func (s *screen) refresh() {
	s.travel()
	now := s.store.Now()
	s.measure(now)
	if !s.paused || s.at.IsZero() {
		s.at = now
		s.frame.Refresh(s.store, s.flt)
		s.events.renew(s.store.Events())
	} else {
		s.store.Tick()
	}
	s.selIndex = fleet.Nobody
	if s.sel != 0 {
		// While paused the frame may be older than the store.
		if i := s.store.Find(s.sel); int(i) < len(s.frame.Points) {
			s.selIndex = i
		}
	}
	switch pos, ok := s.selectedPos(); {
	case s.follow && ok:
		s.view.Centre = pos
		s.view.Clamp()
	case s.fitting && (s.fitted == 0 || now.Sub(s.fittedAt).Abs() >= time.Second):
		s.fittedAt = now
		if s.strayed() {
			s.fit()
		}
	}
}

// measure counts fixes by the second.
func (s *screen) measure(now time.Time) {
	fixes := s.store.Status().Fixes
	if s.countAt.IsZero() {
		s.counted, s.countAt = fixes, now
		return
	}
	if d := now.Sub(s.countAt); d >= time.Second {
		s.speed = float64(fixes-s.counted) / d.Seconds()
		s.counted, s.countAt = fixes, now
	}
}

// strayed tells whether a device is out of sight, or came or went since the view was
// fitted.
func (s *screen) strayed() bool {
	m := s.view.Mapper()
	placed := 0
	for i := range s.frame.Points {
		p := &s.frame.Points[i]
		if !p.Alive() || !p.Placed() {
			continue
		}
		if x, y := m.Dot(p.Pos); x < 0 || y < 0 || x >= float64(s.view.W) || y >= float64(s.view.H) {
			return true
		}
		placed++
	}
	return placed != s.fitted
}

func (s *screen) drawMap() {
	if s.lay.m.empty() {
		return
	}
	s.scene = chart.Scene{
		View: s.view, Frame: &s.frame, Store: s.store, Theme: s.theme, Layers: s.layers, Colour: s.colour,
		Trails: s.trails, Selected: s.selIndex, Followed: fleet.Nobody, Overlays: s.over, Mask: s.mask, Filtering: s.flt != nil,
	}
	if !s.present() || s.link.Note() != "" {
		s.scene.Layers &^= chart.Reckon
	}
	if s.follow {
		s.scene.Followed = s.selIndex
	}
	s.c.Blit(s.chart.Draw(&s.scene), s.lay.m.x, s.lay.m.y)
	s.drawCorners()
	if s.lay.kind == panes {
		s.frameBox(s.lay.mapBox, fmt.Sprintf("Map  z%.1f  1 cell ≈ %s", s.view.Zoom, words.Length(2*s.view.MetersPerDot())), s.focus == onMap)
		if s.colour != look.ByState {
			chart.WriteLegend(&s.c, s.chart.Legend(), s.lay.mapBox.x+34, s.lay.mapBox.y, s.lay.mapBox.w-36)
		}
	}
}

// drawCorners puts the scale bar and the credits into the lower corners of the map.
func (s *screen) drawCorners() {
	m, note := s.lay.m, ""
	if s.lay.kind == compact {
		note = fmt.Sprintf("  z%.1f", s.view.Zoom)
	}
	chart.Corners(&s.c, &s.view, m.x, m.y+m.h-1, m.w, note)
}

func (s *screen) frameBox(r rect, name string, focused bool) {
	fg, titleFg := look.Frame, look.Bright
	if focused {
		fg, titleFg = look.Title, look.Title
	}
	s.c.Frame(r.x, r.y, r.w, r.h, name, fg, titleFg, look.OnTop)
}

// column of the list.
type column struct {
	head string
	w    int          // negative: flush right
	by   fleet.Column // fleet.Columns if it cannot be sorted by
	text func(*screen, *client.Fix, *fleet.Point) string
}

var columns = []column{
	{"km/h", -5, fleet.BySpeed, func(_ *screen, f *client.Fix, _ *fleet.Point) string {
		if f.Has&track.HasVel == 0 {
			return "—"
		}
		return words.KMH(f.Speed)
	}},
	{"", 2, fleet.Columns, func(_ *screen, f *client.Fix, p *fleet.Point) string {
		if f.Has&track.HasVel == 0 || p.Speed < fleet.MovingFrom {
			return ""
		}
		return string(look.Arrow(p.Course))
	}},
	{"age", -5, fleet.ByAge, func(s *screen, _ *client.Fix, p *fleet.Point) string {
		return words.Age(p.Age(s.frame.At))
	}},
	{"batt", -5, fleet.ByBattery, func(_ *screen, f *client.Fix, _ *fleet.Point) string {
		if f.Has&track.HasBat == 0 {
			return "—"
		}
		return fmt.Sprintf("%d%%", f.Battery)
	}},
}

func (s *screen) drawList() {
	order := s.rows()
	r := s.lay.list
	rows := max(r.h-1, 0)
	s.list.clamp(rows, len(order))
	if s.lay.kind == panes {
		s.frameBox(s.lay.listBox, s.listTitle(len(order)), s.focus == onList)
	}
	s.listHeader(r)
	for i := range rows {
		at := s.list.top + i
		if at >= len(order) {
			break
		}
		s.listRow(rect{r.x, r.y + 1 + i, r.w, 1}, order[at])
	}
	if len(order) == 0 && rows > 0 {
		s.c.Text(r.x+2, r.y+1, s.empty(), look.Dim, look.OnTop)
	}
}

// listTitle says who is listed.
func (s *screen) listTitle(n int) string {
	switch {
	case s.members != nil:
		return fmt.Sprintf("%s in this cluster", words.Thousands(n))
	case s.flt != nil:
		return fmt.Sprintf("Devices %s of %s by %s", words.Thousands(n), words.Thousands(s.frame.Status.Devices), s.list.by)
	}
	return fmt.Sprintf("Devices %s by %s", words.Thousands(n), s.list.by)
}

// empty says why there is nothing to see.
func (s *screen) empty() string {
	if s.flt != nil && s.frame.Status.Devices > 0 {
		return "no device matches " + s.wanted
	}
	if s.frame.Status.Loaded {
		return "no devices yet"
	}
	return "waiting for the first fixes…"
}

func (s *screen) listHeader(r rect) {
	x := r.x + r.w
	for i := len(columns) - 1; i >= 0 && x-r.x > 20; i-- {
		x = s.cell(x, r.y, columns[i].w, columns[i].head, s.headStyle(columns[i].by))
	}
	s.c.Text(r.x+4, r.y, "name", s.headStyle(fleet.ByName), look.OnTop)
	s.c.Text(r.x+2, r.y, "s", s.headStyle(fleet.ByState), look.OnTop)
}

func (s *screen) headStyle(by fleet.Column) canvas.Style {
	if s.list.by == by {
		return look.Title
	}
	return look.Dim
}

// cell writes text into the |w| columns before x and returns where they start.
func (s *screen) cell(x, y, w int, txt string, fg canvas.Style) int {
	if w < 0 {
		s.c.Text(x-canvas.Width(txt), y, txt, fg, look.OnTop)
		return x + w
	}
	s.c.Text(x-w+1, y, txt, fg, look.OnTop)
	return x - w
}

func (s *screen) listRow(r rect, i int32) {
	fix, name, ok := s.store.Info(i)
	if !ok || int(i) >= len(s.frame.Points) {
		return // gone since the list was made
	}
	p := &s.frame.Points[i]
	st := s.frame.Marks[i].State()
	fg := look.Text
	if i == s.selIndex {
		fg = look.Row
		s.c.Fill(r.x, r.y, r.w, 1, look.Row, look.Text, look.OnTop)
		s.c.Text(r.x, r.y, "▸", look.Row, look.OnTop)
	}
	x := r.x + r.w
	for c := len(columns) - 1; c >= 0 && x-r.x > 20; c-- {
		x = s.cell(x, r.y, columns[c].w, columns[c].text(s, &fix, p), fg)
	}
	s.c.Text(r.x+4, r.y, canvas.Truncate(s.mask.Name(fix.Device, name), x-r.x-5), fg, look.OnTop)
	if i != s.selIndex {
		fg = look.OfState[st]
	}
	s.c.Rune(r.x+2, r.y, look.Glyph[st], fg, look.OnTop)
}

func (s *screen) drawDetails() {
	if !s.lay.detailBox.empty() {
		s.drawDetailBox(s.lay.detailBox)
	} else if s.lay.detail >= 0 {
		s.drawDetailLine(s.lay.detail)
	}
}

// selected is what is known of the selected device.
func (s *screen) selected() (fix client.Fix, name string, p *fleet.Point, ok bool) {
	if s.selIndex == fleet.Nobody {
		return client.Fix{}, "", nil, false
	}
	fix, name, ok = s.store.Info(s.selIndex)
	return s.mask.Fix(fix), s.mask.Name(fix.Device, name), &s.frame.Points[s.selIndex], ok
}

func (s *screen) drawDetailBox(r rect) {
	fix, name, p, ok := s.selected()
	in := r.inner()
	if !ok {
		s.frameBox(r, "No device selected", false)
		for i, line := range []string{"n selects the next one, a click", "the one that is clicked."} {
			s.c.Text(in.x+1, in.y+i, canvas.Truncate(line, in.w-1), look.Dim, look.OnTop)
		}
		return
	}
	heading := canvas.Truncate(name, in.w-14)
	if s.follow {
		heading += " · following"
	}
	s.frameBox(r, heading, s.follow)
	for i, f := range s.fields(&fix, p) {
		if i >= in.h {
			break
		}
		s.c.Text(in.x+1, in.y+i, f.name, look.Dim, look.OnTop)
		s.c.Text(in.x+9, in.y+i, canvas.Truncate(f.value, in.w-9), f.style, look.OnTop)
	}
}

type field struct {
	name, value string
	style       canvas.Style
}

func (s *screen) fields(f *client.Fix, p *fleet.Point) []field {
	st := s.frame.Marks[s.selIndex].State()
	fs := []field{{"state", st.String() + ", heard " + words.Ago(p.Age(s.frame.At)), look.OfState[st]}}
	if f.HasPos() {
		fs = append(fs, field{"place", f.At.String() + accuracy(f), look.Bright}, field{"", s.whereabouts(f.At), look.Text})
	} else {
		fs = append(fs, field{"place", "not known", look.Text})
	}
	if f.Has&track.HasVel != 0 {
		fs = append(fs, field{"speed", fmt.Sprintf("%s km/h %s %.0f°", words.KMH(f.Speed), string(look.Arrow(p.Course)), f.Course), look.Text})
	}
	if f.Has&track.HasAlt != 0 {
		fs = append(fs, field{"height", fmt.Sprintf("%d m", f.Alt), look.Text})
	}
	if f.Has&track.HasBat != 0 {
		fs = append(fs, field{"battery", battery(f), look.Text})
	}
	if f.Event != "" {
		fs = append(fs, field{"event", canvas.Clean(f.Event), look.Alert})
	}
	fs = append(fs,
		field{"fix", f.Time.UTC().Format("2006-01-02 15:04:05Z"), look.Text},
		field{"id", s.mask.ID(f.Device), look.Dim})
	return append(fs, s.sparklines()...)
}

// sparklines are how fast the selected device was in the last half hour, and how full its
// battery in the last day, as far as the map has seen it.
func (s *screen) sparklines() (fs []field) {
	for _, m := range []struct {
		name string
		of   fleet.Measure
	}{{"speed", fleet.OfSpeed}, {"battery", fleet.OfBattery}} {
		s.slots = s.store.Spark(s.slots[:0], s.selIndex, m.of)
		seen := 0
		for _, v := range s.slots {
			if v != fleet.Nothing {
				seen++
			}
		}
		if seen < 2 {
			continue
		}
		span := words.Age(time.Duration(len(s.slots)) * m.of.Slot())
		fs = append(fs, field{m.name, spark(s.slots, 20) + " " + span, look.Text})
	}
	return fs
}

func accuracy(f *client.Fix) string {
	if f.Has&track.HasAcc == 0 {
		return ""
	}
	return " ±" + words.Length(f.Accuracy)
}

func battery(f *client.Fix) string {
	full := min(max(f.Battery, 0), 100) / 10
	s := strings.Repeat("▇", full) + strings.Repeat("░", 10-full) + fmt.Sprintf(" %d%%", f.Battery)
	if f.Power {
		s += " charging"
	}
	return s
}

func (s *screen) whereabouts(p geo.Point) string {
	if s.where.text == "" || s.where.at != p {
		s.where = whereCache{p, words.Near(p)}
	}
	return s.where.text
}

// drawDetailLine is the box in one line.
func (s *screen) drawDetailLine(y int) {
	fix, name, p, ok := s.selected()
	if !ok {
		s.c.Text(1, y, canvas.Truncate(s.summary(), s.w-2), look.Dim, look.OnTop)
		return
	}
	if s.follow {
		name += " · following"
	}
	x := s.c.Text(1, y, canvas.Truncate(name, s.w/3), look.Title, look.OnTop)
	for _, f := range s.fields(&fix, p) {
		if f.name == "id" {
			break // what follows is for the box
		}
		if f.name == "fix" || f.value == "" {
			continue
		}
		if x+2+canvas.Width(f.value) > s.w {
			break
		}
		x = s.c.Text(x+2, y, f.value, f.style, look.OnTop)
	}
}

func (s *screen) summary() string {
	if s.frame.Status.Devices == 0 {
		return s.empty()
	}
	return fmt.Sprintf("%s of %s devices in view, trails %s", words.Thousands(s.frame.Visible), words.Thousands(s.frame.Status.Devices), s.trails)
}

// part is a piece of the status line. The higher its rank the sooner it is left out.
type part struct {
	text  string
	style canvas.Style
	rank  int
}

func (s *screen) drawStatus() {
	if s.h == 0 {
		return
	}
	clock := s.store.Now().UTC().Format("15:04:05Z")
	parts := append([]part{{"trackctl", look.Title, 4}}, s.linkParts()...)
	parts = append(parts, part{words.Thousands(s.frame.Status.Devices) + " dev", look.Bright, 2})
	for st := filter.States; st > 0; st-- {
		if n := s.frame.Counts[st-1]; n > 0 {
			parts = append(parts, part{words.Thousands(n) + string(look.Glyph[st-1]), look.OfState[st-1], 3})
		}
	}
	if slow := s.link.Note(); slow != "" {
		parts = append(parts, part{slow, look.Warn, 6})
	}
	parts = append(parts, part{clock, look.Dim, 5})
	parts = fitParts(parts, s.w-2)
	x := 1
	for i, p := range parts {
		if i == len(parts)-1 && p.text == clock {
			x = max(x, s.w-1-len(clock))
		}
		x = s.c.Text(x, 0, p.text, p.style, look.OnTop) + 1
	}
}

// linkParts says how the feed is doing.
func (s *screen) linkParts() []part {
	st := s.store.Status()
	link := st.Link
	switch {
	case !s.present():
		return s.pastParts()
	case link.State == fleet.Denied:
		return []part{{"○ DENIED", look.Alert, 0}, {s.mask.Text(link.Note), look.Warn, 6}}
	case s.paused:
		return []part{{fmt.Sprintf("‖ PAUSED %s new", words.Thousands(int(st.Fixes-s.pausedAt))), look.Warn, 0}}
	case link.State == fleet.Connecting:
		return []part{{"○ CONNECTING", look.Warn, 0}, {s.server, look.Dim, 5}}
	case link.State == fleet.Reconnecting:
		return []part{{"○ RECONNECTING " + words.Age(s.store.Now().Sub(link.Since)), look.Warn, 0}, {link.Note, look.Warn, 6}}
	case link.State == fleet.Ended:
		return []part{{"○ ENDED", look.Dim, 0}, {link.Note, look.Dim, 6}}
	}
	label, style := "● LIVE", look.Good
	if st.Lag >= 2*time.Second {
		label, style = "● LAG", look.Warn
	}
	parts := []part{{label, style, 0}, {s.server, look.Dim, 7}}
	if !s.still {
		parts = append(parts, part{words.Rate(s.speed) + " fix/s", look.Text, 4})
	}
	if st.Lag > 0 {
		parts = append(parts, part{"lag " + words.Lag(st.Lag), look.Dim, 5})
	}
	if st.Skipped > 0 {
		parts = append(parts, part{words.Thousands(int(st.Skipped)) + " skipped", look.Warn, 5})
	}
	return parts
}

// fitParts leaves out the least important parts until the rest fits.
func fitParts(parts []part, w int) []part {
	for {
		total, worst := 0, -1
		for i, p := range parts {
			total += canvas.Width(p.text) + 1
			if p.rank > 0 && (worst < 0 || p.rank >= parts[worst].rank) {
				worst = i
			}
		}
		if total-1 <= w || worst < 0 {
			return parts
		}
		parts = append(parts[:worst:worst], parts[worst+1:]...)
	}
}

func (s *screen) drawHints() {
	if s.lay.hints < 0 || s.drawSaying(s.lay.hints) {
		return
	}
	var parts []part
	for _, row := range s.keys.Rows() {
		if row.Hint != "" {
			key, _, _ := strings.Cut(row.Label, " ")
			parts = append(parts, part{" " + key + " " + row.Hint, look.Dim, row.Rank})
		}
	}
	x := 0
	for _, p := range fitParts(parts, s.w) {
		key, word, _ := strings.Cut(p.text[1:], " ")
		x = s.c.Text(x+1, s.lay.hints, key, look.Keycap, look.OnTop)
		x = s.c.Text(x+1, s.lay.hints, word, p.style, look.OnTop) + 1
	}
}
