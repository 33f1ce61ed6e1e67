package past

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"tracker/pkg/client"
	"tracker/pkg/geo"
	"tracker/pkg/track"
	"tracker/pkg/tui/fleet"
	"tracker/pkg/tui/tuitest"
)

// archive is a Source that remembers what it was asked.
type archive struct {
	fixes map[track.DeviceID][]client.Fix // by time

	mu      sync.Mutex
	asked   []question
	running int
	most    int
	slow    time.Duration         // for each question
	fail    func(*question) error // asked when half of the answer has been given
}

type question struct {
	n        int // from 1
	ids      []track.DeviceID
	from, to time.Time
}

func (a *archive) Window(ctx context.Context, ids []track.DeviceID, from, to time.Time, yield func([]client.Fix) error) error {
	q := a.begin(ids, from, to)
	defer a.end()
	if a.slow > 0 {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(a.slow):
		}
	}
	for i, id := range ids {
		if a.fail != nil && i == len(ids)/2 {
			if err := a.fail(&q); err != nil {
				return err
			}
		}
		part := slices.DeleteFunc(slices.Clone(a.fixes[id]), func(f client.Fix) bool { return f.Time.Before(from) || !f.Time.Before(to) })
		for some := range slices.Chunk(part, 100) {
			if err := yield(some); err != nil {
				return err
			}
		}
	}
	return ctx.Err()
}

func (a *archive) begin(ids []track.DeviceID, from, to time.Time) question {
	a.mu.Lock()
	defer a.mu.Unlock()
	q := question{len(a.asked) + 1, slices.Clone(ids), from, to}
	a.asked = append(a.asked, q)
	a.running++
	a.most = max(a.most, a.running)
	return q
}

func (a *archive) end() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.running--
}

// questions are what was asked so far.
func (a *archive) questions() []question {
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.Clone(a.asked)
}

var epoch = tuitest.Epoch

// recorded makes the history of n devices of two hours up to epoch: fixes and heartbeats,
// some of it late, and silences of every length.
func recorded(n int, seed uint64) *archive {
	rng := rand.New(rand.NewPCG(seed, 2))
	a := &archive{fixes: map[track.DeviceID][]client.Fix{}}
	for id := track.DeviceID(1); id <= track.DeviceID(n); id++ {
		at, place := epoch.Add(-2*time.Hour), geo.Deg(rng.Float64()*100-50, rng.Float64()*300-150)
		for {
			at = at.Add(time.Duration(5000+rng.IntN(55_000)) * time.Millisecond)
			if rng.IntN(40) == 0 {
				at = at.Add(time.Duration(rng.IntN(40)) * time.Minute)
			}
			if !at.Before(epoch) {
				break
			}
			place = geo.Travel(place, rng.Float64()*360, 200)
			f := client.Fix{
				Device: id, Name: fmt.Sprintf("van-%d", id), Time: at, Received: at.Add(time.Second), At: place, Battery: rng.IntN(101),
				Has: track.HasPos | track.HasAlt | track.HasVel | track.HasAcc | track.HasBat, Alt: rng.IntN(900) - 100,
				Speed: float64(rng.IntN(6000)) / 100, Course: float64(rng.IntN(36000)) / 100, Accuracy: geo.Meters(rng.IntN(507904)) / 100,
				Late: rng.IntN(5) == 0, Power: rng.IntN(2) == 0, Jump: rng.IntN(50) == 0,
			}
			if rng.IntN(10) == 0 {
				f = client.Fix{Device: id, Name: f.Name, Time: at, Received: f.Received, Has: track.HasBat, Battery: f.Battery}
			}
			if rng.IntN(30) == 0 {
				f.Event = "motion_start"
			}
			a.fixes[id] = append(a.fixes[id], f)
		}
	}
	return a
}

// present is a live store with the last fix of everybody.
func (a *archive) present() *fleet.Store {
	live := fleet.New(fleet.Config{})
	var last []client.Fix
	for _, fixes := range a.fixes {
		f := fixes[len(fixes)-1]
		f.Late = false
		last = append(last, f)
	}
	live.Snapshot(last, true, false)
	return live
}

