package churn

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"tracker/pkg/load"
	"tracker/pkg/track"
)

// IdleConfig says how many viewers stay and do nothing.
type IdleConfig struct {
	Door
	Viewers int
	Dialers int           // at once, while they come; 0: 32
	Hold    time.Duration // how long all of them stay before memory is read; 0: 10 s
	Scrape  func(context.Context) (Reading, error)
	Settle  time.Duration // for the server to collect its garbage, before and after; 0: 15 s
	OnPhase func(string)
}

// Idle is what viewers cost that only stay. What is a share is of one viewer, in bytes.
type Idle struct {
	Viewers int           `json:"viewers"`
	Left    int64         `json:"left"` // that the server sent away meanwhile
	Opening time.Duration `json:"opening_ns"`

	RSS   float64 `json:"rss_each"`   // of the server's process
	Stack float64 `json:"stack_each"` // of it, stacks of goroutines
	Heap  float64 `json:"heap_each"`  // of it, the heap in use
	Live  float64 `json:"live_each"`  // of it, what the last collection found alive
	Other float64 `json:"other_each"` // of it, neither: spans, pages that were not returned
	// Kernel is the machine's memory for sockets, half of that of both ends.
	KernelSlab   float64 `json:"kernel_slab_each"`
	KernelBuffer float64 `json:"kernel_buffer_each"`

	Goroutines float64 `json:"goroutines_each"`

	Before  Reading        `json:"-"`
	After   Reading        `json:"-"`
	Connect *load.Recorder `json:"-"` // until the snapshot was whole
	Gone    error          `json:"-"`
	Partial bool           `json:"-"`
}

const mostIdle = 200_000

func (c *IdleConfig) check() error {
	c.Dialers = cmp.Or(c.Dialers, 32)
	c.Hold = cmp.Or(c.Hold, 10*time.Second)
	c.Settle = cmp.Or(c.Settle, 15*time.Second)
	if c.Viewers < 1 || c.Viewers > mostIdle {
		return fmt.Errorf("%d idle viewers: want 1 to %d: %w", c.Viewers, mostIdle, track.ErrInvalid)
	}
	if c.Scrape == nil {
		return fmt.Errorf("idle viewers of a server that tells nothing of itself: %w", track.ErrInvalid)
	}
	return nil
}

func (c *IdleConfig) phase(name string) {
	if c.OnPhase != nil {
		c.OnPhase(name)
	}
}

// Hold opens the viewers, lets them stay, and reads what they cost.
func Hold(ctx context.Context, cfg IdleConfig) (*Idle, error) {
	if err := cfg.check(); err != nil {
		return nil, err
	}
	house := Config{Door: cfg.Door, Scrape: cfg.Scrape, Settle: cfg.Settle}
	if err := house.knock(ctx); err != nil {
		return nil, err
	}
	o := &Idle{Viewers: cfg.Viewers, Connect: load.NewRecorder()}
	cfg.phase("reading the server")
	if o.Before = house.quiet(ctx); o.Before == nil && ctx.Err() == nil {
		return nil, fmt.Errorf("the server shows no metrics: %w", track.ErrUnavailable)
	}
	slab, buffers := kernelMemory()
	cfg.phase("opening")
	began := time.Now()
	all, err := cfg.open(ctx, o)
	o.Opening = time.Since(began)
	stay := newStay(ctx, all)
	defer stay.end()
	if err != nil {
		return nil, err
	}
	cfg.phase("staying")
	_ = load.Pause(ctx, cfg.Hold)
	cfg.phase("waiting for the server to collect its garbage")
	o.After = house.calm(ctx)
	slabAfter, buffersAfter := kernelMemory()
	o.Left, o.Gone = stay.left.Load(), stay.why()
	o.Partial = ctx.Err() != nil
	o.share(slabAfter-slab, buffersAfter-buffers)
	return o, nil
}

