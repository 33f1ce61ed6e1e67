package client

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"tracker/pkg/rpc"
	"tracker/pkg/wire/trk"
)

// rpcFeed is a watch on the connection that it shares with everything else.
//
//	next ◄── answers of Move        one Move at a time: the server may carry two out
//	     ◄── frames                 in any order
//
// A frame of a stream that is not known yet overtook the answer that names it; next
// holds it until that has come.
type rpcFeed struct {
	c      *overRPC
	link   *link
	stream *trk.WatchOpenStream
	ctx    context.Context // the life of the watch
	watch  uint32          // what Move calls it

	mu      sync.Mutex
	moves   []Area // not sent yet
	sending bool   // a Move is on its way
	answer  *answer
	wait    context.Context // ends when there is something else to do
	wake    context.CancelFunc
	closed  bool

	// Below belongs to the goroutine of next.
	current uint32 // the stream that was answered last
	epoch   string
	held    trk.WatchFrame // read and not given out
	holds   bool
	words   words
}

// answer is what the server said to a Move, or to Open.
type answer struct {
	stream  uint32
	epoch   string
	resumed bool
	err     error
}

func asAnswer(ack *trk.WatchAck, err error) *answer {
	if err != nil {
		return &answer{err: err}
	}
	return &answer{stream: ack.Stream(), epoch: string(ack.Epoch()), resumed: ack.Resumed()}
}

func (c *overRPC) watch(ctx context.Context, a Area, from mark) (feed, error) {
	order := &trk.WatchReqT{Area: asArea(a), ResumeEpoch: from.epoch, ResumePosition: float64(from.seq)}
	var s *trk.WatchOpenStream
	l, err := c.stream(ctx, func(ctx context.Context, to rpc.Caller) (err error) {
		s, err = trk.WatchClient{Caller: to}.Open(ctx, order)
		return err
	})
	if err != nil {
		return nil, err
	}
	ack, err := s.Ack()
	if err != nil {
		s.Close()
		c.release(l)
		return nil, c.failure(ctx, err)
	}
	return &rpcFeed{c: c, link: l, stream: s, ctx: ctx, watch: ack.Watch(), answer: asAnswer(&ack, nil), words: make(words, 4096)}, nil
}

// stream opens a subscription, again if the line breaks under it, which ended the first,
// and returns the link that it uses; whoever ends the subscription releases it.
func (c *overRPC) stream(ctx context.Context, open func(ctx context.Context, to rpc.Caller) error) (*link, error) {
	var used *link
	err := c.do(ctx, true, func(ctx context.Context, to rpc.Caller) error {
		if err := open(ctx, to); err != nil {
			return err
		}
		used = to.(*link)
		c.mu.Lock()
		c.use(used)
		c.mu.Unlock()
		return nil
	})
	return used, err
}

func asArea(a Area) *trk.AreaT {
	switch {
	case a.Map != "":
		return &trk.AreaT{MapRef: a.Map, Box: asBox(a.Box), Devices: a.Devices}
	case a.Box != nil:
		return &trk.AreaT{Box: asBox(a.Box), Devices: a.Devices}
	case len(a.Devices) > 0:
		return &trk.AreaT{Devices: a.Devices}
	}
	return &trk.AreaT{All: true}
}

func (r *rpcFeed) move(a Area) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.moves = append(r.moves, a)
	r.sendMove()
}

// sendMove sends the next Move if it is its turn. Caller holds mu.
func (r *rpcFeed) sendMove() {
	if r.sending || r.answer != nil || len(r.moves) == 0 || r.closed {
		return
	}
	a := r.moves[0]
	r.moves, r.sending = r.moves[1:], true
	ctx, cancel := context.WithTimeout(r.ctx, r.c.cfg.Timeout)
	defer cancel() // the deadline has left with the request
	err := trk.WatchClient{Caller: r.link}.MoveAsync(ctx, &trk.MoveReqT{Watch: r.watch, Area: asArea(a)}, r.moved)
	if err != nil {
		r.take(&answer{err: err})
	}
}

