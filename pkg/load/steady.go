package load

import "time"

// SteadyWindow is how long the windows are that a warm-up is held against each other by.
const SteadyWindow = 500 * time.Millisecond

// alike is how much two windows of a warm-up may differ.
const alike = 0.05

// Steady finds out when a warm-up may end: when two windows in a row were alike, in
// their median latency if that is known, and in how much was done.
type Steady struct {
	median time.Duration
	done   float64
	before bool
}

// Window takes the figures of a window, a median of 0 if it is not known, and tells
// whether it was like the one before.
func (s *Steady) Window(median time.Duration, done float64) bool {
	ok := s.before && near(float64(s.done), done, 0) && near(float64(s.median), float64(median), float64(grain))
	s.median, s.done, s.before = median, done, true
	return ok
}

// grain is how finely latencies can be told apart on a machine that does other things,
// too.
const grain = 100 * time.Microsecond

func near(a, b, grain float64) bool {
	d := max(a, b) - min(a, b)
	return d <= alike*max(a, b) || d <= grain
}