// newest is the time of the last fix of all.
func (a *archive) newest() (at time.Time) {
	for _, fixes := range a.fixes {
		if last := fixes[len(fixes)-1].Time; last.After(at) {
			at = last
		}
	}
	return at
}

// returns counts those who came to the map between two moments.
func (a *archive) returns(from, to time.Time) (n int) {
	for _, fixes := range a.fixes {
		for i, f := range fixes {
			away := i == 0 || f.Time.Sub(fixes[i-1].Time) > minLookback
			if away && f.Time.After(from) && !f.Time.After(to) {
				n++
			}
		}
	}
	return n
}

// seen is what a store shows of a device.
type seen struct {
	Fix   client.Fix
	Heard int64
}

// picture is what a store shows.
func picture(s *fleet.Store) map[track.DeviceID]seen {
	var f fleet.Frame
	f.Refresh(s, nil)
	out := map[track.DeviceID]seen{}
	for i := range f.Points {
		if fix, _, ok := s.Info(int32(i)); ok {
			out[fix.Device] = seen{fix, f.Points[i].Heard}
		}
	}
	return out
}

// then is the slow obvious answer to what a picture of a moment shows.
func (a *archive) then(at time.Time) map[track.DeviceID]seen {
	out := map[track.DeviceID]seen{}
	for id, fixes := range a.fixes {
		var sum client.Fix
		for _, f := range fixes {
			if f.Time.After(at) {
				break
			}
			if f.Time.Sub(sum.Time) > minLookback {
				sum = client.Fix{} // so long forgotten
			}
			if !f.HasPos() {
				f.At, f.Has = sum.At, f.Has|sum.Has&track.HasPos
			}
			sum = f
		}
		if sum.Device == 0 || at.Sub(sum.Time) > minLookback {
			continue
		}
		sum.Late, sum.Received = false, time.Time{}
		out[id] = seen{sum, sum.Time.UnixMilli()}
	}
	return out
}

func compare(t *testing.T, what string, got, want map[track.DeviceID]seen) {
	t.Helper()
	wrong := 0
	for id := track.DeviceID(1); id < 1000 && wrong < 3; id++ {
		g, have := got[id]
		w, should := want[id]
		if have != should || !reflect.DeepEqual(g, w) {
			t.Errorf("%s: device %d\n got %v %+v\nwant %v %+v", what, id, have, g, should, w)
			wrong++
		}
	}
}

// journey runs a player in a bubble until the test ends.
func journey(t *testing.T, a *archive, test func(t *testing.T, p *Player, live *fleet.Store)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		live := a.present()
		p := New(a, live, nil)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- p.Run(ctx) }()
		test(t, p, live)
		cancel()
		if err := <-done; err != nil {
			t.Errorf("run: %v", err)
		}
	})
}

// settled waits until everything is loaded that will be.
func settled(t *testing.T, p *Player) State {
	t.Helper()
	for range 1000 {
		synctest.Wait()
		if s := p.State(); s.Live || !s.Loading {
			return s
		}
		time.Sleep(quiet)
	}
	t.Fatalf("never settles: %+v", p.State())
	return State{}
}

func TestThePresentIsTheLiveStore(t *testing.T) {
	live := fleet.New(fleet.Config{})
	p := New(nil, live, nil)
	p.Step(time.Hour)
	p.Play(60)
	if s := p.State(); p.Store() != live || !s.Live || s.Speed != 0 {
		t.Errorf("a new player does not show the present: %+v", s)
	}
}

