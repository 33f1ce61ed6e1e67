package past

import (
	"context"
	"errors"
	"time"

	"tracker/pkg/client"
	"tracker/pkg/track"
)

const (
	beat    = 100 * time.Millisecond // of the clock while it plays
	quiet   = 120 * time.Millisecond // a hand that rests so long on a key has let go of it
	nearby  = 60 * 1000              // milliseconds: so close to the present there is nothing to play
	retryIn = time.Second            // and longer every time, up to
	retryAt = 5 * time.Second

	// Groups of devices that are asked for at once: small at first, so that something
	// is seen soon.
	firstGroup = 16
	maxGroup   = 256
)

// errFull says that what is there is not all.
var errFull = errors.New("more history than there is room for")

// Run loads what is wanted and lets the clock run, until ctx is done. It has to run for
// anything to be shown of the past.
func (p *Player) Run(ctx context.Context) error {
	r := &runner{p: p, fetched: make(chan fetched, 1), reach: maxReach, hangUp: func() {}}
	defer r.end()
	for {
		var after <-chan time.Time
		if wait := r.turn(ctx); wait > 0 {
			after = time.After(wait)
		}
		select {
		case <-ctx.Done():
			return nil
		case got := <-r.fetched:
			r.take(got)
		case <-p.wake:
		case <-after:
		}
	}
}

// runner is Run at work. All of it belongs to one goroutine, except for a fetch, which
// has what it needs with it.
type runner struct {
	p      *Player
	events events
	spool  spool

	trip   uint64 // the journey that film and reel are of
	film   *film  // nil: nothing is loaded of where the clock stands
	reel   *reel
	reach  int64 // of the film, to either side of the clock, in milliseconds
	pivot  int64 // where the clock stood when the film got its span
	full   bool  // not all of it fits
	denied bool  // nobody will be told anything more on this journey
	err    error

	surveyed time.Time // when the present was last looked at for more film

	busy    bool // a fetch is under way
	hangUp  context.CancelFunc
	fetched chan fetched
	group   int
	retry   time.Duration
	again   time.Time // not before
}

// turn does what there is to do now, and tells after how long there is more; 0 is when
// something happens.
func (r *runner) turn(ctx context.Context) time.Duration {
	now := r.p.now()
	w := r.p.tick(now, r.running(), r.limit())
	if !w.past || w.trip != r.trip {
		r.forget()
		r.trip = w.trip
	}
	if !w.past {
		return 0
	}
	if r.film != nil && !r.film.covers(w.at) {
		r.drop()
	}
	wait := r.load(ctx, now, &w)
	r.show(w.at)
	r.p.report(w.trip, r.progress())
	if w.speed > 0 {
		wait = sooner(wait, beat)
	}
	return wait
}

func sooner(a, b time.Duration) time.Duration {
	if a <= 0 {
		return b
	}
	return min(a, b)
}

// running tells whether the clock may run: not while devices are missing that will be
// there in a moment.
func (r *runner) running() bool {
	f := r.film
	return f != nil && (r.full || r.err != nil || f.loaded() == len(f.strips))
}

// limit is where the clock has to stop for want of film.
func (r *runner) limit() int64 {
	if r.film == nil {
		return 0
	}
	return r.film.edge
}

func (r *runner) progress() progress {
	g := progress{loading: !r.denied, err: r.err}
	if f := r.film; f != nil {
		g.loaded, g.total, g.from, g.to = f.loaded(), len(f.strips), f.dense, f.edge
		g.loading = !r.denied && !r.full && g.loaded < g.total
	}
	if r.full {
		g.err = errFull
	}
	return g
}

// show brings the reel to a moment, or another one if this one is beyond it.
func (r *runner) show(at int64) {
	f := r.film
	switch {
	case f == nil && (r.reel == nil || r.reel.at.Load() != at):
		r.reel = newReel(r.p.live, at) // nothing is known of then
	case f != nil && (r.reel == nil || r.reel.at.Load() > at):
		r.reel = newReel(r.p.live, f.from)
		f.rewind()
	}
	if f != nil {
		r.spool.roll(r.reel, f, at, &r.events)
	}
	if f != nil && (r.full || f.loaded() == len(f.strips)) {
		r.reel.complete()
	}
	r.p.mount(r.trip, r.reel)
}

// load asks for what is missing of the film around the clock.
func (r *runner) load(ctx context.Context, now time.Time, w *wish) time.Duration {
	if r.busy || r.denied {
		return 0
	}
	if left := w.moved.Add(quiet).Sub(now); r.film == nil && left > 0 {
		return left
	}
	if r.film == nil && !r.open(now, w) {
		return 0
	}
	if r.full && !r.reopen(now, w) {
		return 0
	}
	if left := r.again.Sub(now); left > 0 {
		return left
	}
	if r.film.done() && !r.extend(now, w) {
		return 0
	}
	r.ask(ctx, w.first)
	return 0
}

// open begins a film around the clock, unless the clock shows the present.
func (r *runner) open(now time.Time, w *wish) bool {
	who, latest := survey(r.p.live, now)
	if w.at >= latest {
		r.p.arrive(w.trip)
		return false
	}
	r.film = newFilm(around(w.at, latest, r.reach, r.lookback()), who)
	r.reel = nil
	r.pivot, r.group, r.full, r.err = w.at, firstGroup, false, nil
	return true
}

func (r *runner) lookback() int64 {
	return max(minLookback, r.p.live.Ages().Lost).Milliseconds()
}

