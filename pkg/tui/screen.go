package tui

import (
	"cmp"
	"fmt"
	"time"

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
	store  *fleet.Store // what is shown: the present, a moment of it that is held, or the past
	live   *fleet.Store // the present
	held   *fleet.Store // a copy of it, while the picture is paused; else nil
	player *past.Player // the way from one to the other; nil: there is only the present
	keeper *keeper      // of the feed; nil: nobody can do anything about it
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

	prompt    prompt
	sheet     sheet
	jobs      *jobs             // runs commands; nil: there are none
	named     map[string]string // filters by name: those of the settings and of :save
	events    eventPane
	flt       *filter.Filter   // who is meant; nil is all
	wanted    string           // its text
	members   []track.DeviceID // of a cluster, instead of who is meant; nil is none
	grouped   []int32          // those of them that are there, as the list shows them
	groupedAt int64            // when they were looked for, unix seconds
	colour    look.ColourBy
	mask      *fleet.Mask
	over      []*overlay.Overlay
	said      saying
	copies    string           // for the clipboard, until it was handed over
	moved     uint64           // of the player, when it was looked at
	first     []track.DeviceID // whose history is wanted first
	fast      float64          // how fast the past goes by, 0 is as life does
	slots     []int            // memory for a sparkline

	sel      track.DeviceID // 0 is none
	selIndex int32          // where it is in the frame, fleet.Nobody if it is not
	follow   bool
	fitting  bool           // the view keeps all devices in sight until it is moved by hand
	fitted   int            // how many devices it was fitted to
	fittedTo *filter.Filter // that meant them
	fittedAt time.Time
	trails   chart.TrailMode
	base     int  // which of chart.Bases is drawn
	details  bool // are to be seen, as far as there is room
	opened   bool // and only because of Enter
	help     bool
	helpTop  int // first line of it that is shown
	noMouse  bool
	quit     bool
	redraw   bool
	suspend  bool
	still    bool    // one frame only: no hints
	opening  Opening // where to begin, until there are devices

	dragging, dragged bool
	dragX, dragY      int

	dirty   bool        // a key or the mouse changed something
	frame   fleet.Frame // what is shown
	at      time.Time   // of frame
	second  int64       // of the present, in the last picture
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

type focus uint8

const (
	onMap focus = iota // where there is no map, its place is the list's
	onList
	onEvents
	onDetails // in full, where there is no pane for them
)

func newScreen(o *Options, store *fleet.Store, f face) (*screen, error) {
	s := &screen{
		store: store, live: store, order: fleet.NewOrder(store), server: canvas.Clean(o.Server), face: f, link: &tty.Pace{},
		selIndex: fleet.Nobody, fitting: true, dirty: true,
		view: world.View{Centre: world.Project(geo.Deg(20, 10))},
		conf: o.settings(), getenv: o.getenv, flt: o.Filter, wanted: cmp.Or(o.Typed, o.Filter.String()), over: o.Overlays,
		named: o.settings().Filters,
	}
	s.events.shown, s.details = true, true
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
		switch {
		case s.prompt.isOpen():
			s.typeKey(e)
		case s.sheet.isOpen() && !s.help && s.sheetKey(e.Key):
		default:
			s.key(e.Key)
		}
	case tty.Paste:
		if s.prompt.isOpen() {
			s.prompt.insert(e.Text)
			s.typed()
		}
	case tty.Click, tty.Drag, tty.Release:
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
	before := s.lay.kind
	look := shown{s.most, s.focus, s.events.shown, s.details, s.still}
	if s.lay = layOut(s.w, s.h, look); !s.has(s.focus) || s.lay.kind == listOnly && before != listOnly {
		s.focus, look.focus = onMap, onMap
		s.lay = layOut(s.w, s.h, look)
	}
	if !s.lay.m.empty() && (s.view.W != 2*s.lay.m.w || s.view.H != 4*s.lay.m.h) {
		s.view.Resize(2*s.lay.m.w, 4*s.lay.m.h)
	}
}

// has tells whether there is such a thing to be looked at.
func (s *screen) has(f focus) bool {
	switch f {
	case onEvents:
		return !s.lay.eventBox.empty() || s.lay.kind != panes
	case onDetails:
		return s.lay.kind != panes
	}
	return true
}

func (s *screen) listFocused() bool {
	return !s.lay.list.empty() && (s.focus == onList || s.lay.kind == listOnly)
}

// Due tells whether a frame would look different from the last one.
func (s *screen) Due(time.Time) bool {
	return s.dirty || s.order.Ready() || s.sheetDue() || s.live.Now().Unix() != s.second || s.player != nil && s.player.State().Version != s.moved ||
		s.store.Status().Version != s.frame.Status.Version || s.store.Events().Version() != s.events.version
}

// Draw makes a frame out of what the store holds now. It goes by the store's clock.
func (s *screen) Draw(time.Time) *canvas.Canvas {
	s.arrange()
	s.refresh()
	s.dirty, s.second = false, s.live.Now().Unix()
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
	if s.sheet.isOpen() {
		s.drawSheet()
	}
	if s.prompt.isOpen() {
		s.prompt.draw(&s.c, s.h-1, s.w)
	}
	if s.help {
		s.drawHelp()
	}
	return &s.c
}

// refresh takes over what is new in the store.
func (s *screen) refresh() {
	s.travel()
	if s.at = s.store.Now(); s.store != s.live {
		s.live.Tick() // who falls silent meanwhile is told of
	}
	s.measure(s.at)
	s.frame.Refresh(s.store, s.flt)
	s.events.renew(s.store.Events(), s.focus == onEvents)
	s.regroup()
	s.selIndex = fleet.Nobody
	if s.sel != 0 {
		if i := s.store.Find(s.sel); int(i) < len(s.frame.Points) { // else it came since
			s.selIndex = i
		}
	}
	if s.opening != (Opening{}) {
		s.begin()
	}
	s.steer()
}

// steer moves the view where it moves by itself: with the device that it follows, or to
// keep everybody in sight. While a filter is typed it stays.
func (s *screen) steer() {
	s.blur()
	switch pos, ok := s.selectedPos(); {
	case s.follow && ok:
		s.view.Centre = pos
		s.view.Clamp()
	case s.fitting && !s.prompt.isOpen() && (s.fitted == 0 || s.at.Sub(s.fittedAt).Abs() >= time.Second):
		s.fittedAt = s.at
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
	switch d := now.Sub(s.countAt); {
	case d < 0: // the clock was set
		s.counted, s.countAt = fixes, now
	case d >= time.Second:
		s.speed = float64(fixes-s.counted) / d.Seconds()
		s.counted, s.countAt = fixes, now
	}
}

// strayed tells whether a device that is meant is out of sight, or others are meant than
// when the view was fitted, or, while all are meant, whether one came or went since.
func (s *screen) strayed() bool {
	if s.fittedTo != s.flt {
		return true
	}
	m := s.view.Mapper()
	placed := 0
	for i := range s.frame.Points {
		if !s.fits(i) {
			continue
		}
		if x, y := m.Dot(s.frame.Points[i].Pos); x < 0 || y < 0 || x >= float64(s.view.W) || y >= float64(s.view.H) {
			return true
		}
		placed++
	}
	return s.flt == nil && placed != s.fitted
}

func (s *screen) drawMap() {
	if s.lay.m.empty() {
		return
	}
	s.scene = chart.Scene{
		View: s.view, Frame: &s.frame, Store: s.store, Theme: s.theme, Layers: chart.Everything.With(s.base), Colour: s.colour,
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
	box, title := s.lay.mapBox, ""
	if s.lay.kind == panes {
		title = fmt.Sprintf("Map  z%.1f  1 cell ≈ %s%s", s.view.Zoom, words.Length(2*s.view.MetersPerDot()), s.banner())
		s.frameBox(box, title, s.focus == onMap)
	}
	s.drawLegend(max(canvas.Width(title)+5, 34))
}

// banner says who is followed, where no details do.
func (s *screen) banner() string {
	if _, name, _, ok := s.selected(); ok && s.follow && s.lay.detail < 0 && s.lay.detailBox.empty() {
		return "  following " + name
	}
	return ""
}

// drawLegend tells what the colours mean, unless they mean what the status line says: in
// the frame of the map from a column on if that has room, else in its first row.
func (s *screen) drawLegend(from int) {
	if s.colour == look.ByState {
		return
	}
	parts, r, w := s.chart.Legend(), s.lay.m, 1
	for _, p := range parts {
		w += canvas.Width(p.Text) + 3
	}
	if box := s.lay.mapBox; from+w+1 <= box.w {
		chart.WriteLegend(&s.c, parts, box.x+from, box.y, w)
		return
	}
	s.c.Fill(r.x, r.y, min(w+1, r.w), 1, look.Text, look.Text, look.OnTop)
	chart.WriteLegend(&s.c, parts, r.x+1, r.y, r.w-1)
}

// drawCorners puts the scale bar and the credits into the lower corners of the map.
func (s *screen) drawCorners() {
	m, note := s.lay.m, ""
	if s.lay.kind == compact {
		note = fmt.Sprintf("  z%.1f%s", s.view.Zoom, s.banner())
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