func TestAPictureOfThePastIsWhatWasHeardUntilThen(t *testing.T) {
	a := recorded(40, 1)
	journey(t, a, func(t *testing.T, p *Player, _ *fleet.Store) {
		rng := rand.New(rand.NewPCG(3, 4))
		for i := range 100 {
			if i%3 == 0 || p.State().Live {
				p.Seek(epoch.Add(-time.Duration(rng.IntN(7000)) * time.Second))
			} else {
				p.Step(time.Duration(rng.IntN(1200)-600) * time.Second)
			}
			s := settled(t, p)
			if s.Live {
				continue
			}
			if s.Loaded != 40 || s.Total != 40 || s.Err != nil || s.At.Before(s.From) || !s.At.Before(s.To) {
				t.Fatalf("%+v", s)
			}
			if now := p.Store().Now(); !now.Equal(s.At) {
				t.Fatalf("the store is at %v, the player at %v", now, s.At)
			}
			compare(t, fmt.Sprint(i, s.At), picture(p.Store()), a.then(s.At))
		}
	})
}

func TestStepsForwardAndBackEndWhereTheyBegan(t *testing.T) {
	a := recorded(40, 5)
	journey(t, a, func(t *testing.T, p *Player, _ *fleet.Store) {
		p.Seek(epoch.Add(-time.Hour))
		settled(t, p)
		before, store := picture(p.Store()), p.Store()
		for range 30 {
			p.Step(10 * time.Second)
			settled(t, p)
		}
		if p.Store() != store {
			t.Error("going forward took another store")
		}
		compare(t, "forward", picture(p.Store()), a.then(epoch.Add(-55*time.Minute)))
		for range 30 {
			p.Step(-10 * time.Second)
			settled(t, p)
		}
		compare(t, "back", picture(p.Store()), before)
		if n := len(a.questions()); n != 2 { // two groups, once
			t.Errorf("%d questions for one window", n)
		}
	})
}

func TestTheFirstStepBackIsFromTheNewestFix(t *testing.T) {
	a := recorded(5, 1)
	for id, fixes := range a.fixes {
		for i := range fixes {
			fixes[i].Time = fixes[i].Time.AddDate(-4, 0, 0) // a recording
		}
		a.fixes[id] = fixes
	}
	ahead := tuitest.Fix(99, "ahead", epoch.AddDate(1, 0, 0), 1, 1)
	ahead.Suspect = true
	journey(t, a, func(t *testing.T, p *Player, live *fleet.Store) {
		live.Apply([]client.Fix{ahead})
		p.Step(-10 * time.Second)
		want := a.newest().Add(-10 * time.Second)
		if s := settled(t, p); !s.At.Equal(want) {
			t.Errorf("at %v, want %v", s.At, want)
		}
		compare(t, "picture", picture(p.Store()), a.then(want))
		p.Step(10 * time.Second)
		if s := p.State(); !s.Live {
			t.Errorf("and back: %+v", s)
		}
	})
}

func TestThePresentGoesOnMeanwhile(t *testing.T) {
	a := recorded(5, 1)
	journey(t, a, func(t *testing.T, p *Player, live *fleet.Store) {
		p.Seek(epoch.Add(-time.Hour))
		if p.Store() == live || p.State().Live {
			t.Error("the present is shown as the past")
		}
		settled(t, p)
		before := live.Status().Fixes
		live.Apply([]client.Fix{tuitest.Fix(1, "van-1", epoch.Add(time.Minute), 1, 1)})
		p.Play(60)
		p.Live()
		if s := p.State(); p.Store() != live || live.Status().Fixes != before+1 || !reflect.DeepEqual(s, State{Live: true, Version: s.Version}) {
			t.Errorf("back in the present: %+v, %d fixes", s, live.Status().Fixes)
		}
		p.Seek(epoch.Add(-time.Hour))
		if s := settled(t, p); s.Speed != 0 || s.Loaded != 5 {
			t.Errorf("again: %+v", s)
		}
	})
}