// open lets all viewers in.
func (c *IdleConfig) open(ctx context.Context, o *Idle) ([]*Viewer, error) {
	all := make([]*Viewer, c.Viewers)
	var mu sync.Mutex
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(c.Dialers)
	for i := range all {
		group.Go(func() error {
			began := time.Now()
			v, err := c.Enter(ctx)
			if err != nil {
				return err
			}
			all[i] = v
			if err := v.Watch(ctx); err != nil {
				return err
			}
			mu.Lock()
			o.Connect.Record(time.Since(began))
			mu.Unlock()
			return nil
		})
	}
	return all, group.Wait()
}

// stay is the viewers while they are there, each with a goroutine that answers pings.
type stay struct {
	cancel context.CancelFunc
	wait   sync.WaitGroup
	left   atomic.Int64
	mu     sync.Mutex
	first  error
}

func newStay(ctx context.Context, all []*Viewer) *stay {
	ctx, cancel := context.WithCancel(ctx)
	s := &stay{cancel: cancel}
	for _, v := range all {
		if v == nil {
			continue
		}
		s.wait.Go(func() { // ends with ctx, or when the server ends it
			if err := v.Stay(ctx); ctx.Err() == nil {
				s.left.Add(1)
				s.mu.Lock()
				if s.first == nil {
					s.first = err
				}
				s.mu.Unlock()
			}
			v.Leave()
		})
	}
	return s
}

func (s *stay) why() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.first
}

func (s *stay) end() {
	s.cancel()
	s.wait.Wait()
}

// calm reads the server until it has collected its garbage and its memory falls no more.
func (c *Config) calm(ctx context.Context) (last Reading) {
	const steady = 20 // looks in a row without a fall of a hundredth
	least, since := 0.0, 0
	c.watchUntil(ctx, func(first, now Reading) bool {
		last = now
		if rss := now[Resident]; least == 0 || rss < 0.99*least {
			least, since = rss, 0
		}
		since++
		return since > steady && now[Collections] >= first[Collections]+collected
	})
	return last
}

// share divides what all cost by their number.
func (o *Idle) share(slab, buffers float64) {
	if o.Before == nil || o.After == nil {
		return
	}
	n := float64(o.Viewers)
	each := func(metric string) float64 { return (o.After[metric] - o.Before[metric]) / n }
	o.RSS, o.Stack, o.Heap, o.Live, o.Goroutines = each(Resident), each(StackInUse), each(HeapInUse), each(LiveHeap), each(Goroutines)
	o.Other = o.RSS - o.Stack - o.Heap
	const ends = 2 // of a connection, and both are on this machine
	o.KernelSlab, o.KernelBuffer = slab/n/ends, buffers/n/ends
}

// Err tells whether viewers did not stay.
func (o *Idle) Err() error {
	if o.Left == 0 {
		return nil
	}
	return fmt.Errorf("%d of %d viewers did not stay: %w", o.Left, o.Viewers, errors.Join(o.Gone))
}

// kernelMemory is what the machine's kernel holds for itself, and in the buffers of TCP
// sockets; 0 where it does not say.
func kernelMemory() (slab, buffers float64) {
	slab = field("/proc/meminfo", "Slab:", "") * 1024
	buffers = field("/proc/net/sockstat", "TCP:", "mem") * float64(os.Getpagesize())
	return slab, buffers
}

// field reads the number behind a word of the line that begins with another; behind ""
// is the line's first.
func field(path, line, word string) float64 {
	b, err := os.ReadFile(path)
	if err != nil {
		return 0
	}
	for l := range strings.Lines(string(b)) {
		f := strings.Fields(l)
		if len(f) < 2 || f[0] != line {
			continue
		}
		for i := 1; i < len(f); i++ {
			if word != "" && f[i-1] != word {
				continue
			}
			if v, err := strconv.ParseFloat(f[i], 64); err == nil {
				return v
			}
		}
	}
	return 0
}
