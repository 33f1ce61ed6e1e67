package rpcload

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"

	"tracker/pkg/load"
	"tracker/pkg/rpc"
)

// Outcome is what a run found. Sent = Right + Wrong + Refused + Lost.
type Outcome struct {
	Sent, Right, Wrong, Refused, Lost int64
	Doubled, Unknown                  int64 // answers beyond those
	Failed                            map[rpc.Status]int64
	Faults                            []string // the first things that went wrong, in words
	Gone                              error    // why answers were lost, if the server left or died

	Warmed   time.Duration // before the part that was measured
	Took     time.Duration // the part that was measured
	Begun    int64         // calls written in it
	Answered int64         // in it
	Planned  int64         // of an open loop: calls that fell due in it,
	Before   int64         // and in the warm-up
	Late     int64         // of an open loop: calls that left more than 1 ms after they were due,
	Pressed  int64         // and of those the ones that waited for a slot, which only an answer frees
	Partial  bool          // interrupted

	Latency  *load.Recorder // of usual calls: from when they were written, or were due in an open loop
	Sleeping *load.Recorder // of those that sleep
	Service  *load.Recorder // of an open loop: of all calls, from when they were written
	Lag      *load.Recorder // of an open loop: from when they were due to when they were written

	ClientCPU time.Duration // while it was measured
	ServerCPU time.Duration // if ServerKnown
	OthersCPU time.Duration // of everybody else on this machine; 0 if unknown
	Cores     int           // that the client could use
	RSSBefore int64         // of the server: before the first connection, with all of them
	RSSIdle   int64         // open and unused, and at the end of the load; 0 if unknown
	RSSBusy   int64

	ServerKnown bool
	Intervals   []load.Interval
	Started     time.Time
}

// Rate is answers a second.
func (o *Outcome) Rate() float64 {
	if o.Took <= 0 {
		return 0
	}
	return float64(o.Answered) / o.Took.Seconds()
}

// PerCall is the server's CPU time of a call.
func (o *Outcome) PerCall() (time.Duration, bool) {
	if !o.ServerKnown || o.Answered == 0 {
		return 0, false
	}
	return o.ServerCPU / time.Duration(o.Answered), true
}

// Err wraps ErrFailed unless every call was answered, rightly and once.
func (o *Outcome) Err() error {
	if o.Wrong+o.Refused+o.Lost+o.Doubled+o.Unknown == 0 {
		return nil
	}
	return fmt.Errorf("%w: of %d, %d were wrong, %d refused, %d lost, %d doubled, and %d never asked for", ErrFailed,
		o.Sent, o.Wrong, o.Refused, o.Lost, o.Doubled, o.Unknown)
}

// Died tells whether all that went wrong is that the server was there no longer.
func (o *Outcome) Died() bool {
	return o.Gone != nil && o.Wrong+o.Refused+o.Doubled+o.Unknown == 0
}

const (
	busyClient = 0.9 // of the processors that it can use
	idleServer = 0.8 // of one
)

// ClientBound tells whether the client was the limit: it was busy, and the server, if
// that is known, was not.
func (o *Outcome) ClientBound() bool {
	if o.Took <= 0 {
		return false
	}
	client, server := o.ClientCPU.Seconds()/o.Took.Seconds(), o.ServerCPU.Seconds()/o.Took.Seconds()
	return client > busyClient*float64(max(1, o.Cores)) && (!o.ServerKnown || server < idleServer)
}

// Run does what cfg says. A server that refuses the first call, or the connection, says
// why: the error wraps an *rpc.Error; one that cannot be reached is another error.
// Answers that are wrong, lost or doubled are no error of Run: see Outcome.Err. When ctx
// ends, so does the run, with what it has.
func Run(ctx context.Context, cfg Config) (*Outcome, error) {
	l, err := Open(ctx, cfg)
	if err != nil {
		return nil, err
	}
	defer l.Close()
	if cfg.Connected != nil {
		cfg.Connected()
	}
	return l.Run(ctx, cfg)
}

// stranger tells a server that refuses us from something that is no server of ours.
func stranger(ctx context.Context, err error) error {
	switch rpc.StatusOf(err) {
	case rpc.Unauthenticated, rpc.PermissionDenied, rpc.Unavailable, rpc.ResourceExhausted, rpc.DeadlineExceeded:
		return err
	}
	if ctx.Err() != nil {
		return err
	}
	return fmt.Errorf("%w: %w", ErrStranger, err)
}

