package probe

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"strconv"
	"time"

	"tracker/pkg/client"
	"tracker/pkg/load"
	"tracker/pkg/load/fan"
	"tracker/pkg/load/rpcload"
)

// Fanout is viewers that watch everything, half of them over RPC and half over WebSockets,
// while a few devices report at a rate that the server does not decide.
//
//	5 devices ── 252 reports/s ──► server ──► 300 viewers: 75,600 deliveries/s
//
// Most of the time that a delivery takes is the wait for the hub's next tick, so it matters
// how the reports lie between two ticks. There is one more of them in a slice than would
// fall on the same moments of every tick; so each slice has all moments alike, wherever it
// begins, which is anywhere.
func Fanout() Work {
	return fanout{viewers: 300, devices: 5, rate: 252, length: 500 * time.Millisecond}
}

type fanout struct {
	viewers, devices int
	rate             float64
	length           time.Duration
}

// hubTick is the usual time from one frame of a busy stream to the next.
const hubTick = 40 * time.Millisecond

func (fanout) Name() string { return "fanout" }

func (fanout) Defs() []Def {
	return []Def{
		{Name: "p50", Unit: "ms", Text: "delivery, from when the report was due; half are faster", Floor: 0.05},
		{Name: "p99", Unit: "ms", Text: "delivery, from when the report was due; one in a hundred is slower", Floor: 0.25, Absolute: 1},
		{Name: "cpu", Unit: "ns/delivery", Text: "processor time of the server", Floor: 0.03},
	}
}

func (w fanout) Open(ctx context.Context, s *rpcload.Own) (Session, error) {
	plan := fan.AtRate(w.devices, load.Constant(w.rate), w.length, 1)
	c, err := openCrowd(ctx, s, plan, w.viewers)
	if err != nil {
		return nil, err
	}
	return fanSession{c}, nil
}

// crowd is a server, those who watch it, and those who report to it.
type crowd struct {
	server  *rpcload.Own
	session *fan.Session
}

// deliveryPatience is how long the last delivery of a plan may take before it counts as
// lost.
const deliveryPatience = patience

func openCrowd(ctx context.Context, s *rpcload.Own, plan *fan.Plan, viewers int) (*crowd, error) {
	return openCrowdAt(ctx, s, s.Target.Addr, plan, viewers, deliveryPatience)
}

// openCrowdAt lets viewers come in by another door of the server than the devices.
func openCrowdAt(ctx context.Context, s *rpcload.Own, door string, plan *fan.Plan, viewers int, drain time.Duration) (*crowd, error) {
	enrolled, err := enrol(ctx, s, plan.Senders)
	if err != nil {
		return nil, err
	}
	devices := make([]fan.Device, len(enrolled))
	for i, e := range enrolled {
		devices[i] = fan.Device{ID: e.Device.ID, Name: e.Device.Name}
	}
	reports, err := doorOf(s, s.Target.Addr, fan.RPC)
	if err != nil {
		return nil, err
	}
	calls, err := doorOf(s, door, fan.RPC)
	if err != nil {
		return nil, err
	}
	sockets := calls
	sockets.Transport = fan.WS
	session, err := fan.Open(ctx, fan.Config{
		Plan: plan, Devices: devices, N: viewers, Viewers: calls, Others: sockets, Reports: reports, Drain: drain,
	})
	if err != nil {
		return nil, gone(ctx, s, fmt.Errorf("%w: connect: %w", ErrWrong, err))
	}
	return &crowd{s, session}, nil
}

// doorOf is how to connect to a server at addr.
func doorOf(s *rpcload.Own, addr string, how fan.Transport) (fan.Dialer, error) {
	dial, err := rpcload.Target{Addr: addr}.Dialer()
	return fan.Dialer{Transport: how, Dial: dial, Host: addr, Token: string(s.Token), Agent: "trackbench"}, err
}

