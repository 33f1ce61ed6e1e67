package past

import (
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

var epoch = tuitest.Epoch

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
