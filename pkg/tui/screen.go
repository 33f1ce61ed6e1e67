package tui

import (
	"fmt"
	"strings"
	"time"

	"tracker/pkg/client"
	"tracker/pkg/geo"
	"tracker/pkg/track"
	"tracker/pkg/tui/canvas"
	"tracker/pkg/tui/world"
)

// screen is the whole of the program's face: what is shown, and what a key or the
// mouse does to it. It knows no terminal: keys come in as names, frames go out as
// strings. It belongs to one goroutine.
type screen struct {
	store  *Store
	now    func() time.Time
	server string
	theme  *canvas.Theme
	glyphs canvas.Glyphs
	ages   ages

	w, h  int
	lay   layout
	view  world.View
	focus focus
	list  list

	sel      track.DeviceID // 0 is none
	selIndex int32          // where it is in points now, nobody if it is not
	follow   bool
	fitting  bool // the view keeps all devices in sight until it is moved by hand
	fitted   int  // how many devices it was fitted to
	fittedAt time.Time
	trails   trailMode
	borders  bool
	help     bool
	noMouse  bool
	quit     bool
	redraw   bool
	suspend  bool
	still    bool // one frame only: no hints
	paused   bool
	pausedAt uint64

	dragging, dragged bool
	dragX, dragY      int

	dirty   bool // a key or the mouse changed something
	seen    status
	second  int64 // of the last frame
	at      time.Time
	points  []point
	places  []world.Pos
	speed   float64 // fixes a second
	counted uint64
	countAt time.Time
	slow    string // what the status line says of a slow terminal

	pic   picture
	c     canvas.Canvas
	out   []byte
	frame string
	where whereCache
}

type focus uint8

const (
	onMap focus = iota
	onList
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
	kind          layoutKind
	mapBox        rect // with its frame
	m             rect // what is drawn on
	detailBox     rect
	listBox       rect
	list          rect // header and rows
	hints, detail int  // rows of the one-liners, -1 if not shown
}

const detailRows = 12 // with the frame

func layOut(w, h int, f focus, still bool) layout {
	l := layout{hints: -1, detail: -1}
	if still {
		defer func() { l.hints = -1 }()
		h++ // for the hints that are not drawn
	}
	switch {
	case w >= 100 && h >= 30:
		l.hints = h - 1
		side := min(max(w/4, 36), 44)
		l.mapBox = rect{0, 1, w - side, h - 2}
		l.m = l.mapBox.inner()
		l.detailBox = rect{w - side, 1, side, detailRows}
		l.listBox = rect{w - side, 1 + detailRows, side, h - 2 - detailRows}
		l.list = l.listBox.inner()
	case w >= 60 && h >= 16:
		l.kind = compact
		l.hints, l.detail = h-1, h-2
		body := rect{0, 1, w, h - 3}
		if f == onList {
			l.list = body
		} else {
			l.m = body
		}
	default:
		l.kind = listOnly
		l.list = rect{0, 1, w, h - 1}
	}
	return l
}

func newScreen(o *Options, store *Store, theme *canvas.Theme, g canvas.Glyphs) *screen {
	return &screen{
		store: store, now: o.now(), server: canvas.Clean(o.Server), theme: theme, glyphs: g,
		ages:     ages{stale: o.staleAfter().Milliseconds(), lost: o.lostAfter().Milliseconds()},
		selIndex: nobody, fitting: true, borders: true, dirty: true,
		view: world.View{Centre: world.Project(geo.Deg(20, 10))},
	}
}

// resize keeps the geographic centre and the scale.
func (s *screen) resize(w, h int) {
	s.w, s.h = max(w, 0), max(h, 0)
	s.dirty = true
	s.arrange()
	if s.fitting {
		s.fit()
	}
}

func (s *screen) arrange() {
	s.lay = layOut(s.w, s.h, s.focus, s.still)
	if !s.lay.m.empty() && (s.view.W != 2*s.lay.m.w || s.view.H != 4*s.lay.m.h) {
		s.view.Resize(2*s.lay.m.w, 4*s.lay.m.h)
	}
}

func (s *screen) listFocused() bool { return s.lay.kind == listOnly || s.focus == onList }

