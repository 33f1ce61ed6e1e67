// Package ingest is the door for encrypted datagrams. Everything that knocks here is
// hostile until its tag has verified: strangers get no memory, no answer, and not one
// expensive question.
//
//	                  UDP 4810
//	                     │ the kernel steers by the last byte of the wire id
//	           ┌─────────┴─────────┐
//	        socket 0            socket 1
//	           │ recvmmsg          │               up to 64 datagrams a call
//	        reader 0            reader 1           one goroutine each; between them
//	           │                   │               no lock and no shared cache line
//	           ▼
//	touch      load the record of every datagram, so that the cache misses overlap
//	           │
//	ask        length ► version ► id ► suite ► epoch ► window      nanoseconds
//	open       ► session key, if the epoch is new (budget) ► tag   the first proof
//	take       ► window set ► rate ► body ► time
//	           │
//	           ▼
//	Apply      the river takes the whole batch
//	           │
//	answer     acks, if asked for: 40 bytes to at least 43
//
// Each question has a counter, and each datagram is counted under the first one that
// it failed; see Stats.
//
// A wire id always meets the same reader, which holds its session in one cache line:
// key, replay window, credit (see record). Roots are not here; the engine lends one
// for the microsecond in which a session key is derived.
//
// Elsewhere than on Linux, or where the kernel lacks a piece of this, one plain
// socket with one reader does the same work slower.
package ingest

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"tracker/pkg/engine"
	"tracker/pkg/seal"
	"tracker/pkg/track"
)

// Config of the door. The zero value works.
type Config struct {
	Addr       string // host:port, default ":4810"; no host is every address, IPv4 and IPv6
	Readers    int    // sockets, each with its goroutine; default one a CPU, at most 8
	RecvBuffer int    // bytes of each socket's buffer, default 4 MiB: a burst of 10 ms at 500,000 a second
	Portable   bool   // one plain socket even where there is better
	Rate       Rate
	Crossing   sync.Locker // shared with other doors that take fixes of the same devices, see engine.Engine
	Logger     *slog.Logger
	Now        func() time.Time
}

// Rate limits what authentic devices may ask of the server.
type Rate struct {
	Datagrams   float64 // a second and device, default 4
	Burst       int     // datagrams that a device may have saved up, default 120
	Fixes       float64 // a second and device, default 50; saved up for as long as datagrams
	Derivations float64 // new sessions a second and reader, default 50,000
	Acks        float64 // a second in all, default 20,000; a device gets one a second
}

func (c *Config) setDefaults() {
	c.Addr = cmp.Or(c.Addr, ":"+seal.DefaultPort)
	c.Readers = cmp.Or(c.Readers, min(runtime.GOMAXPROCS(0), 8))
	c.RecvBuffer = cmp.Or(c.RecvBuffer, 4<<20)
	c.Rate.Datagrams = cmp.Or(c.Rate.Datagrams, 4)
	c.Rate.Burst = cmp.Or(c.Rate.Burst, 120)
	c.Rate.Fixes = cmp.Or(c.Rate.Fixes, 50)
	c.Rate.Derivations = cmp.Or(c.Rate.Derivations, 50_000)
	c.Rate.Acks = cmp.Or(c.Rate.Acks, 20_000)
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.Now == nil {
		c.Now = time.Now
	}
}

const maxReaders = 256 // one byte steers

// Check reports every mistake of the configuration at once.
func (c Config) Check() error {
	c.setDefaults()
	var errs []error
	bad := func(wrong bool, format string, args ...any) {
		if wrong {
			errs = append(errs, fmt.Errorf(format+": %w", append(args, track.ErrInvalid)...))
		}
	}
	_, _, err := net.SplitHostPort(c.Addr)
	bad(err != nil, "udp address %q: want HOST:PORT", c.Addr)
	bad(c.Readers < 1 || c.Readers > maxReaders, "%d readers: want 1..%d", c.Readers, maxReaders)
	bad(c.RecvBuffer < 1 || c.RecvBuffer > 1<<30, "receive buffer of %d bytes: want 1..1073741824", c.RecvBuffer)
	bad(c.Rate.Burst < 1 || c.Rate.Burst > 1e6, "burst of %d datagrams: want 1..1000000", c.Rate.Burst)
	for _, r := range []struct {
		what  string
		value float64
		most  float64
	}{
		{"datagrams of a device", c.Rate.Datagrams, 1e4}, // a tick each
		{"fixes of a device", c.Rate.Fixes, 1e4},
		{"new sessions", c.Rate.Derivations, 1e6},
		{"acks", c.Rate.Acks, 1e6},
	} {
		bad(!(r.value > 0 && r.value <= r.most), "%v %s a second: want more than 0, at most %v", r.value, r.what, r.most)
	}
	return errors.Join(errs...)
}