// extend makes the film longer when the clock has come through half of what was ahead
// of it. It tells whether there is something to ask for.
func (r *runner) extend(now time.Time, w *wish) bool {
	f := r.film
	ended := w.at >= f.edge-1
	if w.at <= r.pivot || w.at <= f.edge-r.reach/2 || now.Before(r.surveyed.Add(time.Second)) && !ended {
		return false
	}
	who, latest := survey(r.p.live, now)
	r.surveyed = now
	if latest-f.edge < nearby {
		if w.speed > 0 && ended {
			r.p.arrive(w.trip)
		}
		return false
	}
	r.widen()
	next := around(w.at, latest, r.reach, f.lookback)
	if next.to <= f.to {
		return false
	}
	r.pivot = w.at
	f.trim(next, r.reel.at.Load())
	f.welcome(who)
	return true
}

// reopen begins another film where one ends that can get no longer.
func (r *runner) reopen(now time.Time, w *wish) bool {
	if w.speed == 0 || w.at < r.film.edge-1 {
		return false
	}
	r.drop()
	return r.open(now, w)
}

// widen lets the next film reach further if the last one left room for it.
func (r *runner) widen() {
	if r.film.done() && r.film.kept < r.p.budget/4 {
		r.reach = min(r.reach*2, maxReach)
	}
}

// narrow makes room by reaching less far, and when that would be too little to see
// anything, fills up what room is left.
func (r *runner) narrow() {
	switch {
	case r.reach > minReach:
		r.reach = max(r.reach/2, minReach)
		r.pivot = r.reel.at.Load()
		r.film.trim(around(r.pivot, r.film.to-1, r.reach, r.film.lookback), r.pivot)
	case r.group > 1:
		r.group /= 2
	default:
		r.full = true
	}
}

// drop forgets the film. What was being loaded for it is not waited for.
func (r *runner) drop() {
	if r.film != nil {
		r.widen()
	}
	r.hangUp()
	r.film, r.reel, r.full = nil, nil, false
}

// forget ends a journey.
func (r *runner) forget() {
	r.drop()
	r.denied, r.err = false, nil
	r.spool = spool{} // it may be large, and the present needs none
}

// ask fetches the next group of devices.
func (r *runner) ask(ctx context.Context, first []track.DeviceID) {
	ids, from := r.film.missing(r.group, first)
	if len(ids) == 0 {
		r.film.requeue(later, wanted)
		ids, from = r.film.missing(r.group, first)
	}
	if len(ids) == 0 {
		return
	}
	ctx, r.hangUp = context.WithCancel(ctx)
	r.busy = true
	job := fetch{
		film: r.film, span: r.film.span, ids: ids, from: from, room: r.p.budget - r.film.kept,
		events: &r.events,
	}
	go func() { r.fetched <- job.do(ctx, r.p.src) }() // there is room for the one
}

// take is given what a fetch has brought.
func (r *runner) take(got fetched) {
	r.busy = false
	r.hangUp()
	got.fall.on()
	if r.film == nil || got.film != r.film {
		return // the clock has gone elsewhere
	}
	switch {
	case got.full:
		r.film.requeue(asked, wanted)
		r.narrow()
	case got.err != nil:
		r.film.requeue(asked, later)
		r.failed(got.err)
	default:
		r.film.add(got.pieces, got.to)
		r.group, r.retry, r.err = min(2*r.group, maxGroup), 0, nil
	}
}

// failed decides when to ask again, and for fewer devices: it may be one of them.
func (r *runner) failed(err error) {
	r.err = err
	r.denied = errors.Is(err, track.ErrDenied)
	r.group = max(r.group/2, 1)
	r.retry = min(max(2*r.retry, retryIn), retryAt)
	r.again = r.p.now().Add(r.retry)
}

// end waits for the fetch.
func (r *runner) end() {
	r.hangUp()
	if r.busy {
		got := <-r.fetched
		got.fall.on()
	}
}

// fetch asks for the history of a group of devices.
type fetch struct {
	film   *film // whose, not to be looked into
	span   span
	ids    []track.DeviceID
	from   int64
	room   int // for records
	events *events
}

// fetched is what came of it.
type fetched struct {
	film   *film
	to     int64
	pieces []piece
	full   bool // there was no room for it
	err    error
	fall   *fallen
}

func (j *fetch) do(ctx context.Context, src Source) (got fetched) {
	got.film, got.to, got.fall = j.film, j.span.to, &fallen{}
	defer got.fall.hold(func() {})
	in := make(map[track.DeviceID]*piece, len(j.ids))
	pieces := make([]piece, len(j.ids))
	for i, id := range j.ids {
		pieces[i].id, in[id] = id, &pieces[i]
	}
	room := j.room
	got.err = src.Window(ctx, j.ids, moment(j.from), moment(j.span.to), func(fixes []client.Fix) error {
		for i := range fixes {
			if to := in[fixes[i].Device]; to != nil {
				before := len(to.recs)
				j.put(to, &fixes[i])
				room -= len(to.recs) - before
			}
			if room < 0 {
				got.full = true
				return errFull
			}
		}
		return nil
	})
	got.pieces = pieces
	return got
}

// put packs a fix, unless it is out of the order or out of the time that was asked for.
func (j *fetch) put(to *piece, f *client.Fix) {
	r := pack(f, j.events)
	if r.at < j.from {
		return
	}
	to.name = f.Name
	if n := len(to.recs); n == 0 || r.at >= to.recs[n-1].at {
		to.recs = j.span.keep(to.recs, r)
	}
}
