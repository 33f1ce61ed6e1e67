package tui

import (
	"cmp"
	"context"
	"errors"
	"time"

	"tracker/pkg/tui/past"
	"tracker/pkg/tui/tty"
)

// Opening is what the map shows first. Its words are those of the palette.
type Opening struct {
	Place string  // a device, a city, or LAT,LON; empty: all devices
	Zoom  float64 // of the view; 0 is what suits the place
	At    string  // a moment of the past; empty: the present
}

// Check tells what is wrong with the moment. A place is known by whom the map knows.
func (o Opening) Check(now time.Time) error {
	if o.At == "" {
		return nil
	}
	_, err := moment(o.At, now)
	return err
}

// open goes where the map is to begin. It wants a frame in which the devices are.
func (s *screen) open(o Opening) error {
	var place, then error
	if o.Place != "" {
		place = s.goTo(o.Place)
	}
	if o.Zoom > 0 {
		if s.fitting {
			s.fit()
		}
		s.take()
		s.view.Zoom = o.Zoom
		s.view.Clamp()
	}
	if o.At != "" {
		then = s.seekText(o.At)
	}
	return errors.Join(place, then)
}

// begin is open on a terminal: as soon as there are devices, and what is wrong is said
// like any other mistake.
func (s *screen) begin() {
	select {
	case <-s.live.Ready():
		opening := s.opening
		s.opening = Opening{}
		if err := s.open(opening); err != nil {
			s.say(err.Error())
		}
	default:
	}
}

// thenWait is how long a single picture of the past may take to load.
const thenWait = time.Minute

// showThen is open for a single picture: it returns when the past is loaded, if the past
// is wanted, or an error if it cannot be.
func (s *screen) showThen(ctx context.Context, o *Options) error {
	if o.Opening.At == "" || o.Past == nil {
		return s.open(o.Opening)
	}
	s.player = past.New(o.Past, s.live, o.Now)
	ctx, stop := context.WithTimeout(ctx, thenWait)
	ran := startPlayer(ctx, s.player, &tty.Config{}, stop)
	err := s.open(o.Opening)
	if err == nil {
		err = s.loaded(ctx)
	}
	s.fitted = 0 // to those of then
	stop()
	return errors.Join(err, <-ran)
}

// loaded waits until the player has all that it shows.
func (s *screen) loaded(ctx context.Context) error {
	look := time.NewTicker(thenLook)
	defer look.Stop()
	for {
		if st := s.player.State(); st.Live || !st.Loading {
			return st.Err
		}
		select {
		case <-ctx.Done():
			return cmp.Or(s.player.State().Err, ctx.Err())
		case <-look.C:
		}
	}
}

const thenLook = 20 * time.Millisecond