// stir tells whether a frame would look different from the last one.
func (s *screen) stir() bool {
	return s.dirty || s.now().Unix() != s.second || !s.paused && s.store.status().version != s.seen.version
}

// compose makes a frame out of what the store holds now.
func (s *screen) compose() string {
	s.arrange()
	s.refresh()
	s.dirty, s.second = false, s.at.Unix()
	s.c.Resize(s.w, s.h)
	s.drawMap()
	if !s.lay.list.empty() {
		s.drawList()
	}
	s.drawDetails()
	s.drawStatus()
	s.drawHints()
	if s.help {
		s.drawHelp()
	}
	s.out = s.c.Encode(s.out[:0], s.theme, s.glyphs)
	s.frame = string(s.out)
	return s.frame
}

// refresh takes over what is new in the store, unless the picture is paused.
func (s *screen) refresh() {
	now := s.now()
	s.measure(now)
	if !s.paused || s.at.IsZero() {
		s.at = now
		s.seen = s.store.status()
		s.points = s.store.copyPoints(s.points)
	}
	s.selIndex = nobody
	if s.sel != 0 {
		// While paused the points may be older than the store.
		if i := s.store.find(s.sel); int(i) < len(s.points) {
			s.selIndex = i
		}
	}
	switch pos, ok := s.selectedPos(); {
	case s.follow && ok:
		s.view.Centre = pos
		s.view.Clamp()
	case s.fitting && now.Sub(s.fittedAt) >= time.Second && s.strayed():
		s.fittedAt = now
		s.fit()
	}
}

// measure counts fixes by the second.
func (s *screen) measure(now time.Time) {
	fixes := s.store.status().fixes
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
	for i := range s.points {
		p := &s.points[i]
		if !p.alive || !p.placed() {
			continue
		}
		if x, y := m.Dot(p.pos); x < 0 || y < 0 || x >= float64(s.view.W) || y >= float64(s.view.H) {
			return true
		}
		placed++
	}
	return placed != s.fitted
}

func (s *screen) renewList() { s.list.renew(s.store, s.store.status(), s.points, &s.ages, s.at) }

func (s *screen) drawMap() {
	if s.lay.m.empty() {
		s.countStates()
		return
	}
	sc := &s.pic.scene
	*sc = scene{
		view: s.view, points: s.points, now: s.at.UnixMilli(), ages: s.ages, theme: s.theme,
		land: true, borders: s.borders, selected: s.selIndex, trails: s.trails,
		name: s.pointName, trail: s.store.trail, counts: sc.counts,
	}
	if s.selIndex != nobody {
		sc.label = s.pointName(s.selIndex)
	}
	s.c.Blit(s.pic.draw(sc), s.lay.m.x, s.lay.m.y)
	s.drawLegend()
	if s.lay.kind == panes {
		s.frameBox(s.lay.mapBox, fmt.Sprintf("Map  z%.1f  1 cell ≈ %s", s.view.Zoom, length(2*s.view.MetersPerDot())), s.focus == onMap)
	}
}

// countStates is what the picture does on the way, for when there is no picture.
func (s *screen) countStates() {
	counts := &s.pic.scene.counts
	*counts = [stateCount]int{}
	for i := range s.points {
		if p := &s.points[i]; p.alive {
			counts[p.state(s.at.UnixMilli(), &s.ages)]++
		}
	}
}

func (s *screen) pointName(i int32) string {
	_, name, _ := s.store.info(i)
	return canvas.Truncate(name, 24)
}

// drawLegend puts the scale bar and the credits into the lower corners of the map.
func (s *screen) drawLegend() {
	m := s.lay.m
	y := m.y + m.h - 1
	cells, label := scaleBar(s.view.MetersPerDot(), m.w/4)
	bar := "├" + strings.Repeat("─", max(cells-2, 0)) + "┤ " + label
	if s.lay.kind == compact {
		bar += fmt.Sprintf("  z%.1f", s.view.Zoom)
	}
	if s.view.Zoom >= world.DetailEnds {
		bar += "  (coasts are true to 400 m)"
	}
	x := s.c.Text(m.x, y, bar+" ", dim, onTop)
	credits := " " + world.Credits
	if at := m.x + m.w - canvas.Width(credits); at > x {
		s.c.Text(at, y, credits, dim, onTop)
	}
}

