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
