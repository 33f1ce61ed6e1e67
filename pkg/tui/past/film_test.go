package past

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"tracker/pkg/client"
	"tracker/pkg/track"
	"tracker/pkg/tui/fleet"
	"tracker/pkg/tui/tuitest"
)

func TestTheClockWaitsForTheFilm(t *testing.T) {
	a := recorded(40, 6)
	journey(t, a, func(t *testing.T, p *Player, _ *fleet.Store) {
		p.Seek(epoch.Add(-time.Hour))
		s := settled(t, p)
		a.slow = time.Hour
		p.Play(60)
		time.Sleep(time.Minute)
		if got := p.State().At; !got.Equal(s.To.Add(-time.Millisecond)) {
			t.Errorf("the clock is at %v, the film ends at %v", got, s.To)
		}
		p.Pause()
		v := p.State().Version
		time.Sleep(time.Minute)
		if s := p.State(); s.Speed != 0 || s.Version != v {
			t.Errorf("a held clock moves: %+v", s)
		}
		p.Play(2)
		p.Step(-time.Minute)
		at := p.State().At
		time.Sleep(10 * time.Second)
		synctest.Wait()
		if got := p.State().At.Sub(at); got < 19*time.Second || got > 21*time.Second {
			t.Errorf("went on by %v in 10 s at twice the speed", got)
		}
		p.Pause()
		p.Step(s.To.Sub(p.State().At) + time.Second)
		synctest.Wait()
		if s := p.State(); !s.Loading || len(picture(p.Store())) != 0 {
			t.Errorf("beyond the film: %+v shows %d devices", s, len(picture(p.Store())))
		}
	})
}

func TestThePresentMovesAwayFromTheFilm(t *testing.T) {
	a := recorded(10, 6)
	newest := a.newest()
	then := func(sec int) time.Time { return newest.Add(time.Duration(sec) * time.Second) }
	journey(t, a, func(t *testing.T, p *Player, live *fleet.Store) {
		hear := func(id track.DeviceID, at time.Time) {
			f := tuitest.Fix(id, "van", at, 1, 1)
			live.Apply([]client.Fix{f})
			a.fixes[id] = append(a.fixes[id], f)
		}
		p.Step(-10 * time.Second)
		settled(t, p)
		hear(77, then(300)) // somebody new
		before := len(a.questions())
		time.Sleep(time.Minute)
		p.Pause()
		time.Sleep(time.Minute)
		if n := len(a.questions()); n != before {
			t.Errorf("%d questions while nothing is done", n-before)
		}
		p.Step(time.Second)
		time.Sleep(time.Second)
		s := settled(t, p)
		if s.Total != 11 || !s.To.Equal(then(300).Add(time.Millisecond)) {
			t.Errorf("after a step: %+v", s)
		}
		for _, q := range a.questions()[before:] {
			if fresh := slices.Contains(q.ids, 77); !fresh && !q.from.Equal(newest.Add(time.Millisecond)) {
				t.Errorf("asked for what was there: %+v", q)
			}
		}
		p.Play(60)
		time.Sleep(4 * time.Second)
		synctest.Wait()
		compare(t, "on the way", picture(p.Store()), a.then(p.Store().Now()))
		hear(77, then(330)) // not far enough to be loaded
		before = len(a.questions())
		time.Sleep(10 * time.Second)
		if s := p.State(); !s.Live || len(a.questions()) != before {
			t.Errorf("%+v after %d more questions", s, len(a.questions())-before)
		}
	})
}

func TestATrimmedFilmKnowsWhatItGaveUp(t *testing.T) {
	at := epoch.UnixMilli()
	latest := at + 10*maxReach
	f := parade(20, at)
	f.trim(around(at, latest, maxReach/2, f.lookback), at)
	if f.dense != at-maxReach/2 || f.to != at+maxReach/2 || f.edge != f.to || !f.done() {
		t.Errorf("half as long: %+v", f.span)
	}
	f.trim(around(at+1000, latest, maxReach, f.lookback), at+1000)
	if f.dense != at-maxReach/2 || f.to != at+1000+maxReach || f.edge != at+maxReach/2 || f.done() {
		t.Errorf("longer again: %+v up to %d", f.span, f.edge)
	}
	if ids, from := f.missing(50, nil); len(ids) != 20 || from != at+maxReach/2 {
		t.Errorf("asks %d devices from %d on", len(ids), from)
	}
	for i := range f.strips {
		if s := &f.strips[i]; s.next != s.until(at+1000) || s.next == 0 {
			t.Fatalf("strip %d is at %d of %d", i, s.next, len(s.recs))
		}
	}
}