func TestWhatHappenedThenIsInTheLogOfThen(t *testing.T) {
	a := &archive{fixes: map[track.DeviceID][]client.Fix{}}
	at := func(minutes float64) time.Time { return epoch.Add(time.Duration(minutes * float64(time.Minute))) }
	for _, m := range []float64{-80, -75, -70, -65, -60, -55, -50, -1} {
		a.fixes[1] = append(a.fixes[1], tuitest.Fix(1, "van-1", at(m), 1, 1))
	}
	for id, when := range map[track.DeviceID]float64{2: -70, 3: -69, 4: -69.5, 5: -68.5} {
		for m := -80.0; m < -66 || id > 2 && m < 0; m += 0.5 {
			f := tuitest.Fix(id, fmt.Sprintf("van-%d", id), at(m), 2, 2)
			if m == when {
				f.Event = "sos"
			}
			a.fixes[id] = append(a.fixes[id], f)
		}
	}
	all := []string{"van-2 sos -1h10m0s", "van-4 sos -1h9m0s", "van-3 sos -1h9m0s", "van-5 sos -1h8m0s"}
	journey(t, a, func(t *testing.T, p *Player, live *fleet.Store) {
		quietly := len(live.Events().Since(nil, 0))
		tell := func() (lines []string) {
			for _, e := range p.Store().Events().Since(nil, 0) {
				if e.Kind == fleet.SOS || e.Kind == fleet.Silent {
					lines = append(lines, fmt.Sprintf("%s %s %s", e.Name, e.Kind, e.At.Sub(epoch).Truncate(time.Minute)))
				}
			}
			return lines
		}
		p.Seek(at(-68))
		settled(t, p)
		if got := tell(); !slices.Equal(got, all) {
			t.Errorf("two minutes after it: %q", got)
		}
		if f, _, _ := p.Store().Info(p.Store().Find(2)); f.Event != "sos" {
			t.Errorf("it is no longer shown: %+v", f)
		}
		p.Play(60)
		time.Sleep(5 * time.Second)
		p.Pause()
		synctest.Wait()
		want := append(all, "van-2 silent -1h4m0s")
		if got := tell(); !slices.Equal(got, want) {
			t.Errorf("five minutes later: %q", got)
		}
		p.Step(-time.Second)
		settled(t, p)
		if got := tell(); !slices.Equal(got, want) {
			t.Errorf("made anew: %q", got)
		}
		p.Seek(at(-71))
		settled(t, p)
		if got := tell(); len(got) != 0 {
			t.Errorf("before it: %q", got)
		}
		if n := len(live.Events().Since(nil, 0)); n != quietly {
			t.Errorf("%d events of the past are in the log of the present", n-quietly)
		}
	})
}

func TestSomebodyHoldingAKeyAsksOnce(t *testing.T) {
	a := recorded(40, 1)
	journey(t, a, func(t *testing.T, p *Player, _ *fleet.Store) {
		for range 60 {
			p.Step(-100 * time.Second)
			time.Sleep(33 * time.Millisecond)
		}
		at := p.State().At
		s := settled(t, p)
		for _, q := range a.questions() {
			if !q.from.Equal(at.Add(-25*time.Minute)) || !q.to.Equal(at.Add(10*time.Minute)) {
				t.Errorf("asked for %v to %v while passing by", q.from, q.to)
			}
		}
		compare(t, "picture", picture(p.Store()), a.then(s.At))
	})
}

func TestLeavingAWindowHangsUp(t *testing.T) {
	a := recorded(600, 1)
	a.slow = 10 * time.Second
	journey(t, a, func(t *testing.T, p *Player, _ *fleet.Store) {
		for i := range 5 {
			p.Seek(epoch.Add(-time.Duration(i+1) * 20 * time.Minute))
			time.Sleep(time.Second)
		}
		p.Live()
		synctest.Wait()
		if a.running != 0 || a.most != 1 || len(a.questions()) != 5 {
			t.Errorf("%d questions of %d are still open, %d at once", a.running, len(a.questions()), a.most)
		}
		p.Seek(epoch.Add(-time.Hour))
		time.Sleep(time.Second)
		// And Run ends with a question open.
	})
}

