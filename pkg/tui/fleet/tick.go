package fleet

import "time"

// Tick looks for devices that fell silent, once a second of the store's clock at most.
// Frames do it by themselves; whoever shows events without frames, or while the frame
// stands still, calls it.
func (s *Store) Tick() {
	now := s.now()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.tick(now)
}

func (s *Store) tick(now time.Time) {
	passed := sinceByWall(now, s.ticked)
	if passed >= 0 && passed < time.Second {
		return
	}
	if !s.byFixTime && !s.ticked.IsZero() && (passed < 0 || passed >= asleep) {
		s.leapt(now)
	}
	s.ticked = now
	if s.deaf(now) {
		return
	}
	ms := now.UnixMilli()
	for i := range s.points {
		if e, is := s.rules.silence(&s.points[i], s.told[i], ms); is != s.told[i] {
			s.told[i] = is
			s.silent(int32(i), e, now)
		}
	}
}

// asleep is how long nobody has to look at the store for it to have been away.
const asleep = 30 * time.Second

// sinceByWall is the time between two moments by the clock on the wall, which goes on
// while the machine sleeps, and may be set.
func sinceByWall(now, then time.Time) time.Duration { return now.Round(0).Sub(then.Round(0)) }

// leapt takes the clock as it is now. The machine slept, or somebody stopped the program,
// or set the clock: then what was not heard is no silence of the devices, what took long
// no lag, and what was heard in what is the future now was heard just now.
func (s *Store) leapt(now time.Time) {
	s.woke = now
	s.lag = lag{sure: true}
	s.resyncs = time.Time{}
	if s.link.Since.After(now) {
		s.link.Since = now
	}
	ms := now.UnixMilli()
	for i := range s.points {
		p := &s.points[i]
		if !p.Alive() || p.Heard <= ms && p.AlarmAt() <= ms {
			continue
		}
		if p.Heard = min(p.Heard, ms); p.AlarmAt() > ms {
			p.Alarm = alarmStamp(ms)
		}
		s.touch(int32(i))
	}
}

// deaf tells whether it is this side that does not hear. That goes on for a while after
// it is connected again, or awake, until everybody had a chance to report.
func (s *Store) deaf(now time.Time) bool {
	heard := s.woke
	switch s.link.State {
	case Connecting:
	case Live:
		if s.link.Since.After(heard) {
			heard = s.link.Since
		}
	default:
		return true
	}
	return !heard.IsZero() && now.Sub(heard) < s.rules.ages.Stale
}
