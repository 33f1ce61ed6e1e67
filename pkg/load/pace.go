package load

import (
	"context"
	"time"
)

// Pacer hands out sends as they fall due: open loop, so a slow receiver never slows
// the schedule down. It belongs to one goroutine.
//
// Timers of the Go runtime oversleep by a millisecond, so the Pacer sleeps in the
// kernel, to the next due time rounded up to Grid, and hands out everything that has
// fallen due by then. Each send keeps its own exact moment, see Intended. Best run on
// a goroutine that is locked to its thread.
type Pacer struct {
	Plan Plan
	Grid time.Duration // 0 = 1 ms
	End  time.Duration // no send is due at or after it; 0 = no end

	start time.Time
	next  int64
	sleep func(time.Duration) // nil = in the kernel; tests put a clock here
	now   func() time.Time
}

// Start sets the moment that the plan counts from.
func (p *Pacer) Start(at time.Time) {
	p.start = at
	if p.Grid == 0 {
		p.Grid = time.Millisecond
	}
	if p.sleep == nil {
		p.sleep, p.now = kernelSleep, time.Now
	}
}

// Intended is the moment at which the k-th send is due.
func (p *Pacer) Intended(k int64) time.Time { return p.start.Add(p.Plan.When(k)) }

// longest bounds one sleep, so that a cancelled context is noticed.
const longest = 20 * time.Millisecond

// Wait blocks until sends are due and hands out their numbers, from..to-1. It returns
// ok = false when the plan's End is reached or ctx is done.
func (p *Pacer) Wait(ctx context.Context) (from, to int64, ok bool) {
	for ctx.Err() == nil {
		t := p.now().Sub(p.start)
		due := p.Plan.Due(t)
		if p.End > 0 {
			due = min(due, p.before(p.End))
		}
		if due > p.next {
			from, p.next = p.next, due
			return from, due, true
		}
		if p.End > 0 && (t >= p.End || p.Plan.When(p.next) >= p.End) {
			return 0, 0, false
		}
		at := (p.Plan.When(p.next) + p.Grid - 1) / p.Grid * p.Grid
		p.sleep(min(max(at-t, p.Grid/10), longest))
	}
	return 0, 0, false
}

// before is how many sends are due before t.
func (p *Pacer) before(t time.Duration) int64 {
	if p.Plan.Bursty() {
		return p.Plan.Due(t - 1)
	}
	n := p.Plan.Due(t)
	for n > 0 && p.Plan.When(n-1) >= t {
		n--
	}
	return n
}

// Planned is how many sends there will be in all, 0 if there is no End.
func (p *Pacer) Planned() int64 {
	if p.End == 0 {
		return 0
	}
	return p.before(p.End)
}