func TestWhoIsLookedAtComesFirst(t *testing.T) {
	a := recorded(300, 1)
	a.slow = time.Second
	journey(t, a, func(t *testing.T, p *Player, _ *fleet.Store) {
		p.First([]track.DeviceID{200, 7, 9999, 300, 7})
		p.Seek(epoch.Add(-time.Hour))
		time.Sleep(quiet + 1500*time.Millisecond) // the second group is under way
		synctest.Wait()
		first := a.questions()[0].ids
		if !slices.Equal(first[:3], []track.DeviceID{200, 7, 300}) || len(first) != firstGroup {
			t.Errorf("asked for %v first", first)
		}
		want := a.then(epoch.Add(-time.Hour))
		for id := range want {
			if !slices.Contains(first, id) {
				delete(want, id)
			}
		}
		s := p.State()
		compare(t, "the first group", picture(p.Store()), want)
		if s.Loaded != firstGroup || s.Total != 300 || !s.Loading || p.Store().Status().Loaded {
			t.Errorf("%+v", s)
		}
		s = settled(t, p)
		compare(t, "all", picture(p.Store()), a.then(s.At))
		if !p.Store().Status().Loaded {
			t.Error("the store does not know that it is whole")
		}
		asked := map[track.DeviceID]int{}
		for _, q := range a.questions() {
			for _, id := range q.ids {
				asked[id]++
			}
		}
		for id, n := range asked {
			if n != 1 {
				t.Errorf("device %d was asked for %d times", id, n)
			}
		}
	})
}

func TestAFailingSourceLeavesWhatItGave(t *testing.T) {
	a := recorded(100, 1)
	broken := errors.New("connection reset")
	a.fail = func(q *question) error {
		if q.n >= 2 && q.n <= 6 {
			return broken
		}
		return nil
	}
	journey(t, a, func(t *testing.T, p *Player, _ *fleet.Store) {
		p.Seek(epoch.Add(-time.Hour))
		time.Sleep(2 * time.Second)
		synctest.Wait()
		s := p.State()
		if !errors.Is(s.Err, broken) || s.Loaded != firstGroup || !s.Loading {
			t.Errorf("while it fails: %+v", s)
		}
		if got := len(picture(p.Store())); got == 0 || got > firstGroup {
			t.Errorf("%d devices are shown", got)
		}
		s = settled(t, p)
		if s.Err != nil || s.Loaded != 100 {
			t.Errorf("after it: %+v", s)
		}
		compare(t, "after it", picture(p.Store()), a.then(s.At))
	})
}

func TestOneBrokenDeviceDoesNotHideTheOthers(t *testing.T) {
	a := recorded(100, 1)
	a.fail = func(q *question) error {
		if slices.Contains(q.ids, 3) {
			return errors.New("internal error")
		}
		return nil
	}
	journey(t, a, func(t *testing.T, p *Player, _ *fleet.Store) {
		p.Seek(epoch.Add(-time.Hour))
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		s := p.State()
		want := a.then(s.At)
		delete(want, 3)
		compare(t, "all others", picture(p.Store()), want)
		if s.Loaded != 99 || s.Err == nil {
			t.Errorf("%+v", s)
		}
		if n := len(a.questions()); n > 60 {
			t.Errorf("%d questions in two minutes", n)
		}
	})
}

func TestWhoIsNotAllowedIsToldOnce(t *testing.T) {
	a := recorded(10, 1)
	a.fail = func(*question) error { return fmt.Errorf("history: %w", track.ErrDenied) }
	journey(t, a, func(t *testing.T, p *Player, live *fleet.Store) {
		p.Seek(epoch.Add(-time.Hour))
		for range 5 {
			time.Sleep(time.Minute)
			p.Step(-30 * time.Minute)
		}
		time.Sleep(time.Second)
		synctest.Wait()
		if s := p.State(); !errors.Is(s.Err, track.ErrDenied) || s.Loading || len(a.questions()) != 1 {
			t.Errorf("%+v after %d questions", s, len(a.questions()))
		}
		p.Live()
		a.fail = nil
		p.Seek(epoch.Add(-time.Hour))
		if s := settled(t, p); s.Err != nil || s.Loaded != 10 {
			t.Errorf("with another token: %+v", s)
		}
	})
}