// Engine is what the door asks of the river: *engine.Engine, or, where the door is
// measured alone, a bare directory of keys. Its methods are called by several
// readers at once.
type Engine interface {
	Session(wire track.DeviceID) (engine.Session, bool)
	WithRoot(cred track.DeviceID, fn func(root *seal.Root)) error
	Generation() uint32
	Changed(since uint32) ([]track.DeviceID, uint32)
	RaiseAlarm(kind engine.AlarmSet, cred track.DeviceID, epoch uint32)
	Apply(b *track.Batch)
}

var _ Engine = (*engine.Engine)(nil)

// Ingest is an open door.
type Ingest struct {
	cfg     Config
	log     *slog.Logger
	engine  Engine
	sockets []socket
	readers []*reader

	floors    floors
	crossing  sync.Mutex   // see shared
	complaint atomic.Int64 // unix second in which the log last told of forgeries
}

// Listen opens the sockets. From here on datagrams wait in their buffers; Run takes
// them.
func Listen(cfg Config, e Engine) (*Ingest, error) {
	if err := cfg.Check(); err != nil {
		return nil, fmt.Errorf("ingest: %w", err)
	}
	cfg.setDefaults()
	in := &Ingest{cfg: cfg, log: cfg.Logger.With("room", "ingest"), engine: e}
	if err := in.open(); err != nil {
		return nil, fmt.Errorf("open datagram port: %w", err)
	}
	for i, s := range in.sockets {
		in.readers = append(in.readers, newReader(in, s, i))
	}
	return in, nil
}

// shared is held by batches that may share a device with another reader's, or another
// door's.
func (in *Ingest) shared() sync.Locker {
	if in.cfg.Crossing != nil {
		return in.cfg.Crossing
	}
	return &in.crossing
}

// open opens batched sockets, or else a plain one, and says in the log which.
func (in *Ingest) open() error {
	network, kind := networkOf(in.cfg.Addr), "steered by device"
	why := errors.New("configured")
	if !in.cfg.Portable {
		in.sockets, why = openBatched(network, in.cfg.Addr, in.cfg.Readers)
	}
	if why != nil {
		s, err := openPlain(network, in.cfg.Addr)
		if err != nil {
			return err
		}
		in.sockets, kind = []socket{s}, "plain"
		in.log.Warn("one plain datagram socket, slower than batches", "reason", why)
	}
	in.growBuffers()
	in.log.Info("listening", "udp", in.Addr().String(), "sockets", len(in.sockets), "kind", kind)
	return nil
}

// networkOf keeps 0.0.0.0 to IPv4, where package net would listen on IPv6 as well.
func networkOf(addr string) string {
	if a, err := netip.ParseAddrPort(addr); err == nil && a.Addr().Is4() {
		return "udp4"
	}
	return "udp"
}

// growBuffers tells once, and with the remedy, if the kernel grants less than asked.
func (in *Ingest) growBuffers() {
	granted, want := 0, in.cfg.RecvBuffer
	for _, s := range in.sockets {
		var err error
		if granted, err = receiveBuffer(s.udp(), want); err != nil {
			in.log.Warn("receive buffer not set, bursts may be lost", "want", want, "err", err)
			return
		}
	}
	if granted < want {
		in.log.Warn("receive buffer cut by the kernel, bursts may be lost", "want", want, "granted", granted,
			"remedy", fmt.Sprintf("sysctl -w net.core.rmem_max=%d", want))
	}
}

// Addr is where the door listens.
func (in *Ingest) Addr() *net.UDPAddr { return in.sockets[0].udp().LocalAddr().(*net.UDPAddr) }

// Run takes datagrams until ctx ends, and then those that have arrived already. It
// returns when all its readers have; the door cannot be used again.
func (in *Ingest) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(ctx, func() {
		for _, s := range in.sockets {
			s.interrupt()
		}
	})()
	var g errgroup.Group
	for _, r := range in.readers {
		g.Go(func() error {
			defer cancel() // one that stops, stops all
			return r.run(ctx)
		})
	}
	g.Go(func() error { return in.watch(ctx) })
	return errors.Join(g.Wait(), in.Close())
}

// Close closes the sockets; what waits in them is lost. A Run that is under way
// returns.
func (in *Ingest) Close() error {
	var errs []error
	for _, s := range in.sockets {
		if err := s.close(); !errors.Is(err, net.ErrClosed) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// Stats adds up the counters of all readers. Each is right; they are not of one
// instant.
func (in *Ingest) Stats() Stats {
	s := Stats{Readers: uint64(len(in.readers))}
	for _, r := range in.readers {
		r.tally.addTo(&s)
	}
	for _, k := range in.sockets {
		full, filtered := k.drops()
		s.SocketDrops += full
		s.Filtered += filtered
	}
	return s
}

// watch tells once a minute how many datagrams were lost before anybody read them.
func (in *Ingest) watch(ctx context.Context) error {
	t := time.NewTicker(time.Minute)
	defer t.Stop()
	var told uint64
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-t.C:
		}
		if now := in.Stats().SocketDrops; now > told {
			in.log.Warn("datagrams lost: they come faster than they are read", "lost", now-told)
			told = now
		}
	}
}
