package null

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"time"

	"tracker/pkg/client"
	"tracker/pkg/geo"
	"tracker/pkg/load"
	"tracker/pkg/load/fan"
	"tracker/pkg/load/rpcload"
	"tracker/pkg/track"
)

// Kind is a sort of load.
type Kind string

// The sorts.
const (
	Calls  Kind = "calls"  // answers a second
	Fanout Kind = "fanout" // deliveries a second
	Ingest Kind = "ingest" // datagrams a second
)

// Shape is what a load looks like, as far as it matters to the client's own limit. Zero
// fields are those that do not.
type Shape struct {
	Kind      Kind          `json:"kind"`
	Method    string        `json:"method,omitempty"`
	Payload   int           `json:"payload,omitempty"`
	Conns     int           `json:"conns,omitempty"` // of calls; sockets of datagrams
	Depth     int           `json:"depth,omitempty"`
	Transport fan.Transport `json:"transport,omitempty"`
	Viewers   int           `json:"viewers,omitempty"`
	Batch     int           `json:"batch,omitempty"` // updates in a frame
}

// Options say how a ceiling is measured.
type Options struct {
	// Addr and UDP are those of a null server that was started with the Batch of the
	// shape.
	Addr, UDP string
	Length    time.Duration // 0: 1 s
	// Fleet makes one that sends from so many sockets to addr; Members are its devices.
	// Only datagrams need it.
	Fleet func(addr string, sockets, devices int) (*client.Fleet, error)
}

// Measure finds what this process reaches against a server that does nothing.
func Measure(ctx context.Context, o Options, s Shape) (perSecond float64, err error) {
	o.Length = cmp.Or(o.Length, time.Second)
	switch s.Kind {
	case Calls:
		return o.calls(ctx, s)
	case Fanout:
		return o.fanout(ctx, s)
	case Ingest:
		return o.ingest(ctx, s)
	}
	return 0, fmt.Errorf("no ceiling of %q: %w", s.Kind, track.ErrInvalid)
}

// calls fills the null server in a closed loop: in an open one this process can do no
// more.
func (o *Options) calls(ctx context.Context, s Shape) (float64, error) {
	m, err := rpcload.ParseMethod(s.Method)
	if err != nil {
		return 0, err
	}
	dial, err := rpcload.Target{Addr: o.Addr}.Dialer()
	if err != nil {
		return 0, err
	}
	out, err := rpcload.Run(ctx, rpcload.Config{Dial: dial, Method: m, Payload: s.Payload, Conns: s.Conns, Depth: s.Depth, Warmup: o.Length / 5, Duration: o.Length})
	switch {
	case err != nil:
		return 0, err
	case out.Err() != nil:
		return 0, out.Err()
	case out.Partial:
		return 0, context.Canceled
	}
	return out.Rate(), nil
}

// overFrames is how many frames a second are offered, all viewers together: more than
// any process takes.
const overFrames = 400_000

// fanout offers more than can be taken, for a moment, and counts until all has arrived.
func (o *Options) fanout(ctx context.Context, s Shape) (float64, error) {
	batch := max(1, s.Batch)
	rate := min(float64(overFrames*batch)/float64(s.Viewers), 50_000)
	plan := fan.AtRate(1, load.Constant(max(rate, 100)), o.Length, 1)
	dial, err := rpcload.Target{Addr: o.Addr}.Dialer()
	if err != nil {
		return 0, err
	}
	d := fan.Dialer{Transport: s.Transport, Dial: dial, Host: o.Addr, Agent: "trackbench"}
	began := time.Now()
	var ready time.Time
	res, err := fan.Run(ctx, fan.Config{
		Scenario: "fanout", Plan: plan, Devices: []fan.Device{{ID: 1, Name: "null"}}, Viewers: d, N: s.Viewers, Reports: fan.Dialer{Transport: fan.RPC, Dial: dial, Host: o.Addr, Agent: "trackbench"},
		Drain: 20 * time.Second, Loopback: true, OnReady: func(fan.Ready) { ready = time.Now() },
	})
	if err != nil {
		return 0, err
	}
	if res.Partial || res.Counts.Deliveries == nil {
		return 0, context.Canceled
	}
	if ready.IsZero() {
		ready = began
	}
	took := time.Duration(res.DurationNS).Seconds() + res.Rates["drain_s"]
	if took <= 0 {
		took = time.Since(ready).Seconds()
	}
	return float64(res.Counts.Deliveries.Received) / took, nil
}

