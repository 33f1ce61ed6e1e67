package probe

import (
	"context"
	"fmt"
	"maps"
	"time"

	"tracker/pkg/load"
	"tracker/pkg/load/churn"
	"tracker/pkg/load/rpcload"
)

// counts are what a server did, by the names of its metrics; what the system counts of its
// process has names of ours. Counters only: the difference of a gauge means nothing here.
type counts map[string]float64

// What is counted of the process, by the system and by its own runtime.
const (
	sysWrites  = "system writes" // calls that wrote, but for datagrams
	sysWritten = "system bytes written"
	mallocs    = "go_memstats_mallocs_total"
	allocBytes = "go_memstats_alloc_bytes_total"
)

// counter reads a server before and after a piece of work. Reading makes the server work
// as well: what that costs is found out before, and taken off.
//
//	read  read  read ── work ── read
//	    └──┴── the cheaper of them is the cost of a reading
type counter struct {
	server *rpcload.Own
	scrape func(context.Context) (churn.Reading, error)
	cost   counts
	last   counts
}

func newCounter(s *rpcload.Own) *counter {
	return &counter{server: s, scrape: churn.Scraper(s.Target.Addr, string(s.Token))}
}

// costReadings are made to learn what one costs: the first fills what the server keeps
// for the next, and one of the others may have met a tick of the server's own.
const costReadings = 4

// begin reads the server. What it does from then on is counted.
func (c *counter) begin(ctx context.Context) (err error) {
	if c.last, err = c.read(ctx); err != nil {
		return err
	}
	c.cost = nil
	for range costReadings {
		now, err := c.read(ctx)
		if err != nil {
			return err
		}
		c.learn(now)
		c.last = now
	}
	return nil
}

// learn keeps the least that was counted from one reading to the next.
func (c *counter) learn(now counts) {
	one := now.since(c.last)
	if c.cost == nil {
		c.cost = one
		return
	}
	for name, n := range one {
		if was, ok := c.cost[name]; ok {
			c.cost[name] = min(was, n)
		}
	}
}

// end tells what was counted since begin. What the server does not tell is absent.
func (c *counter) end(ctx context.Context) (counts, error) {
	now, err := c.read(ctx)
	if err != nil {
		return nil, err
	}
	done := now.since(c.last)
	for name := range done {
		done[name] = max(0, done[name]-c.cost[name])
	}
	return done, nil
}

// read is one reading. The system is asked after the server: then all that the reading
// made it write lies before.
func (c *counter) read(ctx context.Context) (counts, error) {
	told, err := c.scrape(ctx)
	if err != nil {
		return nil, gone(ctx, c.server, fmt.Errorf("%w: read its metrics: %w", ErrWrong, err))
	}
	now := counts(maps.Clone(told))
	if writes, written, ok := c.server.IO(); ok {
		now[sysWrites], now[sysWritten] = float64(writes), float64(written)
	}
	return now, nil
}

// since is what both tell, as the difference.
func (c counts) since(before counts) counts {
	d := make(counts, len(c))
	for name, v := range c {
		if was, ok := before[name]; ok {
			d[name] = v - was
		}
	}
	return d
}

// costs are what the process did, divided by what it was done for, by the names that all
// works give it.
func (c counts) costs(of int) map[string]float64 {
	costs := map[string]float64{}
	for name, metric := range map[string]string{"writes": sysWrites, "bytes": sysWritten, "allocs": mallocs, "alloc_bytes": allocBytes} {
		c.share(costs, name, metric, of)
	}
	return costs
}

// share puts a count into a list of costs, divided by what it was done for, unless the
// server does not tell it.
func (c counts) share(costs map[string]float64, name, metric string, of int) {
	if n, ok := c[metric]; ok {
		costs[name] = n / float64(of)
	}
}

// alive is a server that may die.
type alive interface{ Alive() bool }

// gone makes of an error what the caller has to know: that he stopped it himself, that
// the server is there no longer, or what it says.
func gone(ctx context.Context, s alive, err error) error {
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return ctx.Err()
	case dies(ctx, s):
		return fmt.Errorf("%w: %v", ErrGone, err)
	}
	return err
}

// dying is how long a server may take to be seen dead: the system closes the connections
// of a process before it says that the process has ended.
const dying = time.Second

// dies tells whether a server with which something is wrong is about to end.
func dies(ctx context.Context, s alive) bool {
	const look = 10 * time.Millisecond
	for range dying / look {
		if !s.Alive() {
			return true
		}
		if load.Pause(ctx, look) != nil {
			return false
		}
	}
	return false
}
