package filter

import (
	"fmt"
	"strings"
	"time"
)

// State is how a device is, in the order of how much it wants to be seen.
type State uint8

const (
	Idle State = iota
	Moving
	Stale // silent for a while
	Lost  // silent for long
	Alert // it reports something for a person to look at
	States
)

var stateNames = [States]string{"idle", "moving", "stale", "lost", "alert"}

func (s State) String() string {
	if s < States {
		return stateNames[s]
	}
	return fmt.Sprintf("state_%d", uint8(s))
}

// ParseState is the opposite of String.
func ParseState(name string) (State, error) {
	for s, n := range stateNames {
		if n == name {
			return State(s), nil
		}
	}
	return 0, fmt.Errorf("state %q is not one of %s", name, strings.Join(stateNames[:], ", "))
}

// Ages are how long a device may be silent before it counts as stale, and as lost. 0 is
// 2 and 15 minutes; lost is never before stale.
type Ages struct{ Stale, Lost time.Duration }

const (
	staleAfter = 2 * time.Minute
	lostAfter  = 15 * time.Minute
)

// Filled is a with the defaults in the place of zeros.
func (a Ages) Filled() Ages {
	if a.Stale <= 0 {
		a.Stale = staleAfter
	}
	if a.Lost <= 0 {
		a.Lost = lostAfter
	}
	a.Lost = max(a.Lost, a.Stale)
	return a
}

const (
	// MovingFrom is the speed from which on a device counts as moving, in metres a second.
	MovingFrom = 0.5

	// AlarmFor is how long a report such as sos makes a device an alert, whatever it says
	// after that: a person has to get a chance to see it.
	AlarmFor = 5 * time.Minute
)

// Alarming tells whether an event is something for a person to look at.
func Alarming(event string) bool { return event == "sos" || event == "tamper" }

// StateOf is the one definition of how a device is: age since it was heard, whether an
// alarm of it is being shown, whether it moves.
func (a Ages) StateOf(age time.Duration, alarmed, moving bool) State {
	a = a.Filled()
	switch {
	case alarmed:
		return Alert
	case age >= a.Lost:
		return Lost
	case age >= a.Stale:
		return Stale
	case moving:
		return Moving
	}
	return Idle
}