func TestMemoryHasABound(t *testing.T) {
	a := &archive{fixes: map[track.DeviceID][]client.Fix{}}
	for id := track.DeviceID(1); id <= 30; id++ {
		for at := epoch.Add(-time.Hour); at.Before(epoch); at = at.Add(time.Second) {
			f := tuitest.Fix(id, "van", at, 10, float64(at.Unix()%3600)*0.001)
			f.Received = time.Time{}
			a.fixes[id] = append(a.fixes[id], f)
		}
	}
	for name, tc := range map[string]struct {
		budget int
		reach  time.Duration
		all    bool
	}{
		"plenty":       {maxRecords, 10 * time.Minute, true},
		"half of it":   {30*1000 + 30*outline*2, 5 * time.Minute, true},
		"an eighth":    {30 * 160, 75 * time.Second, true},
		"hardly any":   {30 * 70, 30 * time.Second, true},
		"not for all":  {500, 30 * time.Second, false},
		"not for one":  {5, 30 * time.Second, false},
		"none for any": {0, 30 * time.Second, false},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := New(a, a.present(), nil)
				p.budget = tc.budget
				r := &runner{p: p, fetched: make(chan fetched, 1), reach: maxReach, hangUp: func() {}}
				p.Seek(epoch.Add(-30 * time.Minute))
				time.Sleep(quiet)
				for range 200 {
					r.turn(t.Context())
					if !r.busy {
						break
					}
					r.take(<-r.fetched)
					if r.film.kept > tc.budget {
						t.Fatalf("%d records are kept, the budget is %d", r.film.kept, tc.budget)
					}
				}
				s := p.State()
				if all := s.Loaded == 30; all != tc.all || errors.Is(s.Err, errFull) == all || s.Loading {
					t.Errorf("%+v", s)
				}
				if got := s.At.Sub(s.From); got != tc.reach || !s.To.Equal(s.At.Add(tc.reach)) {
					t.Errorf("reaches %v back and to %v, want %v", got, s.To, tc.reach)
				}
				want := a.then(s.At)
				for id := range want {
					if r.film.strips[r.film.index[id]].to == 0 {
						delete(want, id)
					}
				}
				if len(want) != s.Loaded {
					t.Errorf("%d loaded, %d shown", s.Loaded, len(want))
				}
				compare(t, "picture", picture(p.Store()), want)
				kept := 0
				for i := range r.film.strips {
					kept += len(r.film.strips[i].recs)
				}
				if kept != r.film.kept {
					t.Errorf("counted %d records, there are %d", r.film.kept, kept)
				}
			})
		})
	}
}