// ingest sends datagrams as fast as this process can, to nobody who looks at them.
func (o *Options) ingest(ctx context.Context, s Shape) (float64, error) {
	if o.Fleet == nil {
		return 0, fmt.Errorf("a ceiling of datagrams without a fleet: %w", track.ErrInvalid)
	}
	const devices = 1000
	fleet, err := o.Fleet(o.UDP, max(1, s.Conns), devices)
	if err != nil {
		return 0, err
	}
	running, stop := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() { ended <- fleet.Run(running) }() // waited for below
	n, took, err := flood(running, fleet, devices, o.Length)
	stop()
	if ran := <-ended; err == nil && !errors.Is(ran, context.Canceled) {
		err = ran
	}
	if err != nil {
		return 0, err
	}
	return float64(n) / took.Seconds(), nil
}

// flood sends without a pause for a while, and counts until the last has left. A fleet
// sends nothing before the next full second, so one fix goes ahead.
func flood(ctx context.Context, fleet *client.Fleet, devices int, length time.Duration) (n uint64, took time.Duration, err error) {
	send := func(i int) error {
		fix := track.Fix{Time: time.Now().UnixMilli(), Has: track.HasPos, At: geo.Point{Lat: 480000000, Lon: int32(rand.IntN(100000000))}}
		return fleet.Send(ctx, i%devices, &fix)
	}
	if err := errors.Join(send(0), fleet.Flush(ctx)); err != nil {
		return 0, 0, err
	}
	began, before := time.Now(), fleet.Stats().Datagrams
	for i := 0; i&255 != 0 || time.Since(began) < length; i++ {
		if err := send(i); err != nil {
			return 0, 0, err
		}
	}
	if err := fleet.Flush(ctx); err != nil {
		return 0, 0, err
	}
	return fleet.Stats().Datagrams - before, time.Since(began), nil
}

// Cache keeps ceilings for a day, each under what it depends on: the machine, this
// program, the processors that it may use, and the shape. A nil *Cache keeps nothing.
type Cache struct {
	Path        string
	Fingerprint string // of the machine
	Version     string // of this program
	Now         func() time.Time
}

// goodFor is how long a ceiling is believed.
const goodFor = 24 * time.Hour

type kept struct {
	PerSecond float64   `json:"per_s"`
	At        time.Time `json:"at"`
	Shape     Shape     `json:"shape"` // for people
}

func (c *Cache) key(s Shape) string {
	b, _ := json.Marshal(s) // numbers and strings
	sum := sha256.Sum256(fmt.Appendf(b, "\x00%s\x00%s\x00%s\x00%d\x00%v", c.Fingerprint, c.Version, runtime.Version(), runtime.GOMAXPROCS(0), load.Processors()))
	return hex.EncodeToString(sum[:12])
}

func (c *Cache) now() time.Time {
	if c.Now != nil {
		return c.Now()
	}
	return time.Now()
}

// Get finds a ceiling that is not too old.
func (c *Cache) Get(s Shape) (perSecond float64, ok bool) {
	if c == nil {
		return 0, false
	}
	k, ok := c.read()[c.key(s)]
	if age := c.now().Sub(k.At); !ok || age < 0 || age > goodFor || !(k.PerSecond > 0) {
		return 0, false
	}
	return k.PerSecond, true
}

func (c *Cache) read() map[string]kept {
	all := map[string]kept{}
	if b, err := os.ReadFile(c.Path); err == nil && json.Unmarshal(b, &all) != nil {
		return map[string]kept{} // not ours, or torn: it is measured again
	}
	return all
}

// Put keeps a ceiling, and forgets those that are too old.
func (c *Cache) Put(s Shape, perSecond float64) error {
	if c == nil {
		return nil
	}
	all := c.read()
	for key, k := range all {
		if c.now().Sub(k.At) > goodFor {
			delete(all, key)
		}
	}
	all[c.key(s)] = kept{perSecond, c.now(), s}
	b, err := json.MarshalIndent(all, "", "  ")
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(c.Path), 0o700); err != nil {
		return err
	}
	// Two that write at once must not tear it; the last one wins.
	tmp := fmt.Sprintf("%s.%d", c.Path, os.Getpid())
	if err := os.WriteFile(tmp, b, 0o600); err != nil {
		return err
	}
	return os.Rename(tmp, c.Path)
}
