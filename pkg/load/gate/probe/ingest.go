package probe

import (
	"context"
	"errors"
	"fmt"
	"sort"
	"strings"
	"time"

	"tracker/pkg/client"
	"tracker/pkg/geo"
	"tracker/pkg/load"
	"tracker/pkg/load/rpcload"
	"tracker/pkg/track"
)

// Ingest is datagrams of many devices, at a rate that the server does not decide, one fix
// each, sealed before the slice begins.
//
//	seal 5,120 ──► send: 20 every ms, 250 ms ──► let it commit ──► ask what it took
//	               └──────── processor time ───────────────────┘
//
// There are so many devices that none comes near what a server lets one send: each has
// 120 datagrams saved up, sends two or three a slice, and gets some back in between.
func Ingest() Work { return ingest{devices: 2000, rate: 20_480, length: 250 * time.Millisecond} }

type ingest struct {
	devices int
	rate    float64
	length  time.Duration
}

func (ingest) Name() string { return "ingest" }

func (ingest) Defs() []Def {
	return []Def{{Name: "cpu", Unit: "ns/fix", Text: "processor time of the server, until the fix is stored", Floor: 0.03}}
}

func (w ingest) Open(ctx context.Context, s *rpcload.Own) (Session, error) {
	f, err := openFleet(ctx, s, s.UDP, w.devices)
	if err != nil {
		return nil, err
	}
	return &ingestSession{fleet: f, plan: load.Constant(w.rate), length: w.length}, nil
}

// fleet is devices whose datagrams a server takes, and what it took of them so far.
type fleet struct {
	server *rpcload.Own
	conn   *client.Conn // to ask the server
	volley *client.Volley
	last   account
	number int64         // of the next fix
	next   time.Time     // no fix may be from before
	wait   time.Duration // for the server to store the last
}