// scaleBar is a round length on the ground that is at most room cells long.
func scaleBar(perDot geo.Meters, room int) (cells int, label string) {
	longest := float64(perDot) * 2 * float64(room)
	best := 1.0
	for step := 1.0; step <= longest; step *= 10 {
		for _, m := range []float64{1, 2, 5} {
			if step*m <= longest {
				best = step * m
			}
		}
	}
	return int(best / (2 * float64(perDot))), length(geo.Meters(best))
}

func (s *screen) frameBox(r rect, name string, focused bool) {
	fg, titleFg := frame, bright
	if focused {
		fg, titleFg = title, title
	}
	s.c.Frame(r.x, r.y, r.w, r.h, name, fg, titleFg, onTop)
}

// column of the list.
type column struct {
	head string
	w    int   // negative: flush right
	by   order // orders if it cannot be sorted by
	text func(*screen, *client.Fix, *point) string
}

var columns = []column{
	{"km/h", -5, bySpeed, func(_ *screen, f *client.Fix, _ *point) string {
		if f.Has&track.HasVel == 0 {
			return "—"
		}
		return kmh(f.Speed)
	}},
	{"", 2, orders, func(_ *screen, f *client.Fix, p *point) string {
		if f.Has&track.HasVel == 0 || p.speed < movingFrom {
			return ""
		}
		return string(arrow(p.course))
	}},
	{"age", -5, byAge, func(s *screen, _ *client.Fix, p *point) string {
		return age(time.Duration(s.at.UnixMilli()-p.heard) * time.Millisecond)
	}},
	{"batt", -5, byBattery, func(_ *screen, f *client.Fix, _ *point) string {
		if f.Has&track.HasBat == 0 {
			return "—"
		}
		return fmt.Sprintf("%d%%", f.Battery)
	}},
}

func (s *screen) drawList() {
	s.renewList()
	r := s.lay.list
	rows := max(r.h-1, 0)
	s.list.clamp(rows)
	if s.lay.kind == panes {
		s.frameBox(s.lay.listBox, fmt.Sprintf("Devices %s by %s", thousands(len(s.list.rows)), s.list.by), s.focus == onList)
	}
	s.listHeader(r)
	for i := range rows {
		at := s.list.top + i
		if at >= len(s.list.rows) {
			break
		}
		s.listRow(rect{r.x, r.y + 1 + i, r.w, 1}, s.list.rows[at])
	}
	if len(s.list.rows) == 0 && rows > 0 {
		s.c.Text(r.x+2, r.y+1, s.empty(), dim, onTop)
	}
}

// empty says why there is nothing to see.
func (s *screen) empty() string {
	if s.seen.loaded {
		return "no devices yet"
	}
	return "waiting for the first fixes…"
}

func (s *screen) listHeader(r rect) {
	x := r.x + r.w
	for i := len(columns) - 1; i >= 0 && x-r.x > 20; i-- {
		x = s.cell(x, r.y, columns[i].w, columns[i].head, s.headStyle(columns[i].by))
	}
	s.c.Text(r.x+4, r.y, "name", s.headStyle(byName), onTop)
	s.c.Text(r.x+2, r.y, "s", s.headStyle(byState), onTop)
}

func (s *screen) headStyle(by order) canvas.Style {
	if s.list.by == by {
		return title
	}
	return dim
}

// cell writes text into the |w| columns before x and returns where they start.
func (s *screen) cell(x, y, w int, txt string, fg canvas.Style) int {
	if w < 0 {
		s.c.Text(x-canvas.Width(txt), y, txt, fg, onTop)
		return x + w
	}
	s.c.Text(x-w+1, y, txt, fg, onTop)
	return x - w
}

