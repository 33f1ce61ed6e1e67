package fleet

import "time"

// lag measures how long fixes take from the server's receipt to here, by two clocks that
// may disagree. A lag that is never small, or that is negative, is theirs: then only
// what comes on top of the smallest one is told. So a line that is always slow looks
// like a skewed clock, but a skewed clock never looks like a slow line.
type lag struct {
	mean  time.Duration
	least [2]time.Duration // of this minute, and of the one before
	since time.Time        // when this minute began; zero before the first fix
	sure  bool             // a minute has passed: who is late at first may have to catch up
}

// skewed is the smallest lag that counts as a disagreement of clocks.
const skewed = 2 * time.Second

func (l *lag) take(d time.Duration, now time.Time) {
	switch {
	case l.since.IsZero():
		l.mean, l.least, l.since = d, [2]time.Duration{d, d}, now
	case now.Sub(l.since) >= time.Minute:
		l.least, l.since, l.sure = [2]time.Duration{d, l.least[0]}, now, true
	}
	l.least[0] = min(l.least[0], d)
	l.mean += (d - l.mean) / 8
}

// told is what to tell people.
func (l *lag) told() time.Duration {
	least := min(l.least[0], l.least[1])
	if least >= 0 && (least <= skewed || !l.sure) {
		least = 0
	}
	return max(l.mean-least, 0)
}