// openFleet makes the server know n devices, and have a session of each: opening one costs
// it ten times as much as a fix. Their datagrams go to addr.
func openFleet(ctx context.Context, s *rpcload.Own, addr string, n int) (*fleet, error) {
	enrolled, err := enrol(ctx, s, n)
	if err != nil {
		return nil, err
	}
	volley, err := client.NewVolley(addr)
	if err != nil {
		return nil, err
	}
	f := &fleet{server: s, volley: volley, wait: deliveryPatience}
	if err := f.begin(ctx, enrolled); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

func (f *fleet) begin(ctx context.Context, enrolled []client.Enrolled) (err error) {
	for i := range enrolled {
		if _, err := f.volley.Add(enrolled[i].Enrolment); err != nil {
			return fmt.Errorf("%w: %w", ErrWrong, err)
		}
	}
	f.conn, err = client.Dial(client.Config{Server: f.server.Target.Addr, Token: string(f.server.Token), UserAgent: "trackbench", Timeout: patience})
	if err != nil {
		return err
	}
	if f.last, err = f.ask(ctx); err != nil {
		return err
	}
	return f.burst(ctx, len(enrolled))
}

func (f *fleet) Close() error {
	if f.conn != nil {
		f.conn.Close()
	}
	return f.volley.Close()
}

// seal makes n datagrams ready, whose fixes are so far apart.
func (f *fleet) seal(n int, apart time.Duration) error {
	if now := time.Now(); f.next.Before(now) {
		f.next = now
	}
	for range n {
		fix := f.fix(f.next)
		f.next = f.next.Add(apart)
		if err := f.volley.Seal(int(f.number)%f.volley.Len(), &fix); err != nil {
			return err
		}
		f.number++
	}
	return nil
}

// fix is the next fix, of whoever's turn it is: devices stand apart, and each goes north by
// a centimetre a fix.
func (f *fleet) fix(at time.Time) track.Fix {
	devices := int64(f.volley.Len())
	device, step := f.number%devices, f.number/devices
	place := geo.Deg(10+40*float64(device)/float64(devices), 20)
	place.Lat += int32(step)
	return track.Fix{Time: at.UnixMilli(), At: place, Speed: 1389, Course: 4500, Has: track.HasPos | track.HasVel}
}

// burstSize is how many datagrams are sent before they are waited for. They fill a small
// part of the smallest buffer that a socket has.
const burstSize = 64

// fixStep is the finest step of time that a datagram tells.
const fixStep = 4 * time.Millisecond

// sealBurst makes n datagrams ready that leave as fast as they can. Those of one device are
// still from different moments.
func (f *fleet) sealBurst(n int) error { return f.seal(n, fixStep/time.Duration(f.volley.Len())) }

// burst sends n datagrams in bursts, each when the server has read the one before, so the
// system never has to throw one away, and waits until all of them are stored.
func (f *fleet) burst(ctx context.Context, n int) error {
	if err := f.sealBurst(n); err != nil {
		return err
	}
	if err := f.sendBursts(ctx); err != nil {
		return err
	}
	if err := load.Pause(ctx, settle); err != nil {
		return err
	}
	return f.settled(ctx, n, plainly)
}

// plainly asks without more ado.
func plainly(ask func() error) error { return ask() }

func (f *fleet) sendBursts(ctx context.Context) error {
	for f.volley.Waiting() > 0 {
		if err := f.volley.Send(burstSize); err != nil {
			return f.refused(ctx, err)
		}
		if err := f.emptied(ctx); err != nil {
			return err
		}
	}
	return nil
}

// emptied waits until the server has read everything that was sent.
func (f *fleet) emptied(ctx context.Context) error {
	const look = 100 * time.Microsecond
	for deadline := time.Now().Add(patience); ; load.Nap(look) {
		q, ok := queueOf(f.server.UDP)
		switch {
		case !ok && !f.server.Alive():
			return fmt.Errorf("%w: its socket is closed", ErrGone)
		case !ok:
			load.Nap(burstSize * 50 * time.Microsecond) // as long as a slow server needs for so many
			return ctx.Err()
		case q.waiting == 0:
			return ctx.Err()
		case ctx.Err() != nil:
			return ctx.Err()
		case time.Now().After(deadline):
			return gone(ctx, f.server, fmt.Errorf("%w: datagrams wait in its socket, and it reads none", ErrWrong))
		}
	}
}

// refused is what it means when a socket does not take a datagram: mostly that nobody
// listens at the other end.
func (f *fleet) refused(ctx context.Context, err error) error {
	return gone(ctx, f.server, fmt.Errorf("%w: nobody takes its datagrams: %w", ErrWrong, err))
}

// account is what a server says it took in so far, and what became of the rest.
type account struct {
	stored, lost, pending uint64 // by the store
	refused               map[string]uint64
	dropped               int64 // by the system, before the server saw them
}

// ask asks the server.
func (f *fleet) ask(ctx context.Context) (account, error) {
	s, err := f.conn.Status(ctx)
	if err != nil {
		return account{}, gone(ctx, f.server, fmt.Errorf("%w: ask for its counters: %w", ErrWrong, err))
	}
	q, _ := queueOf(f.server.UDP)
	a := account{s.Store.Stored, s.Store.Lost, s.Store.Pending, map[string]uint64{}, q.dropped}
	for _, name := range load.Drops {
		a.refused[name] = s.Ingest[name]
	}
	return a, nil
}

// settle is how long a server has to put into its store what it took, before it is asked
// for the first time: twice the time between two commits.
const settle = 100 * time.Millisecond

// errDropped says that the system threw datagrams away.
var errDropped = errors.New("the system threw datagrams away before the server had read them")

// settled waits until the n datagrams that were sent are in the server's store. around is
// given each question, which costs the server something.
func (f *fleet) settled(ctx context.Context, n int, around func(ask func() error) error) error {
	for deadline := time.Now().Add(f.wait); ; {
		var now account
		err := around(func() (err error) {
			now, err = f.ask(ctx)
			return err
		})
		if err != nil {
			return err
		}
		stored, dropped := int(now.stored-f.last.stored), int(now.dropped-f.last.dropped)
		accounted := now.pending == 0 && stored+dropped >= n
		if !accounted && time.Now().Before(deadline) {
			if err := load.Pause(ctx, settle/4); err != nil {
				return err
			}
			continue
		}
		wrong := f.compare(now, n)
		f.last = now
		return gone(ctx, f.server, wrong)
	}
}

// compare holds what the server says now against the n datagrams that were sent.
func (f *fleet) compare(now account, n int) error {
	stored, lost := int(now.stored-f.last.stored), int(now.lost-f.last.lost)
	dropped := int(now.dropped - f.last.dropped)
	switch {
	case stored == n && lost == 0 && now.pending == 0:
		return nil
	case dropped > 0 && stored+dropped == n && lost == 0 && now.pending == 0:
		return fmt.Errorf("%w: %d of %d", errDropped, dropped, n)
	}
	var why []string
	for name, is := range now.refused {
		if was := f.last.refused[name]; is > was {
			why = append(why, fmt.Sprintf("%d %s", is-was, name))
		}
	}
	sort.Strings(why)
	if len(why) == 0 {
		why = append(why, "it does not say what became of the others")
	}
	return fmt.Errorf("%w: of %d datagrams it stored %d, lost %d, and has %d waiting; the system dropped %d: %s",
		ErrWrong, n, stored, lost, now.pending, dropped, strings.Join(why, ", "))
}

// ingestSession measures what fixes cost the server.
type ingestSession struct {
	*fleet
	plan   load.Plan
	length time.Duration
}

// mostTries is how often a slice is tried when the system throws datagrams away: that is
// no fault of a server that had no time to read them.
const mostTries = 3

// Slice sends for one slice.
func (s *ingestSession) Slice(ctx context.Context) (sample Sample, err error) {
	for range mostTries {
		if sample, err = s.once(ctx); !errors.Is(err, errDropped) {
			break
		}
	}
	return sample, err
}

// once sends for one slice, and asks for what became of it. The time that a question takes
// the server is not among what the fixes cost.
func (s *ingestSession) once(ctx context.Context) (Sample, error) {
	pacer := load.Pacer{Plan: s.plan, End: s.length}
	n := int(pacer.Planned())
	if err := s.seal(n, s.length/time.Duration(n)); err != nil {
		return Sample{}, err
	}
	var used spending
	used.begin(&s.server.Process)
	began := time.Now()
	late, err := s.send(ctx, &pacer)
	if err != nil {
		return Sample{}, err
	}
	took := time.Since(began)
	if err := load.Pause(ctx, settle); err != nil {
		return Sample{}, err
	}
	err = s.settled(ctx, n, func(ask func() error) error {
		used.end()
		err := ask()
		used.begin(&s.server.Process)
		return err
	})
	if err != nil {
		return Sample{}, err
	}
	sample := Sample{Costs: map[string]float64{}, Took: took, Ops: int64(n), Bound: used.bound(), Late: float64(late) > lateShare*float64(n)}
	used.share(sample.Costs, "cpu", int64(n))
	return sample, nil
}

// send sends what was sealed as it falls due, and tells how many left late.
func (s *ingestSession) send(ctx context.Context, pacer *load.Pacer) (late int64, err error) {
	defer load.Punctual()()                // the pacer sleeps in the kernel
	const lateAfter = 5 * time.Millisecond // what lies together then, a server reads together
	pacer.Start(time.Now())
	for {
		from, to, ok := pacer.Wait(ctx)
		if !ok {
			return late, ctx.Err()
		}
		if err := s.volley.Send(int(to - from)); err != nil {
			return late, s.refused(ctx, err)
		}
		for ; from < to && time.Since(pacer.Intended(from)) > lateAfter; from++ {
			late++
		}
	}
}
