package gateway

import (
	"cmp"
	"sync"
	"time"

	"tracker/pkg/track"
)

// Rate is what one device may report, by the rules of the door for datagrams: a report
// costs a while, each of its fixes a shorter while, whichever is more, and a device may
// have saved up Burst reports.
type Rate struct {
	Reports float64 // a second; 0: 4
	Fixes   float64 // a second; 0: 50
	Burst   int     // 0: 120
}

func (r *Rate) setDefaults() {
	r.Reports = cmp.Or(r.Reports, 4)
	r.Fixes = cmp.Or(r.Fixes, 50)
	r.Burst = cmp.Or(r.Burst, 120)
}

// accounts knows of each device when all that it sent is paid. Who is paid up is not in
// it, so it is bounded by the devices that are busy.
type accounts struct {
	report, fix, depth time.Duration

	mu  sync.Mutex
	due map[track.DeviceID]time.Time
}

func (a *accounts) init(r Rate) {
	second := float64(time.Second)
	a.report, a.fix = time.Duration(second/r.Reports), time.Duration(second/r.Fixes)
	a.depth = a.report * time.Duration(r.Burst)
	a.due = map[track.DeviceID]time.Time{}
}

// charge takes the price of a report of n fixes, or says how long to wait. A big one is
// taken as long as there is credit at all, and paid off before the next.
func (a *accounts) charge(id track.DeviceID, n int, now time.Time) (wait time.Duration) {
	a.mu.Lock()
	defer a.mu.Unlock()
	due := a.due[id]
	if due.Before(now) {
		due = now
	}
	if wait = due.Add(a.report).Sub(now.Add(a.depth)); wait > 0 {
		return wait
	}
	a.due[id] = due.Add(max(a.report, time.Duration(n)*a.fix))
	return 0
}

// forget lets go of those that are paid up.
func (a *accounts) forget(now time.Time) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for id, due := range a.due {
		if !due.After(now) {
			delete(a.due, id)
		}
	}
}
