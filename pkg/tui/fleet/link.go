package fleet

import (
	"fmt"
	"time"

	"tracker/pkg/tui/canvas"
)

// LinkState is how the feed is doing.
type LinkState uint8

const (
	Connecting LinkState = iota
	Live
	Reconnecting
	Ended
	Denied // the server does not let this viewer in any more
)

// Link is what the status line says of the feed.
type Link struct {
	State LinkState
	Since time.Time
	Note  string    // why, in a few words, and for how long
	Why   string    // why alone
	Again time.Time // when the feed tries again by itself; zero if it does not
}

// SetLink says how the feed is doing, and why. That it broke and that it is back are
// events.
func (s *Store) SetLink(state LinkState, note string) {
	s.setLink(Link{State: state, Note: note, Why: note}, note)
}

// SetLinkAgain is SetLink of a feed that stands still, and tries again after a time.
func (s *Store) SetLinkAgain(state LinkState, why string, in time.Duration) {
	note := fmt.Sprintf("%s, again in %v", why, in.Round(100*time.Millisecond))
	s.setLink(Link{State: state, Note: note, Why: why, Again: s.now().Add(in)}, why)
}

// setLink takes what to show as long as it lasts, and what to write down.
func (s *Store) setLink(link Link, said string) {
	now := s.now()
	s.mu.Lock()
	defer s.mu.Unlock()
	link.Since = s.link.Since
	if s.link.State != link.State {
		s.linkEvent(link.State, canvas.Clean(said), now)
		link.Since = now
	}
	link.Note, link.Why = canvas.Clean(link.Note), canvas.Clean(link.Why)
	s.link = link
	s.version++
}

func (s *Store) linkEvent(state LinkState, why string, now time.Time) {
	down := s.link.State == Reconnecting || s.link.State == Denied
	switch {
	case state == Denied:
		s.log.Add(Event{At: now, Kind: Refused, Text: why})
	case state == Reconnecting:
		s.log.Add(Event{At: now, Kind: Disconnected, Text: why})
	case state == Live && down:
		text := "live again after " + brief(now.Sub(s.link.Since))
		if why != "" {
			text += ", " + why
		}
		s.log.Add(Event{At: now, Kind: Resumed, Text: text})
	}
}
