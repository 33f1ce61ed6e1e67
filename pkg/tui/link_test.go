package tui

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"tracker/pkg/client"
	"tracker/pkg/filter"
	"tracker/pkg/track"
	"tracker/pkg/tui/fleet"
)

var (
	errExpired = fmt.Errorf("the token expired or was revoked: %w", track.ErrDenied)
	errUnknown = fmt.Errorf("the token is unknown: %w", track.ErrDenied)
)

// lineOf is a line whose answers are played. It tells when it was asked.
type lineOf struct {
	mu      sync.Mutex
	answers []error // of Again; afterwards it is let in
	asked   []time.Duration
	start   time.Time
	hurried int
	feed    Feed
}

func (l *lineOf) Again(context.Context) (Feed, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.asked = append(l.asked, time.Since(l.start))
	if len(l.answers) > 0 {
		err := l.answers[0]
		l.answers = l.answers[1:]
		return nil, err
	}
	return l.feed, nil
}

func (l *lineOf) Hurry() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.hurried++
}

func (l *lineOf) Advice() string { return "another token goes into wall.token" }

func (l *lineOf) times() []time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.asked)
}

// refusedAfter is a feed that is refused after a while.
func refusedAfter(d time.Duration, err error) Feed {
	return func(ctx context.Context, s *fleet.Store) error {
		s.Snapshot(vans(3), true, false)
		s.SetLink(fleet.Live, "")
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(d):
			return err
		}
	}
}

// kept runs a feed with a keeper in a bubble of time.
func kept(t *testing.T, line *lineOf, feed Feed, then func(k *keeper, s *fleet.Store, ended <-chan error)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		store := fleet.New(fleet.Config{})
		line.start = time.Now()
		k := newKeeper(line, store)
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- k.keep(feed)(ctx, store) }()
		then(k, store, ended)
		cancel()
		synctest.Wait()
	})
}

func wantLink(t *testing.T, s *fleet.Store, state fleet.LinkState, why string) {
	t.Helper()
	synctest.Wait()
	if got := s.Status().Link; got.State != state || got.Why != why {
		t.Errorf("link %+v, want state %d, %q", got, state, why)
	}
}

func linkLines(s *fleet.Store) (out []string) {
	for _, e := range s.Events().Since(nil, 0) {
		out = append(out, e.Kind.String()+": "+e.Text)
	}
	return out
}

func TestARefusedFeedIsAskedForAgain(t *testing.T) {
	line := &lineOf{answers: []error{errUnknown, errUnknown}, feed: refusedAfter(time.Hour, nil)}
	kept(t, line, refusedAfter(time.Minute, errExpired), func(k *keeper, s *fleet.Store, ended <-chan error) {
		time.Sleep(time.Minute)
		wantLink(t, s, fleet.Denied, errExpired.Error())
		if left := s.Status().Link.Again.Sub(s.Now()); left != renewEvery {
			t.Errorf("again in %v, want %v", left, renewEvery)
		}
		if got := s.Status().Devices; got != 3 || !errors.Is(k.left(), errExpired) {
			t.Errorf("%d devices are left of the picture, want 3; refused with %v", got, k.left())
		}
		time.Sleep(renewEvery) // refused by the first
		wantLink(t, s, fleet.Denied, errUnknown.Error())
		if !errors.Is(k.left(), errUnknown) {
			t.Errorf("refused with %v", k.left())
		}
		time.Sleep(time.Second)
		k.now() // refused by the second
		wantLink(t, s, fleet.Denied, errUnknown.Error())
		time.Sleep(renewEvery)
		wantLink(t, s, fleet.Live, "")
		if k.left() != nil {
			t.Errorf("refused with %v", k.left())
		}
		want := []time.Duration{time.Minute + renewEvery, time.Minute + renewEvery + time.Second, time.Minute + 2*renewEvery + time.Second}
		if got := line.times(); !slices.Equal(got, want) {
			t.Errorf("asked after %v, want %v", got, want)
		}
		if got, want := linkLines(s), []string{"denied: " + errExpired.Error(), "resumed: live again after 10m"}; !slices.Equal(got, want) {
			t.Errorf("the log says %q, want %q", got, want)
		}
		time.Sleep(time.Hour)
		synctest.Wait()
		if err := <-ended; err != nil {
			t.Errorf("a feed that is complete ends with %v", err)
		}
	})
}

func TestAWeekendOfRefusalsIsOneEvent(t *testing.T) {
	line := &lineOf{answers: slices.Repeat([]error{errUnknown}, 1000)}
	kept(t, line, refusedAfter(0, errExpired), func(k *keeper, s *fleet.Store, ended <-chan error) {
		time.Sleep(60 * time.Hour)
		synctest.Wait()
		if got := len(line.times()); got < 700 || got > 720 {
			t.Errorf("asked %d times in 60 hours, want every five minutes", got)
		}
		if got := linkLines(s); len(got) != 1 {
			t.Errorf("%d events of one refusal", len(got))
		}
	})
}

