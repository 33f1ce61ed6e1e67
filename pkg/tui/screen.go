package tui

import (
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

type focus uint8

const (
	onMap focus = iota
	onList
	onEvents
)

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
