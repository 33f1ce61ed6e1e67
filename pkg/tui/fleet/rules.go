package fleet

import (
	"time"

	"tracker/pkg/client"
	"tracker/pkg/filter"
	"tracker/pkg/geo"
	"tracker/pkg/track"
)

// rules say which fix, and which lack of one, a person may want to know of. They keep
// nothing but what they were made of: what a device was already told of is in its told.
type rules struct {
	ages filter.Ages // filled
	low  int         // percent; a battery below is low, until it is rearm above
}

const (
	lowBattery = 15 // percent, unless the store is told another
	rearm      = 5  // percent
)

// told is what was said of a device and is not over, so that it is said once.
type told uint8

const (
	toldSilent told = 1 << iota
	toldLost
	toldLow
)

// news is a fix that is newer than what was known of its device.
type news struct {
	fix     *client.Fix
	was, is *Point
	from    geo.Point     // where it was before, with was.Placed
	gap     time.Duration // between this fix and the one before, by the device's clock
	known   bool          // there was one before
	loaded  bool          // the picture was whole before
	heard   int64         // unix milliseconds on the store's clock
	now     int64
}

// fix appends what a fix means to dst, and tells what is known to the person then.
func (r *rules) fix(dst []Event, n *news, t told) ([]Event, told) {
	if !n.known && n.loaded {
		dst = append(dst, Event{Kind: Appeared})
	}
	if t&toldSilent != 0 && n.now-n.heard < r.ages.Stale.Milliseconds() {
		dst = append(dst, Event{Kind: Back, span: time.Duration(n.heard-n.was.Heard) * time.Millisecond})
		t &^= toldSilent | toldLost
	}
	dst, t = r.battery(dst, n, t)
	if kind := alarmKind(n.fix.Event); kind != 0 && n.recent() {
		dst = append(dst, Event{Kind: kind})
	}
	if n.fix.Jump && n.known {
		dst = append(dst, n.jump())
	}
	return dst, t
}

// recent tells whether a person has to know even of a device that is seen for the first
// time: what it reported hours ago is not news.
func (n *news) recent() bool { return n.known || n.now-n.heard < filter.AlarmFor.Milliseconds() }

func alarmKind(event string) Kind {
	switch event {
	case "sos":
		return SOS
	case "tamper":
		return Tamper
	}
	return 0
}

// battery tells of a battery that got low, and not of one that was low when the device
// was first seen.
func (r *rules) battery(dst []Event, n *news, t told) ([]Event, told) {
	f := n.fix
	says, has := f.Event == "low_battery", f.Has&track.HasBat != 0
	switch {
	case says || has && f.Battery < r.low:
		if t&toldLow == 0 && (n.known || says && n.recent()) {
			e := Event{Kind: LowBattery, num: unknown}
			if has {
				e.num = int64(f.Battery)
			}
			dst = append(dst, e)
		}
		t |= toldLow
	case has && f.Battery >= r.low+rearm:
		t &^= toldLow
	}
	return dst, t
}

func (n *news) jump() Event {
	e := Event{Kind: Jump, num: unknown}
	if n.was.Placed() && n.fix.HasPos() {
		e.num, e.span = int64(geo.Distance(n.from, n.fix.At)), n.gap
	}
	return e
}

// silence tells what the lack of fixes means: silent after the age at which a device
// counts as stale, and lost after the other one. Who usually reports less often than
// that is silent after three times its usual interval.
func (r *rules) silence(p *Point, t told, now int64) (e Event, is told) {
	if t&toldLost != 0 || p.Every == 0 || !p.Alive() {
		return Event{}, t
	}
	age, usual := p.Age(now), p.usual()
	e = Event{Kind: Silent, span: age, num: int64(usual)}
	switch {
	case age >= max(r.ages.Lost, 3*usual):
		e.lost = true
		return e, t | toldSilent | toldLost
	case age >= max(r.ages.Stale, 3*usual) && t&toldSilent == 0:
		return e, t | toldSilent
	}
	return Event{}, t
}