func (s *screen) listRow(r rect, i int32) {
	fix, name, ok := s.store.info(i)
	if !ok || int(i) >= len(s.points) {
		return // gone since the list was made
	}
	p := &s.points[i]
	st := p.state(s.at.UnixMilli(), &s.ages)
	fg := text
	if i == s.selIndex {
		fg = row
		s.c.Fill(r.x, r.y, r.w, 1, row, text, onTop)
		s.c.Text(r.x, r.y, "▸", row, onTop)
	}
	x := r.x + r.w
	for c := len(columns) - 1; c >= 0 && x-r.x > 20; c-- {
		x = s.cell(x, r.y, columns[c].w, columns[c].text(s, &fix, p), fg)
	}
	s.c.Text(r.x+4, r.y, canvas.Truncate(name, x-r.x-5), fg, onTop)
	if i != s.selIndex {
		fg = stateLooks[st].style
	}
	s.c.Rune(r.x+2, r.y, stateLooks[st].glyph, fg, onTop)
}

func (s *screen) drawDetails() {
	if !s.lay.detailBox.empty() {
		s.drawDetailBox(s.lay.detailBox)
	} else if s.lay.detail >= 0 {
		s.drawDetailLine(s.lay.detail)
	}
}

// selected is what is known of the selected device.
func (s *screen) selected() (fix client.Fix, name string, p *point, ok bool) {
	if s.selIndex == nobody {
		return client.Fix{}, "", nil, false
	}
	fix, name, ok = s.store.info(s.selIndex)
	return fix, name, &s.points[s.selIndex], ok
}

func (s *screen) drawDetailBox(r rect) {
	fix, name, p, ok := s.selected()
	in := r.inner()
	if !ok {
		s.frameBox(r, "No device selected", false)
		for i, line := range []string{"n selects the next one, a click", "the one that is clicked."} {
			s.c.Text(in.x+1, in.y+i, canvas.Truncate(line, in.w-1), dim, onTop)
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
		s.c.Text(in.x+1, in.y+i, f.name, dim, onTop)
		s.c.Text(in.x+9, in.y+i, canvas.Truncate(f.value, in.w-9), f.style, onTop)
	}
}

type field struct {
	name, value string
	style       canvas.Style
}

func (s *screen) fields(f *client.Fix, p *point) []field {
	st := p.state(s.at.UnixMilli(), &s.ages)
	fs := []field{{"state", stateLooks[st].name + ", heard " + ago(s.silence(p)), stateLooks[st].style}}
	if f.HasPos() {
		fs = append(fs, field{"place", f.At.String() + accuracy(f), bright}, field{"", s.whereabouts(f.At), text})
	} else {
		fs = append(fs, field{"place", "not known", text})
	}
	if f.Has&track.HasVel != 0 {
		fs = append(fs, field{"speed", fmt.Sprintf("%s km/h %s %.0f°", kmh(f.Speed), string(arrow(p.course)), f.Course), text})
	}
	if f.Has&track.HasAlt != 0 {
		fs = append(fs, field{"height", fmt.Sprintf("%d m", f.Alt), text})
	}
	if f.Has&track.HasBat != 0 {
		fs = append(fs, field{"battery", battery(f), text})
	}
	if f.Event != "" {
		fs = append(fs, field{"event", canvas.Clean(f.Event), alert})
	}
	return append(fs,
		field{"fix", f.Time.UTC().Format("2006-01-02 15:04:05Z"), text},
		field{"id", f.Device.String(), dim})
}

func (s *screen) silence(p *point) time.Duration {
	return time.Duration(s.at.UnixMilli()-p.heard) * time.Millisecond
}

func accuracy(f *client.Fix) string {
	if f.Has&track.HasAcc == 0 {
		return ""
	}
	return " ±" + length(f.Accuracy)
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
		s.where = whereCache{p, near(p)}
	}
	return s.where.text
}

// drawDetailLine is the box in one line.
func (s *screen) drawDetailLine(y int) {
	fix, name, p, ok := s.selected()
	if !ok {
		s.c.Text(1, y, canvas.Truncate(s.summary(), s.w-2), dim, onTop)
		return
	}
	if s.follow {
		name += " · following"
	}
	x := s.c.Text(1, y, canvas.Truncate(name, s.w/3), title, onTop)
	for _, f := range s.fields(&fix, p) {
		if f.name == "id" || f.name == "fix" || f.value == "" {
			continue
		}
		if x+2+canvas.Width(f.value) > s.w {
			break
		}
		x = s.c.Text(x+2, y, f.value, f.style, onTop)
	}
}