// moved is called by the reader of the connection.
func (r *rpcFeed) moved(ack trk.WatchAck, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.take(asAnswer(&ack, err))
}

// take hands an answer to next. Caller holds mu.
func (r *rpcFeed) take(a *answer) {
	r.sending, r.answer = false, a
	if r.wake != nil {
		r.wake()
	}
}

func (r *rpcFeed) close() {
	r.mu.Lock()
	closed := r.closed
	r.closed = true
	if r.wake != nil {
		r.wake()
	}
	r.mu.Unlock()
	if !closed {
		r.stream.Close()
		r.c.release(r.link)
	}
}

// due is what next has to do: give out an answer, or wait for a frame until ctx ends.
// asking tells that an answer is still to come.
func (r *rpcFeed) due() (a *answer, ctx context.Context, asking bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if a = r.answer; a != nil {
		r.answer = nil
		r.sendMove()
		return a, nil, false
	}
	if r.wait == nil || r.wait.Err() != nil {
		r.wait, r.wake = context.WithCancel(r.ctx)
		if r.closed {
			r.wake()
		}
	}
	return nil, r.wait, r.sending
}

func (r *rpcFeed) next(f *frame) error {
	for {
		a, ctx, asking := r.due()
		switch {
		case r.ctx.Err() != nil:
			return r.ctx.Err()
		case a != nil:
			return r.tell(f, a)
		case !r.holds:
			if err := r.hold(ctx); err != nil {
				return err
			}
		case asking && r.held.Stream() != r.current:
			<-ctx.Done() // the answer, or the end
		default:
			r.holds = false
			return r.read(f, &r.held)
		}
	}
}

// hold waits for a frame, or until there is something else to do.
func (r *rpcFeed) hold(ctx context.Context) error {
	x, _, err := r.stream.Next(ctx)
	switch {
	case err == nil:
		r.held, r.holds = x, true
		return nil
	case ctx.Err() != nil && errors.Is(err, ctx.Err()) && !r.isClosed():
		return nil
	case rpc.StatusOf(err) == rpc.BadBody:
		return fmt.Errorf("message of the server: %w", err)
	}
	return r.c.ended(r.ctx, r.link, err)
}

func (r *rpcFeed) isClosed() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.closed
}

// tell makes a message of an answer.
func (r *rpcFeed) tell(f *frame, a *answer) error {
	*f = frame{fixes: f.fixes[:0], left: f.left[:0]}
	if a.err == nil {
		r.current, r.epoch = a.stream, a.epoch
		f.kind, f.stream, f.epoch, f.resumed = "watching", uint64(a.stream), a.epoch, a.resumed
		return nil
	}
	err := r.c.failure(r.ctx, a.err)
	var refusal *Error
	if !errors.As(err, &refusal) || refusal.Status/100 != 4 || refusal.Code == "unauthenticated" {
		return err
	}
	p := &f.problem.Error
	f.kind, p.Code, p.Message, p.Hint, p.Request = "error", refusal.Code, refusal.Message, refusal.Hint, refusal.Request
	return nil
}

var frameKinds = map[trk.FrameKind]string{
	trk.FrameKindSnapshot: "snapshot",
	trk.FrameKindFixes:    "fixes",
	trk.FrameKindResync:   "resync",
}

func (r *rpcFeed) read(f *frame, x *trk.WatchFrame) error {
	*f = frame{
		kind: frameKinds[x.Kind()], stream: uint64(x.Stream()), epoch: r.words.intern(x.Epoch()),
		seq: uint64(x.Position()), skipped: uint64(x.Skipped()), fresh: x.Fresh(), more: x.More(),
		fixes: appendFixes(f.fixes[:0], x, r.words), left: f.left[:0],
	}
	if f.kind == "fixes" {
		f.n = uint64(len(f.fixes))
	}
	if f.epoch == "" {
		f.epoch = r.epoch
	}
	for i := range x.LeftLength() {
		id, ok := parseDevice(x.Left(i))
		if !ok {
			return fmt.Errorf("message of the server: %q is no device", x.Left(i))
		}
		f.left = append(f.left, id)
	}
	return nil
}
