package fleet

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"tracker/pkg/filter"
	"tracker/pkg/track"
)

// Column is what a list of devices is sorted by.
type Column uint8

const (
	ByState Column = iota
	ByName
	BySpeed
	ByAge
	ByBattery
	Columns
)

func (c Column) String() string {
	return [...]string{"state", "name", "speed", "age", "battery"}[c]
}

// Order is the devices that the filter means in the order of a list. Sorting a hundred
// thousand takes longer than a frame may, so the order is renewed once a second, by a
// goroutine of its own, and the one before is shown meanwhile. Only few devices, and the
// very first ones, are sorted at once.
//
//	Ask ── columns of a frame ──► sort ── rows ──► the next Ask
//
// An Order belongs to one goroutine. The one that sorts ends by itself, within some
// milliseconds; Wait waits for it.
type Order struct {
	shown *sorting  // what Rows and Row answer from
	spare *sorting  // memory for the next one; nil while somebody sorts
	abc   *alphabet // likewise
	done  chan outcome
	store *Store // if a frame does not know its own

	by      Column // what was asked for last, and when
	reverse bool
	asked   uint64
	version uint64
	at      time.Time
}

// outcome is what comes back from who sorted, together with the memory that was lent.
type outcome struct {
	*sorting
	*alphabet
	panicked any
}

const (
	sortEvery = time.Second
	nameEvery = 3 * time.Second // for the alphabet, which costs the most
	atOnce    = 8192            // so few are sorted faster than a frame is drawn
)

// NewOrder makes the order of a store's devices, empty until it is asked for.
func NewOrder(s *Store) *Order {
	return &Order{store: s, shown: &sorting{}, spare: &sorting{}, abc: &alphabet{}, done: make(chan outcome, 1)}
}

// Rows are the points of the frame in order, as of the last time that they were
// sorted: some may be gone since. They stand until the next Ask.
func (o *Order) Rows() []int32 { return o.shown.rows }

// Row is where a point stands in the order, -1 if it does not.
func (o *Order) Row(point int32) int {
	if point < 0 || int(point) >= len(o.shown.places) {
		return -1
	}
	return int(o.shown.places[point])
}

// Ready tells whether the next Ask shows another order than the one before.
func (o *Order) Ready() bool { return len(o.done) > 0 }

// Ask brings the order up to a frame, or begins to: when another order, filter or store
// is wanted than before, else when the order is old enough, or when the store's clock is
// held and what it shows is still coming in. The frame may go on.
func (o *Order) Ask(by Column, reverse bool, f *Frame) {
	if o.Ready() {
		o.take(<-o.done)
	}
	now := time.UnixMilli(f.At)
	age := now.Sub(o.at)
	same := by == o.by && reverse == o.reverse && f.asked == o.asked
	first := len(o.shown.rows) == 0 && f.Matched > 0
	held := age == 0 && o.version != f.Status.Version
	if o.spare == nil || same && !first && !held && age >= 0 && age < sortEvery {
		return
	}
	o.by, o.reverse, o.asked, o.version, o.at = by, reverse, f.asked, f.Status.Version, now
	o.sort(f, first || len(f.Points) <= atOnce)
}

// Wait waits for a sort that is under way.
func (o *Order) Wait() {
	if o.spare == nil {
		o.take(<-o.done)
	}
}

func (o *Order) take(r outcome) {
	o.shown, o.spare, o.abc = r.sorting, o.shown, r.alphabet
	if r.panicked != nil {
		panic(r.panicked) // here, where somebody gives the terminal back
	}
}

// sort lends the spare memory to who sorts: to ourselves, or to a goroutine.
func (o *Order) sort(f *Frame, here bool) {
	store := o.store
	if f.of != nil {
		store = f.of
	}
	w, abc := o.spare, o.abc
	w.read(f, o.by, o.reverse)
	o.spare, o.abc = nil, nil
	named, now := f.Status.Named, o.at
	if here {
		o.take(w.run(abc, store, named, now))
		return
	}
	// It ends when it has sorted: there is room for what it sends.
	go func() { o.done <- w.run(abc, store, named, now) }()
}

