package tui

// rect is a part of the screen, in cells.
type rect struct{ x, y, w, h int }

func (r rect) empty() bool { return r.w <= 0 || r.h <= 0 }

func (r rect) has(x, y int) bool { return x >= r.x && y >= r.y && x < r.x+r.w && y < r.y+r.h }

func (r rect) inner() rect { return rect{r.x + 1, r.y + 1, max(r.w-2, 0), max(r.h-2, 0)} }

// layoutKind is how much fits.
type layoutKind uint8

const (
	panes    layoutKind = iota // from 100x30 on: map, details and list side by side
	compact                    // one view at a time, details and the latest event in a line each
	listOnly                   // below 60x16: likewise, and no map
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

// shown is what people want to see, as far as it fits.
type shown struct {
	most            layoutKind
	focus           focus
	events, details bool
	still           bool // a picture: no hints
}

// Rows of boxes, with their frames.
const (
	fewDetails    = 12 // and more of them where there is room, up to
	allDetails    = 18
	eventRows     = 9 // from roomyFrom rows on, and fewEvents below
	fewEvents     = 5
	roomyFrom     = 40
	lineInListFor = 8 // rows from which on a list spares one for details
)

func layOut(w, h int, v shown) layout {
	full := h
	if v.still {
		full++ // for the hints that are not drawn
	}
	l := layout{hints: -1, detail: -1, event: -1}
	switch {
	case w >= 100 && full >= 30 && v.most == panes:
		l.sideBySide(w, full, &v)
	case w >= 60 && full >= 16 && v.most <= compact:
		l.kind, l.hints, l.event = compact, full-1, full-2
		l.oneView(w, l.event, &v)
	default:
		l.kind = listOnly
		if h < lineInListFor {
			v.details = false
		}
		l.oneView(w, h, &v)
	}
	if v.still {
		l.hints = -1
	}
	return l
}

func (l *layout) sideBySide(w, h int, v *shown) {
	l.hints = h - 1
	side, low, about := min(max(w/4, 36), 44), 0, 0
	if v.events {
		if low = fewEvents; h >= roomyFrom {
			low = eventRows
		}
	}
	if v.details {
		about = min(max((h-low)/2, fewDetails), allDetails)
	}
	l.mapBox = rect{0, 1, w - side, h - 2 - low}
	l.m = l.mapBox.inner()
	l.detailBox = rect{w - side, 1, side, about}
	l.listBox = rect{w - side, 1 + about, side, h - 2 - about - low}
	l.list = l.listBox.inner()
	l.eventBox = rect{0, h - 1 - low, w, low}
}

// oneView gives the rows from 1 up to end to whatever is looked at, and the last of them
// to a line of details.
func (l *layout) oneView(w, end int, v *shown) {
	if v.details && v.focus != onDetails {
		end--
		l.detail = end
	}
	body := rect{0, 1, w, end - 1}
	switch {
	case v.focus == onDetails:
		l.detailBox = body
	case v.focus == onEvents:
		l.eventBox = body
	case v.focus == onList, l.kind == listOnly:
		l.list = body
	default:
		l.m = body
	}
}
