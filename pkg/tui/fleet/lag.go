package fleet

import "time"

// lag measures how long fixes take from the server's receipt to here, by two clocks that
// may disagree. A lag that is never small, or that is negative, is theirs: then only
// what comes on top of the smallest one is told. So a line that is always slow looks
// like a skewed clock, but a skewed clock never looks like a slow line.
type lag struct {
	mean  time.Duration
	at    time.Time        // when it was last measured
	least [2]time.Duration // of this minute, and of the one before
	since time.Time        // when this minute began; zero before the first fix
	sure  bool             // a minute has passed: who is late at first may have to catch up
}

const (
	// skewed is the smallest lag that counts as a disagreement of clocks.
	skewed = 2 * time.Second

	// Who has measured nothing for so long begins anew, and after a minute has nothing
	// to tell: that somebody was late once is not what the line is like now.
	lagBreak = 10 * time.Second
	lagOver  = time.Minute
)

func (l *lag) take(d time.Duration, now time.Time) {
	switch {
	case l.since.IsZero():
		l.least, l.since = [2]time.Duration{d, d}, now
	case now.Sub(l.since).Abs() >= time.Minute:
		l.least, l.since, l.sure = [2]time.Duration{d, l.least[0]}, now, true
	}
	l.least[0] = min(l.least[0], d)
	switch {
	case l.at.IsZero() || now.Sub(l.at).Abs() >= lagBreak:
		l.mean = d
	case d < l.mean/2: // it has caught up
		l.mean -= (l.mean - d) / 2
	default:
		l.mean += (d - l.mean) / 8
	}
	l.at = now
}

// told is what to tell people.
func (l *lag) told(now time.Time) time.Duration {
	if l.at.IsZero() || now.Sub(l.at).Abs() >= lagOver {
		return 0
	}
	least := min(l.least[0], l.least[1])
	if least >= 0 && (least <= skewed || !l.sure) {
		least = 0
	}
	return max(l.mean-least, 0)
}