// enrol makes the server know n devices that it did not know before.
func enrol(ctx context.Context, s *rpcload.Own, n int) ([]client.Enrolled, error) {
	conn, err := client.Dial(client.Config{Server: s.Target.Addr, Token: string(s.Token), UserAgent: "trackbench", Timeout: patience})
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	ask := make([]client.NewDevice, n)
	family := strconv.FormatInt(time.Now().UnixNano(), 36)
	for i := range ask {
		ask[i].Name = fmt.Sprintf("probe-%s-%05d", family, i+1)
	}
	got, err := conn.EnrollBatch(ctx, ask)
	if err != nil {
		return nil, gone(ctx, s, fmt.Errorf("%w: enrol %d devices: %w", ErrWrong, n, err))
	}
	return got, nil
}

func (c *crowd) Close() error {
	c.session.Close()
	return nil
}

// play sends the plan once, and calls measured when all of it came.
func (c *crowd) play(ctx context.Context, measured func()) (*fan.Played, error) {
	played, err := c.session.Play(ctx, measured)
	if errors.Is(err, fan.ErrIncorrect) {
		err = fmt.Errorf("%w: %w", ErrWrong, err)
	}
	return played, gone(ctx, c.server, err)
}

// fanSession measures how long deliveries take, and what they cost the server.
type fanSession struct{ *crowd }

// Slice sends one slice of the plan. The processor time is that until the last delivery.
func (s fanSession) Slice(ctx context.Context) (Sample, error) {
	if err := load.Pause(ctx, rand.N(hubTick)); err != nil {
		return Sample{}, err
	}
	var used spending
	used.begin(&s.server.Process)
	played, err := s.play(ctx, used.end)
	if err != nil {
		return Sample{}, err
	}
	sample := Sample{
		Costs: map[string]float64{}, Took: played.Took, Ops: played.Deliveries,
		Bound: used.bound(), Late: float64(played.Late) > lateShare*float64(played.Sent),
	}
	for name, quantile := range map[string]string{"p50": "50", "p99": "99"} {
		if d, ok := played.Response.Quantile(quantile); ok {
			sample.Costs[name] = d.Seconds() * 1e3
		}
	}
	used.share(sample.Costs, "cpu", played.Deliveries)
	return sample, nil
}

const (
	// lateShare is the share of sends that may leave late without the slice being called so.
	// Late by less than the tick, they change little: they wait for the same frame.
	lateShare = 0.2
	// busyClient is the share of the processors that we may use before we are what is
	// measured: beyond it deliveries wait for us to read them.
	busyClient = 0.85
)

// spending is the processor time that a server used for a piece of work, and that we did.
type spending struct {
	server         *load.Process
	before, used   time.Duration // of the server; before is that of the piece under way
	known          bool
	began          time.Time
	ownBefore, own time.Duration
	took           time.Duration
}

func (u *spending) begin(server *load.Process) {
	u.server = server
	u.began = time.Now()
	u.ownBefore, _ = load.OwnCPU()
	u.before, u.known = server.CPU()
}

// idle is how long a server may be busy behind its last answer: only of threads that
// sleep does the system know to the last moment what they used.
const idle = 2 * time.Millisecond

// end ends a piece of work.
func (u *spending) end() {
	own, _ := load.OwnCPU()
	u.own += own - u.ownBefore
	u.took += time.Since(u.began)
	load.Nap(idle)
	after, ok := u.server.CPU()
	u.known = u.known && ok
	u.used += after - u.before
}

// bound tells whether we were what limited the work.
func (u *spending) bound() bool {
	return u.own.Seconds() > busyClient*u.took.Seconds()*float64(runtime.GOMAXPROCS(0))
}

// share puts the server's part into costs, divided by what it was done for, if it is
// known.
func (u *spending) share(costs map[string]float64, name string, of int64) {
	if u.known && u.used > 0 && of > 0 {
		costs[name] = float64(u.used) / float64(of)
	}
}