func TestPlayingGoesOnUntilThePresent(t *testing.T) {
	a := recorded(40, 6)
	a.slow = 200 * time.Millisecond
	journey(t, a, func(t *testing.T, p *Player, live *fleet.Store) {
		p.Seek(epoch.Add(-time.Hour))
		p.Play(60)
		var at time.Time
		var past *fleet.Store
		shown := map[*fleet.Store]bool{}
		for range 700 {
			time.Sleep(beat)
			synctest.Wait()
			s := p.State()
			if s.Live {
				break
			}
			if s.At.Before(at) || !at.IsZero() && s.At.Sub(at) > 7*time.Second {
				t.Fatalf("from %v to %v in a beat", at, s.At)
			}
			at = s.At
			if s.Loading {
				if !at.Equal(epoch.Add(-time.Hour)) {
					t.Fatalf("the clock ran before all were loaded: %+v", s)
				}
				continue
			}
			past = p.Store()
			shown[p.Store()] = true
			if s.Speed != 60 {
				t.Fatalf("%+v", s)
			}
			compare(t, fmt.Sprint(s.At), picture(p.Store()), a.then(p.Store().Now()))
		}
		if s := p.State(); !s.Live || p.Store() != live || at.Before(epoch.Add(-3*time.Minute)) {
			t.Errorf("stopped at %v: %+v", at, s)
		}
		if len(shown) != 1 {
			t.Errorf("%d stores for one play", len(shown))
		}
		// Making the film longer takes nobody from the map for a moment.
		came := 0
		for _, e := range past.Events().Since(nil, 0) {
			if e.Kind == fleet.Appeared {
				came += e.Times
			}
		}
		if want := a.returns(epoch.Add(-time.Hour), at); came != want {
			t.Errorf("%d devices came to the map during the play, want %d", came, want)
		}
		// Nobody was asked twice for the same time.
		until := map[track.DeviceID]time.Time{}
		for _, q := range a.questions() {
			for _, id := range q.ids {
				if q.from.Before(until[id]) {
					t.Fatalf("asked for %v to %v, had up to %v", q.from, q.to, until[id])
				}
				until[id] = q.to
			}
		}
	})
}

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

// TestManyHandsOnOneClock is for the race detector.
func TestManyHandsOnOneClock(t *testing.T) {
	a := recorded(60, 1)
	journey(t, a, func(t *testing.T, p *Player, live *fleet.Store) {
		var hands sync.WaitGroup
		for n := range uint64(4) {
			hands.Go(func() {
				rng := rand.New(rand.NewPCG(n, n))
				var f fleet.Frame
				for i := range 150 {
					switch rng.IntN(8) {
					case 0:
						p.Seek(epoch.Add(-time.Duration(rng.IntN(7000)) * time.Second))
					case 1:
						p.Play(rng.Float64() * 100)
					case 2:
						p.First([]track.DeviceID{track.DeviceID(rng.IntN(60))})
					case 3:
						live.Apply([]client.Fix{tuitest.Fix(1, "x", epoch.Add(time.Duration(i)*time.Second), 1, 1)})
					case 4:
						if i%10 == 0 {
							p.Live()
						}
					default:
						p.Step(time.Duration(rng.IntN(200)-100) * time.Second)
					}
					s := p.Store()
					f.Refresh(s, nil)
					if st := p.State(); st.Speed < 0 || st.Loaded > st.Total {
						t.Errorf("%+v", st)
					}
					time.Sleep(time.Duration(rng.IntN(200)) * time.Millisecond)
				}
			})
		}
		hands.Wait()
		p.Pause()
		p.Seek(epoch.Add(-time.Hour))
		s := settled(t, p)
		compare(t, "in the end", picture(p.Store()), a.then(s.At))
	})
}

func TestAPanicReachesWhoRunsThePlayer(t *testing.T) {
	a := recorded(5, 1)
	a.fail = func(*question) error { panic("boom") }
	synctest.Test(t, func(t *testing.T) {
		p := New(a, a.present(), nil)
		caught := make(chan any)
		go func() {
			defer func() { caught <- recover() }()
			_ = p.Run(t.Context())
		}()
		p.Seek(epoch.Add(-time.Hour))
		if v := fmt.Sprint(<-caught); len(v) < 4 || v[:4] != "boom" {
			t.Errorf("got %.100v", v)
		}
	})
}