func TestRetryOfBeforeIsNoRetryOfNow(t *testing.T) {
	line := &lineOf{answers: slices.Repeat([]error{errUnknown}, 10)}
	kept(t, line, refusedAfter(time.Minute, errExpired), func(k *keeper, s *fleet.Store, ended <-chan error) {
		k.now() // while it is live
		k.now()
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		if got := line.times(); len(got) != 0 {
			t.Errorf("asked after %v", got)
		}
		if line.hurried != 2 {
			t.Errorf("%d times in a hurry, want 2", line.hurried)
		}
	})
}

func TestAServerThatIsAwayWhenItIsAskedIsAskedSooner(t *testing.T) {
	away := fmt.Errorf("x: %w", client.ErrUnreachable)
	line := &lineOf{answers: []error{away, away}, feed: refusedAfter(time.Hour, nil)}
	kept(t, line, refusedAfter(0, errExpired), func(k *keeper, s *fleet.Store, ended <-chan error) {
		time.Sleep(renewEvery)
		wantLink(t, s, fleet.Denied, away.Error())
		if !errors.Is(k.left(), errExpired) {
			t.Errorf("left with %v, want what the server said", k.left())
		}
		time.Sleep(2 * knockEvery)
		wantLink(t, s, fleet.Live, "")
	})
}

func TestOnlyRefusalsAreOutlived(t *testing.T) {
	broken := errors.New("disk full")
	for _, tt := range []struct {
		name string
		err  error
		line bool
		ends bool
	}{
		{"denied", errExpired, true, false},
		{"the map is gone", fmt.Errorf("map x: %w", track.ErrNotFound), true, false},
		{"another certificate", client.ErrUntrusted, true, false},
		{"something else", broken, true, true},
		{"complete", nil, true, true},
		{"no line", errExpired, false, true},
	} {
		synctest.Test(t, func(t *testing.T) {
			k := newKeeper(&lineOf{}, fleet.New(fleet.Config{}))
			if !tt.line {
				k.line = nil
			}
			ctx, cancel := context.WithCancel(t.Context())
			ended := make(chan error, 1)
			go func() { ended <- k.keep(func(context.Context, *fleet.Store) error { return tt.err })(ctx, k.store) }()
			synctest.Wait()
			select {
			case err := <-ended:
				if !tt.ends || !errors.Is(err, tt.err) {
					t.Errorf("%s: ended with %v", tt.name, err)
				}
			default:
				if tt.ends {
					t.Errorf("%s: goes on", tt.name)
				}
				cancel()
				if err := <-ended; err != nil || !errors.Is(k.left(), tt.err) {
					t.Errorf("%s: ended with %v, left with %v", tt.name, err, k.left())
				}
			}
			cancel()
		})
	}
}

func TestPlainAndOnceEndWithARefusal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		line := &lineOf{feed: refusedAfter(time.Hour, nil)}
		var out bytes.Buffer
		err := Plain(t.Context(), &out, Options{Feed: refusedAfter(30*time.Second, errExpired), Line: line})
		if !errors.Is(err, track.ErrDenied) || !strings.Contains(out.String(), "summary: 3 devices") {
			t.Errorf("%v\n%s", err, out.String())
		}
		never := func(context.Context, *fleet.Store) error { return errExpired }
		if err := Once(t.Context(), &out, Options{Feed: never, Line: line}); !errors.Is(err, track.ErrDenied) {
			t.Errorf("%v", err)
		}
	})
}

// lineRig is a screen with a line that can be asked again.
func lineRig(t *testing.T, w, h int) (*rig, *lineOf) {
	t.Helper()
	line := &lineOf{}
	r := newRig(t, w, h, "plain").load(vans(3)...)
	r.keeper = newKeeper(line, r.store)
	return r, line
}

func TestADeniedMapSaysWhatToDo(t *testing.T) {
	for _, size := range [][2]int{{120, 40}, {80, 24}, {59, 15}} {
		r, _ := lineRig(t, size[0], size[1])
		r.keeper.stands(errExpired)
		r.store.SetLinkAgain(fleet.Denied, "token expired\x1b[2J at 12:00", renewEvery)
		r.compose()
		r.shows("○ DENIED token expired?[2J at 12:00", "van-0")
		if size[1] > 15 {
			r.shows(" r tries again; another token goes into wall.token", "? help", "q quit", "denied")
		}
		if size[0] > 100 {
			r.shows("again in 5m, r now")
		}
		r.keeper.stands(fmt.Errorf("map x: %w", track.ErrNotFound)) // to which no token helps
		r.compose()
		r.hides("another token")
		r.keeper.stands(errExpired)
		r.press("r")
		if len(r.keeper.wish) != 1 {
			t.Errorf("%dx%d: r asks for nothing", size[0], size[1])
		}
		r.store.SetLink(fleet.Denied, "asking again")
		r.compose()
		r.shows("○ DENIED asking again").hides("tries again")
		r.store.SetLink(fleet.Live, "")
		r.compose()
		r.shows("● LIVE").hides("DENIED", "tries")
	}
}

