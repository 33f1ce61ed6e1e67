package probe

import (
	"context"
	"errors"
	"fmt"
	"math"
	"sync"
	"time"

	"tracker/pkg/load"
	"tracker/pkg/load/churn"
	"tracker/pkg/load/rpcload"
)

// FixedIdle is viewers that have come, have seen everything, and stay: half of them with
// a watch over RPC, half over WebSockets. What is told is what each of them adds to the
// server's memory.
func FixedIdle() Fixed { return fixedIdle{} }

type fixedIdle struct{}

const (
	idleEach = 500 // of a transport
	// idleWarm come and leave before anything is read: what a server keeps once it has
	// had visitors is not the cost of one.
	idleWarm    = 50
	idleDialers = 1
)

func (fixedIdle) Name() string { return "idle" }

// Defs has smallest changes that matter which are what the same server differs by from one
// launch to the next: memory comes in pages and spans.
func (fixedIdle) Defs() []Def {
	return []Def{
		{Name: "heap", Unit: "bytes/connection", Text: "alive on the heap after a collection", Floor: 0.02, Absolute: 128},
		{Name: "rss", Unit: "bytes/connection", Text: "resident memory", Floor: 0.05, Absolute: 1024},
		{Name: "stack", Unit: "bytes/connection", Text: "stacks of goroutines", Floor: 0.02, Absolute: 256},
		{Name: "goroutines", Unit: "goroutines/connection", Text: "that wait for a viewer", Floor: 0.02, Absolute: 0.02},
	}
}

func (fixedIdle) Count(ctx context.Context, s *rpcload.Own) (map[string]float64, error) {
	scrape := churn.Scraper(s.Target.Addr, string(s.Token))
	warm, err := visit(ctx, s, idleWarm)
	warm.leave()
	if err != nil {
		return nil, gone(ctx, s, fmt.Errorf("%w: %w", ErrWrong, err))
	}
	before, err := least(ctx, scrape, func(r churn.Reading) bool {
		return r[churn.Viewers] == 0 && r[churn.Connections] == 0 && r[churn.Sessions] == 0
	})
	if err != nil {
		return nil, gone(ctx, s, fmt.Errorf("%w: before anybody came: %w", ErrWrong, err))
	}
	all, err := visit(ctx, s, idleEach)
	defer all.leave()
	if err != nil {
		return nil, gone(ctx, s, fmt.Errorf("%w: %w", ErrWrong, err))
	}
	after, err := least(ctx, scrape, func(churn.Reading) bool { return true })
	if err != nil {
		return nil, gone(ctx, s, fmt.Errorf("%w: %w", ErrWrong, err))
	}
	if err := all.left(); err != nil {
		return nil, gone(ctx, s, fmt.Errorf("%w: a viewer did not stay: %w", ErrWrong, err))
	}
	grown := after.since(before)
	costs := map[string]float64{}
	for name, metric := range map[string]string{"heap": churn.LiveHeap, "rss": churn.Resident, "stack": churn.StackInUse, "goroutines": churn.Goroutines} {
		grown.share(costs, name, metric, 2*idleEach)
	}
	return costs, nil
}

const (
	// rounds is how many collections a server is looked at for: what pools keep is let
	// go in the second, and in each something may be alive that was there for a reading.
	rounds = 10
	// between two readings, a collection that the first began has time to end: what is
	// made while it goes on counts as alive.
	between = 5 * time.Millisecond
	// mostScrapes bounds how often a server is read until it has collected so often.
	mostScrapes = 2000
)

// errUncollected is a server that makes garbage and never collects it.
var errUncollected = errors.New("its garbage was not collected")

// least reads a server through some collections, from when it is as it has to be, and
// tells the least that it told of each thing: the more is what comes and goes. Reading
// makes the garbage that makes it collect.
func least(ctx context.Context, scrape func(context.Context) (churn.Reading, error), as func(churn.Reading) bool) (counts, error) {
	var low counts
	began := math.NaN()
	for range mostScrapes {
		if err := load.Pause(ctx, between); err != nil {
			return nil, err
		}
		now, err := scrape(ctx)
		if err != nil {
			return nil, fmt.Errorf("read its metrics: %w", err)
		}
		gcs, told := now[churn.Collections]
		switch {
		case !as(now):
		case !told:
			return counts(now), nil // nor does it tell what they found
		case math.IsNaN(began):
			began = gcs
		case gcs < began+2: // one may have been going on, and the next one finds what pools keep
		case low == nil:
			low = counts(now)
		default:
			low.lower(now)
		}
		if gcs >= began+rounds {
			return low, nil
		}
	}
	return nil, errUncollected
}

// lower keeps the lower of what was told and what is told now.
func (c counts) lower(now churn.Reading) {
	for name, v := range now {
		if was, ok := c[name]; ok {
			c[name] = min(was, v)
		}
	}
}

// visitors are viewers that stay.
type visitors struct {
	cancel context.CancelFunc
	wait   sync.WaitGroup
	mu     sync.Mutex
	why    error // the first of them was sent away
}

// visit lets so many viewers of each transport in, one after the other, so that memory
// grows in the same way each time. They stay until they are told to leave; those that
// had come when it failed stay, too.
func visit(ctx context.Context, s *rpcload.Own, each int) (*visitors, error) {
	staying, cancel := context.WithCancel(ctx)
	v := &visitors{cancel: cancel}
	for i := range 2 * each {
		door := churn.Door{Addr: s.Target.Addr, Token: string(s.Token), Transport: churn.Transport(i % 2), Within: patience}
		viewer, err := door.Enter(ctx)
		if err != nil {
			return v, fmt.Errorf("viewer over %v: %w", door.Transport, err)
		}
		if err := viewer.Watch(ctx); err != nil {
			viewer.Leave()
			return v, fmt.Errorf("viewer over %v: %w", door.Transport, err)
		}
		v.wait.Go(func() { v.stay(staying, viewer) }) // ends with leave
	}
	return v, nil
}

func (v *visitors) stay(ctx context.Context, viewer *churn.Viewer) {
	defer viewer.Leave()
	if err := viewer.Stay(ctx); ctx.Err() == nil {
		v.mu.Lock()
		defer v.mu.Unlock()
		if v.why == nil {
			v.why = err
		}
	}
}

// left tells why one of them left that should not have.
func (v *visitors) left() error {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.why
}

// leave sends them home and waits until they are gone. It may be called again.
func (v *visitors) leave() {
	v.cancel()
	v.wait.Wait()
}