func (s *screen) summary() string {
	if s.seen.devices == 0 {
		return s.empty()
	}
	return fmt.Sprintf("%s of %s devices in view, trails %s", thousands(s.pic.visible), thousands(s.seen.devices), s.trails)
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
	clock := s.now().UTC().Format("15:04:05Z")
	parts := append([]part{{"trackctl", title, 4}}, s.linkParts()...)
	parts = append(parts, part{thousands(s.seen.devices) + " dev", bright, 2})
	for st := stateCount; st > 0; st-- {
		if n := s.pic.scene.counts[st-1]; n > 0 {
			parts = append(parts, part{thousands(n) + string(stateLooks[st-1].glyph), stateLooks[st-1].style, 3})
		}
	}
	if s.slow != "" {
		parts = append(parts, part{s.slow, warn, 6})
	}
	parts = append(parts, part{clock, dim, 5})
	parts = fitParts(parts, s.w-2)
	x := 1
	for i, p := range parts {
		if i == len(parts)-1 && p.text == clock {
			x = max(x, s.w-1-len(clock))
		}
		x = s.c.Text(x, 0, p.text, p.style, onTop) + 1
	}
}

// linkParts says how the feed is doing.
func (s *screen) linkParts() []part {
	st := s.store.status()
	link := st.link
	switch {
	case s.paused:
		return []part{{fmt.Sprintf("‖ PAUSED %s new", thousands(int(st.fixes-s.pausedAt))), warn, 0}}
	case link.State == Connecting:
		return []part{{"○ CONNECTING", warn, 0}, {s.server, dim, 5}}
	case link.State == Reconnecting:
		return []part{{"○ RECONNECTING " + age(s.now().Sub(link.Since)), warn, 0}, {link.Note, warn, 6}}
	case link.State == Ended:
		return []part{{"○ ENDED", dim, 0}, {link.Note, dim, 6}}
	}
	label, style := "● LIVE", good
	if st.lag >= 2*time.Second {
		label, style = "● LAG", warn
	}
	parts := []part{{label, style, 0}, {s.server, dim, 7}}
	if !s.still {
		parts = append(parts, part{rate(s.speed) + " fix/s", text, 4})
	}
	if st.lag > 0 {
		parts = append(parts, part{"lag " + lagText(st.lag), dim, 5})
	}
	if st.skipped > 0 {
		parts = append(parts, part{thousands(int(st.skipped)) + " skipped", warn, 5})
	}
	return parts
}

func lagText(d time.Duration) string {
	if d < time.Second {
		return fmt.Sprintf("%dms", d.Milliseconds())
	}
	return age(d)
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
	if s.lay.hints < 0 {
		return
	}
	var parts []part
	for _, b := range bindings {
		if b.hint != "" {
			key, _, _ := strings.Cut(b.shown, " ")
			parts = append(parts, part{" " + key + " " + b.hint, dim, b.rank})
		}
	}
	x := 0
	for _, p := range fitParts(parts, s.w) {
		key, word, _ := strings.Cut(p.text[1:], " ")
		x = s.c.Text(x+1, s.lay.hints, key, keycap, onTop)
		x = s.c.Text(x+1, s.lay.hints, word, p.style, onTop) + 1
	}
}

// drawHelp lays the table of keys over everything.
func (s *screen) drawHelp() {
	var lines []binding
	w := 0
	for _, b := range bindings {
		if b.shown != "" {
			lines = append(lines, b)
			w = max(w, canvas.Width(b.help))
		}
	}
	r := rect{w: min(w+16, s.w), h: min(len(lines)+4, s.h)}
	r.x, r.y = (s.w-r.w)/2, (s.h-r.h)/2
	s.c.Fill(r.x, r.y, r.w, r.h, text, text, onTop)
	s.frameBox(r, "Keys", true)
	in := r.inner()
	for i, b := range lines {
		if i >= in.h {
			return
		}
		s.c.Text(in.x+1, in.y+i, b.shown, keycap, onTop)
		s.c.Text(in.x+12, in.y+i, canvas.Truncate(b.help, in.w-13), text, onTop)
	}
	if in.h > len(lines)+1 {
		s.c.Text(in.x+1, in.y+len(lines)+1, canvas.Truncate("Mouse: drag pans, wheel zooms, click selects.", in.w-2), dim, onTop)
	}
}