func TestALinkThatIsDownCountsTheSecondsAndCanBeHurried(t *testing.T) {
	r, line := lineRig(t, 120, 40)
	r.press("r").shows("the link is up")
	if line.hurried+len(r.keeper.wish) != 0 {
		t.Error("a link that is up was hurried")
	}
	r.store.Take(&client.Event{Kind: client.Disconnected, Err: errors.New("reset"), RetryIn: 14400 * time.Millisecond})
	r.clock.Advance(10 * time.Second) // what was said is over
	r.compose()
	r.shows("○ RECONNECTING 10s reset again in 4s, r now", " r tries now")
	r.clock.Advance(10 * time.Second)
	r.compose()
	r.shows("again in 0s")
	r.press("r")
	if line.hurried != 1 {
		t.Errorf("r hurried the link %d times", line.hurried)
	}
	r.store.SetLink(fleet.Ended, "complete")
	r.press("r").shows("the feed is complete")
	r.store.SetLink(fleet.Connecting, "")
	r.press("r").shows("it is trying")
}

func TestAMapWithoutALineHasNothingToRetry(t *testing.T) {
	r := newRig(t, 120, 40, "plain").load(vans(3)...)
	r.store.SetLinkAgain(fleet.Reconnecting, "reset", 4*time.Second)
	r.compose()
	r.shows("again in 4s").hides("r now", "tries now")
	r.press("r").shows("it is trying")
}

// A laptop sleeps for an hour while the map is open.
func TestTheMapWakesUp(t *testing.T) {
	r, _ := lineRig(t, 120, 40)
	truth := r.clock.At // by the clocks of devices and server
	report := func() {
		r.clock.Advance(time.Second)
		truth = truth.Add(time.Second)
		fixes := vans(3)
		for i := range fixes {
			fixes[i].Time, fixes[i].Received = truth, truth
		}
		r.store.Apply(fixes)
		r.compose()
	}
	for range 180 {
		report()
	}
	for _, leap := range []time.Duration{time.Hour, -time.Hour, 26 * time.Hour, -25 * time.Hour} {
		r.clock.Advance(leap)
		if leap == time.Hour {
			truth = truth.Add(leap) // it was a sleep
		}
		if !r.Due(r.clock.At) {
			t.Errorf("no frame after the clock leapt by %v", leap)
		}
		r.compose()
		r.hides("● LAG")
		for range 5 {
			report()
			r.hides("● LAG", "✕")
		}
		r.shows("3.0 fix/s")
	}
	if got := linkLines(r.store); len(got) != 0 {
		t.Errorf("events of a clock: %q", got)
	}
}

func mustFilter(t *testing.T, text string) *filter.Filter {
	t.Helper()
	f, err := filter.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func TestFitsThoseWhoAreMeant(t *testing.T) {
	fixes := []client.Fix{fixOf(1, "ship", epoch, -33, 151), fixOf(2, "van-a", epoch, 48, 11), fixOf(3, "van-b", epoch, 48.2, 11.3)}
	var all, some bytes.Buffer
	o := Options{Feed: feedOf(fixes...), Now: func() time.Time { return epoch }, Environ: []string{"LANG=C.UTF-8"}}
	if err := Once(t.Context(), &all, o); err != nil {
		t.Fatal(err)
	}
	o.Filter = mustFilter(t, "van")
	if err := Once(t.Context(), &some, o); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(all.String(), "5000 km") || !strings.Contains(some.String(), " 5 km") && !strings.Contains(some.String(), " 10 km") {
		t.Errorf("all:\n%s\nvans:\n%s", all.String(), some.String())
	}

	r := newRig(t, 80, 24, "plain").load(fixes...)
	wide := r.view.Zoom
	if err := r.setFilter("van"); err != nil {
		t.Fatal(err)
	}
	r.clock.Advance(time.Second)
	r.compose()
	near := r.view.Zoom
	if near < wide+5 {
		t.Errorf("zoom %.1f for the vans, %.1f for all", near, wide)
	}
	// Who does not match does not matter any more, nor who comes and goes between others.
	r.store.Apply([]client.Fix{fixOf(1, "ship", epoch.Add(time.Second), -60, -151), fixOf(4, "van-c", epoch, 48.1, 11.2)})
	r.clock.Advance(time.Second)
	r.compose()
	if r.view.Zoom != near {
		t.Errorf("zoom %.1f, want %.1f as before", r.view.Zoom, near)
	}
	// A filter that means nobody leaves the view, and none shows all.
	for text, want := range map[string]float64{"nobody": near, "": wide} {
		r.press("0")
		if err := r.setFilter(text); err != nil {
			t.Fatal(err)
		}
		r.clock.Advance(time.Second)
		r.compose()
		if got := r.view.Zoom; got > want+1 || got < want-1 {
			t.Errorf("filter %q: zoom %.1f, want about %.1f", text, got, want)
		}
		_ = r.setFilter("van")
		r.clock.Advance(time.Second)
		r.compose()
	}
}