// sorting is one order, and the memory to make it.
type sorting struct {
	columns []uint32 // what each point is sorted by, absent if it is not in the list
	turned  bool     // the alphabet goes backwards
	rows    []int32
	places  []int32 // the row of each point, -1 if there is none
	other   []int32 // rows while they are sorted
}

// absent is larger than the column of any device.
const absent = 1<<32 - 1

// read takes out of a frame what is needed to sort it.
func (w *sorting) read(f *Frame, by Column, reverse bool) {
	w.turned = reverse && by == ByName
	w.columns = w.columns[:0]
	for i, m := range f.Marks {
		v := uint32(absent)
		if m.Matches() {
			v = column(by, &f.Points[i], m.State(), f.At)
			if reverse {
				v = greatest - v
			}
		}
		w.columns = append(w.columns, v)
	}
}

// greatest is the largest column of a device.
const greatest = 1 << 31

// column is what a point is sorted by: small comes first.
func column(by Column, p *Point, st filter.State, now int64) uint32 {
	switch by {
	case ByState:
		return uint32(filter.States - st)
	case BySpeed:
		return 1<<16 - 1 - uint32(p.Speed)
	case ByAge:
		return uint32(min(max(now-p.Heard, 0), greatest))
	case ByBattery:
		if p.Has&track.HasBat == 0 {
			return 101
		}
		return uint32(p.Bat)
	}
	return 0
}

// run sorts, and catches its own panic for whoever can tell of it.
func (w *sorting) run(abc *alphabet, s *Store, named uint64, now time.Time) (r outcome) {
	r = outcome{sorting: w, alphabet: abc}
	defer func() {
		if p := recover(); p != nil {
			r.panicked = fmt.Sprintf("sorting devices: %v", p)
		}
	}()
	abc.renew(s, named, len(w.columns), now)
	w.sort(abc.order)
	return r
}

// sort puts the points in the order of the alphabet first and then, by the bytes of
// their columns from the last to the first, in the order of the column. Equal ones stay
// as they are, so names decide among them.
func (w *sorting) sort(named []int32) {
	w.rows = w.rows[:0]
	for _, i := range named {
		if int(i) < len(w.columns) && w.columns[i] != absent {
			w.rows = append(w.rows, i)
		}
	}
	w.other = slices.Grow(w.other[:0], len(w.rows))[:len(w.rows)]
	for shift := 0; shift < 32; shift += 8 {
		w.pass(shift)
	}
	if w.turned {
		slices.Reverse(w.rows)
	}
	w.places = slices.Grow(w.places[:0], len(w.columns))[:len(w.columns)]
	for i := range w.places {
		w.places[i] = -1
	}
	for row, i := range w.rows {
		w.places[i] = int32(row)
	}
}

// pass sorts by one byte.
func (w *sorting) pass(shift int) {
	var starts [256]int
	for _, i := range w.rows {
		starts[byte(w.columns[i]>>shift)]++
	}
	n := 0
	for b, count := range starts {
		if count == len(w.rows) {
			return // all have the same one
		}
		starts[b] = n
		n += count
	}
	for _, i := range w.rows {
		b := byte(w.columns[i] >> shift)
		w.other[starts[b]] = i
		starts[b]++
	}
	w.rows, w.other = w.other, w.rows
}

// alphabet is the slots of a store in the order of their names.
type alphabet struct {
	order []int32
	names []string
	of    *Store
	named uint64 // the store's count of names when it was made
	at    time.Time
}

// renew makes it again if names came or went, but not too often, unless there are slots
// that it does not know.
func (a *alphabet) renew(s *Store, named uint64, slots int, now time.Time) {
	age := now.Sub(a.at)
	rests := age >= 0 && age < nameEvery && slots <= len(a.names)
	if a.of == s && (a.named == named || rests) {
		return
	}
	a.of, a.named, a.at = s, named, now
	a.names = s.names(a.names[:0])
	a.order = a.order[:0]
	for i := range int32(len(a.names)) {
		a.order = append(a.order, i)
	}
	slices.SortFunc(a.order, func(x, y int32) int {
		return cmp.Or(strings.Compare(a.names[x], a.names[y]), cmp.Compare(x, y))
	})
}