// probe makes one call, so that a server without the method says so before the load.
func probe(ctx context.Context, nc net.Conn, k *kind) error {
	stop := context.AfterFunc(ctx, func() { _ = nc.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	const id = 1
	if _, err := nc.Write(k.form.put(nil, id)); err != nil {
		return err
	}
	var h [rpc.HeaderSize]byte
	if _, err := io.ReadFull(nc, h[:]); err != nil {
		return fmt.Errorf("the first call: %w", err)
	}
	word := binary.LittleEndian.Uint32(h[:])
	f := rpc.Frame{Kind: rpc.Kind(word >> 24 & 15), ID: binary.LittleEndian.Uint32(h[4:]), Code: binary.LittleEndian.Uint16(h[8:]), Body: make([]byte, word&(1<<24-1))}
	if _, err := io.ReadFull(nc, f.Body); err != nil {
		return fmt.Errorf("the first call: %w", err)
	}
	switch e := f.Failure(); {
	case e != nil:
		return fmt.Errorf("the first call: %w", e)
	case f.Kind != rpc.KindRsp, f.ID != id, !k.answer.is(f.Body, id):
		return fmt.Errorf("%w: the first call was answered with %v", ErrFailed, f)
	}
	return nil
}

// sample is a moment of a run.
type sample struct {
	at             time.Duration
	sent, right    int64
	client, server time.Duration
	machine        time.Duration
	known          bool // what the server used
	all            bool // what the machine did
}

func (r *run) sample(conns []*conn) sample {
	s := sample{at: r.now()}
	for _, c := range conns {
		s.sent += c.sent.Load()
		s.right += c.right.Load()
	}
	s.client, _ = load.OwnCPU()
	s.server, s.known = r.cfg.Server.CPU()
	s.machine, s.all = load.MachineCPU()
	return s
}

// drive starts what the connections need, waits, and ends it.
func (r *run) drive(ctx context.Context, conns []*conn, o *Outcome) {
	var wg sync.WaitGroup
	for _, c := range conns {
		wg.Go(func() {
			if r.cfg.open() {
				c.err = c.answers()
			} else {
				c.err = c.fill()
			}
		})
	}
	pacing, stopPacing := context.WithCancel(ctx)
	defer stopPacing()
	warming, warm := context.WithCancel(pacing)
	defer warm()
	paced := make(chan [2]int64, 1)
	if r.cfg.open() {
		go func() { // received below
			before, planned := r.paceAll(pacing, warming, conns)
			paced <- [2]int64{before, planned}
		}()
	}
	ended := make(chan struct{})
	go func() { // ends with the connections
		wg.Wait()
		close(ended)
	}()
	w := r.watch(conns, o, ended)
	defer w.stop()
	w.measure(ctx, warm)
	stopPacing()
	if r.cfg.open() {
		n := <-paced
		o.Before, o.Planned = n[0], n[1]
	}
	r.stopping.Store(true)
	r.drain(conns, ended)
	<-ended
	w.last()
}

// drain gives the last answers time to come, and then ends what still waits for one.
func (r *run) drain(conns []*conn, ended <-chan struct{}) {
	if r.cfg.open() {
		for _, c := range conns { // those that wait for nothing would not look whether they are done
			c.mu.Lock()
			if c.l.underway() == 0 && len(c.late) == 0 {
				_ = c.ask() // one that failed says so where it reads
			}
			c.mu.Unlock()
		}
	}
	t := time.NewTimer(r.cfg.Drain)
	defer t.Stop()
	select {
	case <-ended:
	case <-t.C:
		for _, c := range conns {
			_ = c.nc.SetDeadline(time.Unix(1, 0))
		}
	}
}

// grid is how finely calls are spread: half of what counts as late.
const grid = lateAfter / 2

// paceAll hands out calls at the plan's first rate until the warm-up is over, and then
// by the plan. It tells how many fell due.
func (r *run) paceAll(ctx, warming context.Context, conns []*conn) (before, planned int64) {
	defer load.Punctual()()
	if r.cfg.Warmup > 0 {
		p := load.Pacer{Plan: r.cfg.Rate.Opening(), Grid: grid}
		before = r.pace(warming, &p, 0, conns)
	}
	<-warming.Done()
	if ctx.Err() != nil {
		return before, 0
	}
	p := load.Pacer{Plan: r.cfg.Rate, End: r.cfg.Duration, Grid: grid}
	return before, r.pace(ctx, &p, time.Duration(r.from.Load()), conns)
}

// pace hands out calls as they fall due, in turn to the connections, until the plan or
// ctx ends. The plan counts from start. It tells how many there were.
func (r *run) pace(ctx context.Context, p *load.Pacer, start time.Duration, conns []*conn) (planned int64) {
	p.Start(r.began.Add(start))
	due := make([][]time.Duration, len(conns))
	for {
		from, to, ok := p.Wait(ctx)
		if !ok {
			return planned
		}
		for k := from; k < to; k++ {
			i := k % int64(len(conns))
			due[i] = append(due[i], start+p.Plan.When(k))
		}
		planned += to - from
		for i, c := range conns {
			if len(due[i]) == 0 {
				continue
			}
			// One that failed says so where it reads.
			_ = c.fallDue(due[i])
			due[i] = due[i][:0]
		}
	}
}

// add sums up the connections, which have ended.
func (o *Outcome) add(conns []*conn) {
	o.Failed = map[rpc.Status]int64{}
	for _, c := range conns {
		l := c.l
		o.Sent += l.sent
		o.Right += l.right
		o.Wrong += l.wrong
		o.Refused += l.refused
		o.Doubled += l.doubled
		o.Unknown += l.unknown
		lost := int64(l.underway() + len(c.late))
		o.Sent += int64(len(c.late)) // due, and never sent: their callers got no answer
		o.Lost += lost
		for status, n := range l.failed {
			o.Failed[status] += n
		}
		why := c.lost()
		if lost > 0 && o.Gone == nil {
			o.Gone = why
		}
		if why == nil && lost > 0 {
			why = errors.New("no answer came in time")
		}
		if lost > 0 {
			l.fault("%d calls were lost: %v", lost, why)
		} else if why != nil {
			l.fault("%v", why)
		}
		for _, f := range l.faults {
			if len(o.Faults) < mostFaults {
				o.Faults = append(o.Faults, f)
			}
		}
	}
}
