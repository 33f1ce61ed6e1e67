package past

import (
	"cmp"
	"slices"
	"sync/atomic"
	"time"

	"tracker/pkg/client"
	"tracker/pkg/track"
	"tracker/pkg/tui/fleet"
)

// reel is a store of the past and its clock.
type reel struct {
	store *fleet.Store
	at    atomic.Int64 // unix milliseconds
	whole bool
}

// newReel makes an empty reel. Its store listens from that moment on, so that a device
// can fall silent in it soon after. Who is muted in the present is so in the past.
func newReel(live *fleet.Store, at int64) *reel {
	r := &reel{}
	r.at.Store(at)
	r.store = fleet.New(fleet.Config{Now: r.now, ByFixTime: true, Ages: live.Ages()})
	r.store.Events().MuteLike(live.Events())
	r.store.SetLink(fleet.Live, "") // to history, which is told by State
	return r
}

func (r *reel) now() time.Time { return moment(r.at.Load()) }

// complete tells the store that it has been given everybody.
func (r *reel) complete() {
	if !r.whole {
		r.store.Snapshot(nil, false, false)
		r.whole = true
	}
}

// cue is a record whose time has come.
type cue struct {
	at         int64
	strip, rec int32
}

// spool is what rolling a film onto reels needs again and again.
type spool struct {
	cues  []cue
	gone  []track.DeviceID
	fixes []client.Fix
}

const (
	// handful is how many fixes are put into a store at once: whoever draws waits for no
	// more than that.
	handful = 1024

	// stride is how far the clock goes at once, in milliseconds: silence is noticed at
	// its time, give or take that.
	stride = 10_000

	// strides are enough up to where the film is dense: of an hour there or of a year.
	strides = 128
)

// roll brings a reel up to a moment that is not before its own. The clock goes along
// with the fixes, so that what happens in the store happens at its time.
func (sp *spool) roll(r *reel, f *film, at int64, e *events) {
	for {
		until := min(f.stride(r.at.Load()), at)
		sp.collect(f, until)
		if len(sp.gone) > 0 {
			r.store.Left(sp.gone)
		}
		for cues := range slices.Chunk(sp.cues, handful) {
			sp.apply(r, f, cues, e)
		}
		r.at.Store(until)
		r.store.Tick()
		if until == at {
			return
		}
	}
}

// stride is where the clock of a reel that stands at a moment goes next. Where nobody looks
// at the map it goes the further the more there is of that: a step back must not take
// longer where devices count as lost after a week.
func (f *film) stride(at int64) int64 {
	if at >= f.dense {
		return at + stride
	}
	return at + max(stride, min((f.dense-f.from)/strides, f.dense-at))
}

func (sp *spool) apply(r *reel, f *film, cues []cue, e *events) {
	sp.fixes = sp.fixes[:0]
	for _, c := range cues {
		s := &f.strips[c.strip]
		sp.fixes = append(sp.fixes, s.recs[c.rec].fix(s, e))
	}
	r.at.Store(max(r.at.Load(), cues[len(cues)-1].at))
	r.store.Apply(sp.fixes)
}

// collect finds what is due, in the order of time.
func (sp *spool) collect(f *film, at int64) {
	sp.cues, sp.gone = sp.cues[:0], sp.gone[:0]
	for i := range f.strips {
		s := &f.strips[i]
		from, end, forget := s.due(at, f.lookback)
		if forget {
			sp.gone = append(sp.gone, s.id)
		}
		for k := from; k < end; k++ {
			sp.cues = append(sp.cues, cue{s.recs[k].at, int32(i), int32(k)})
		}
		s.next, s.shown = end, end > from || s.shown && !forget
	}
	slices.SortFunc(sp.cues, func(a, b cue) int {
		return cmp.Or(cmp.Compare(a.at, b.at), cmp.Compare(a.strip, b.strip), cmp.Compare(a.rec, b.rec))
	})
}

// rewind makes a film one of which no reel has been given anything.
func (f *film) rewind() {
	for i := range f.strips {
		f.strips[i].next, f.strips[i].shown = 0, false
	}
}
