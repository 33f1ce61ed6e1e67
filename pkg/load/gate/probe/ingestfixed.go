package probe

import (
	"context"
	"time"

	"tracker/pkg/load"
	"tracker/pkg/load/rpcload"
)

// FixedIngest is datagrams in bursts, each sent when the server has read the one before:
// none can be lost, however slow it is.
func FixedIngest() Fixed { return fixedIngest{devices: 1000, datagrams: 50_000} }

type fixedIngest struct{ devices, datagrams int }

func (fixedIngest) Name() string { return "ingest" }

// Defs has smallest changes that matter for what is done by the clock and not by the fix:
// the store commits after a while, however many fixes there are.
func (fixedIngest) Defs() []Def {
	return []Def{
		{Name: "allocs", Unit: "allocs/fix", Text: "objects on the heap", Floor: 0.02, Absolute: 0.02},
		{Name: "alloc_bytes", Unit: "bytes/fix", Text: "on the heap", Floor: 0.02, Absolute: 8},
		{Name: "writes", Unit: "writes/fix", Text: "system calls that write, to the store", Floor: 0.02, Absolute: 0.002},
		{Name: "bytes", Unit: "bytes/fix", Text: "written to the store", Floor: 0.02},
	}
}

func (w fixedIngest) Count(ctx context.Context, s *rpcload.Own) (map[string]float64, error) {
	f, err := openFleet(ctx, s, s.UDP, w.devices)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	if err := f.burst(ctx, w.datagrams/10); err != nil { // buffers grow, pools fill
		return nil, err
	}
	return f.count(ctx, w.datagrams)
}

// count counts what n fixes take, until they are stored.
func (f *fleet) count(ctx context.Context, n int) (map[string]float64, error) {
	if err := f.sealBurst(n); err != nil {
		return nil, err
	}
	c := newCounter(f.server)
	if err := c.begin(ctx); err != nil {
		return nil, err
	}
	if err := f.sendBursts(ctx); err != nil {
		return nil, err
	}
	done, err := f.counted(ctx, c, n)
	if err != nil {
		return nil, err
	}
	return done.costs(n), nil
}

// counted reads the counters until everything is stored, and then asks whether it is, as
// it should be. What readings cost that came too early is taken off, too.
func (f *fleet) counted(ctx context.Context, c *counter, n int) (done counts, err error) {
	early := 0
	for deadline := time.Now().Add(f.wait); ; early++ {
		if err := load.Pause(ctx, settle); err != nil {
			return nil, err
		}
		if done, err = c.end(ctx); err != nil {
			return nil, err
		}
		stored, told := done["tracker_store_stored_total"]
		if !told || int(stored) >= n || time.Now().After(deadline) {
			break
		}
	}
	for name := range done {
		done[name] = max(0, done[name]-float64(early)*c.cost[name])
	}
	return done, f.settled(ctx, n, plainly)
}