func TestAFullFilmIsFollowedByAnother(t *testing.T) {
	a := recorded(40, 6)
	synctest.Test(t, func(t *testing.T) {
		p := New(a, a.present(), nil)
		p.budget = 60
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- p.Run(ctx) }()
		p.Seek(epoch.Add(-time.Hour))
		if s := settled(t, p); !errors.Is(s.Err, errFull) {
			t.Errorf("%+v", s)
		}
		p.Play(60)
		time.Sleep(20 * time.Second)
		if s := p.State(); s.Live || s.At.Before(epoch.Add(-50*time.Minute)) {
			t.Errorf("after playing for 20 s: %+v", s)
		}
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

func TestAnOutlineKeepsWhatPicturesAreMadeOf(t *testing.T) {
	rng := rand.New(rand.NewPCG(8, 8))
	for range 200 {
		const dense = 2_000_000
		s := span{from: dense - 900_000, dense: dense, to: dense + 600_000, lookback: 900_000, gap: 1 + int64(rng.IntN(900_000))}
		var all, kept []record
		for at := s.from - 1000; at < s.to+1000; at += int64(rng.IntN(20_000)) {
			r := record{at: at, event: uint8(rng.IntN(40) / 39), lat: rng.Int32()}
			if rng.IntN(4) > 0 {
				r.has = track.HasPos
			}
			all = append(all, r)
			kept = s.keep(kept, r)
		}
		for _, r := range all {
			needed := r.at >= s.from && r.at < s.to && (r.at >= dense || r.event != 0)
			if needed && !slices.Contains(kept, r) {
				t.Fatalf("%+v is missing", r)
			}
		}
		last := func(of []record, has func(*record) bool) record {
			for i := len(of) - 1; i >= 0; i-- {
				if of[i].at < dense && of[i].at >= s.from && has(&of[i]) {
					return of[i]
				}
			}
			return record{}
		}
		for _, has := range []func(*record) bool{
			func(*record) bool { return true },
			func(r *record) bool { return r.has&track.HasPos != 0 },
		} {
			if got, want := last(kept, has), last(all, has); got != want {
				t.Fatalf("last before dense: got %+v, want %+v", got, want)
			}
		}
		if !slices.IsSortedFunc(kept, func(a, b record) int { return cmp.Compare(a.at, b.at) }) {
			t.Fatal("out of order")
		}
	}
}

func TestAFixIsUnpackedAsItWas(t *testing.T) {
	var e events
	for _, fixes := range recorded(20, 9).fixes {
		for _, f := range fixes {
			r := pack(&f, &e)
			f.Late, f.Received = false, time.Time{}
			if got := r.fix(&strip{id: f.Device, name: f.Name}, &e); got != f {
				t.Fatalf("\n got %+v\nwant %+v", got, f)
			}
		}
	}
	if got := reflect.TypeFor[record]().Size(); got != 32 {
		t.Errorf("a record takes %d bytes", got)
	}
	// What no device says is brought into range.
	odd := client.Fix{Speed: -1, Course: 360, Alt: 1 << 20, Battery: 300, Accuracy: 1e300}
	r := pack(&odd, &e)
	if r.speed != 0 || r.course != 0 || r.alt != 32767 || r.bat != 100 || r.acc != 1<<32-1 {
		t.Errorf("%+v", r)
	}
	for i := range 300 {
		e.number(fmt.Sprint("event_", i))
	}
	if n := e.number("one too many"); n != 0 || e.name(0) != "" || e.name(e.number("event_7")) != "event_7" {
		t.Errorf("number %d", n)
	}
}

func TestWhatWasNotAskedForIsNotKept(t *testing.T) {
	fix := func(id track.DeviceID, sec int) client.Fix {
		return tuitest.Fix(id, "x", epoch.Add(time.Duration(sec)*time.Second), 1, 1)
	}
	at := epoch.UnixMilli()
	job := fetch{span: around(at, at+1e6, maxReach, 900_000), ids: []track.DeviceID{1}, from: at - 60_000, room: 10, events: &events{}}
	got := job.do(t.Context(), answer{fix(1, -61), fix(1, 1), fix(2, 2), fix(1, 3), fix(1, 2), fix(1, 601), fix(1, 4)})
	var secs []int64
	for _, r := range got.pieces[0].recs {
		secs = append(secs, (r.at-at)/1000)
	}
	if !slices.Equal(secs, []int64{1, 3, 4}) || got.err != nil || got.full || len(got.pieces) != 1 {
		t.Errorf("kept %v: %+v", secs, got)
	}
}

// answer is a source that says the same to everybody.
type answer []client.Fix

func (a answer) Window(_ context.Context, _ []track.DeviceID, _, _ time.Time, yield func([]client.Fix) error) error {
	return yield(a)
}

// A year in which nobody looks at the map must not make a step back take a year.
func TestAStepBackIsAsShortHoweverLongDevicesAreRemembered(t *testing.T) {
	at := epoch.UnixMilli()
	for _, lookback := range []time.Duration{minLookback, 24 * time.Hour, 365 * 24 * time.Hour} {
		f := newFilm(around(at, at+maxReach, maxReach, lookback.Milliseconds()), nil)
		far, near := 0, 0
		for now := f.from; now < at; {
			next := f.stride(now)
			if far++; now >= f.dense {
				far, near = far-1, near+1
			}
			if next <= now || now < f.dense && next > f.dense+stride {
				t.Fatalf("%v: from %d to %d", lookback, now-f.dense, next-f.dense)
			}
			now = next
		}
		if far > strides+1 || near != maxReach/stride {
			t.Errorf("%v: %d strides before the film is dense, %d after", lookback, far, near)
		}
	}
}
