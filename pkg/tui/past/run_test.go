package past

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"tracker/pkg/client"
	"tracker/pkg/track"
	"tracker/pkg/tui/fleet"
	"tracker/pkg/tui/tuitest"
)

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
