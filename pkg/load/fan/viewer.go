package fan

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// role is what is asked of a viewer.
type role uint8

const (
	usual   role = iota // has to get everything
	slow                // reads late: what it got and what it was spared must be everything
	fleeing             // leaves and comes back: a snapshot, and then no gap
)

// viewer is one that watches, and the goroutine that reads for it.
type viewer struct {
	run    *run
	number int
	name   string
	role   role
	line   *Line
	pub    *publisher // the answers to its reports come here; nil if it sends none

	mu  sync.Mutex // guards what follows, of which most is the reader's own while a run goes on
	row row

	now   time.Duration // of the read that is being taken
	shard *shard        // locked meanwhile; nil: its times are not measured

	placed  bool
	at      uint64 // position in the stream
	spared  int64  // updates that the server says it did not send
	torn    int64  // frames whose position did not follow
	again   int64  // snapshots beyond the first
	stray   int64  // updates while nothing was under way
	gaps    int64  // of one who comes and goes: updates that its snapshot, or what followed, passed over
	ready   chan struct{}
	pongs   chan uint32 // of two pings, so it never fills
	gone    chan struct{}
	err     error // why it ended
	leaving atomic.Bool
	seen    atomic.Uint64 // at, after the latest read, for those who wait for the viewer to catch up
	took    time.Duration // to connect
}

func newViewer(r *run, number int, name string, as role) *viewer {
	return &viewer{
		run: r, number: number, name: name, role: as,
		row:   row{cells: make([]cell, r.cfg.Plan.Senders)},
		ready: make(chan struct{}), pongs: make(chan uint32, 4), gone: make(chan struct{}),
	}
}

// read takes what comes until the line ends. Whoever ends it sets leaving first.
func (v *viewer) read() {
	defer close(v.gone)
	err := v.line.Serve(v.once)
	if v.leaving.Load() {
		return
	}
	v.mu.Lock()
	v.err = inWords(err)
	v.mu.Unlock()
	v.run.broken.Add(1)
}

// once takes what a read brought.
func (v *viewer) once(now time.Duration) (err error) {
	err = v.take(now)
	if v.role == slow && err == nil && !v.run.draining.Load() {
		v.run.pause(v.run.cfg.Slow.Pause)
	}
	return err
}

func (v *viewer) take(now time.Duration) (err error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.now = now
	if v.role != usual {
		err = v.line.Take(v)
		v.seen.Store(v.at)
		return err
	}
	v.shard = v.run.shards.take(v.number)
	before := v.row.received
	err = v.line.Take(v)
	if n := v.row.received - before; n > 0 {
		v.shard.good.Add(n)
		v.shard.page.last = v.now
	}
	v.shard.mu.Unlock()
	v.shard = nil
	v.seen.Store(v.at)
	return err
}

// Watching is part of Sink: the snapshot is what matters.
func (v *viewer) Watching() {}

// Pong is part of Sink.
func (v *viewer) Pong(n uint32) {
	select {
	case v.pongs <- n:
	default: // nobody asked for so many
	}
}

// Answer is part of Sink.
func (v *viewer) Answer(id uint32, err error) {
	if v.pub != nil {
		v.pub.answered(id, err)
	}
}

// Frame is part of Sink.
func (v *viewer) Frame(f *Frame) error {
	if v.shard != nil && v.run.started.Load() {
		v.shard.page.frames++
		v.shard.page.bytes += int64(f.Bytes)
	}
	if err := v.place(f); err != nil {
		return err
	}
	switch {
	case !v.run.started.Load(): // of an earlier run
		if f.Kind == Fixes {
			v.stray += int64(len(f.Fixes))
		}
	case f.Kind == Fixes:
		v.updates(f)
	default:
		v.state(f)
	}
	return nil
}

// place follows the position in the stream.
func (v *viewer) place(f *Frame) error {
	switch f.Kind {
	case Snapshot:
		if f.More {
			return nil
		}
		if v.placed {
			v.again++
			v.spared += int64(f.Position - v.at)
		} else {
			v.placed = true
			close(v.ready)
		}
	case Resync:
		v.spared += int64(f.Skipped)
		v.torn += differs(v.at+f.Skipped, f.Position)
	default:
		if !v.placed {
			return protocol("updates before a snapshot")
		}
		v.torn += differs(v.at+uint64(len(f.Fixes)), f.Position)
	}
	v.at = f.Position
	return nil
}

func differs(a, b uint64) int64 {
	if a != b {
		return 1
	}
	return 0
}

// updates files every update of a frame.
func (v *viewer) updates(f *Frame) {
	r := v.run
	for i := range f.Fixes {
		x := &f.Fixes[i]
		turn, seq, ours := v.recognise(x)
		if !ours {
			continue
		}
		if next := v.row.cells[turn].next; v.role == fleeing && v.spared == 0 && seq > next {
			v.gaps += int64(seq - next)
		}
		late := seq < v.row.cells[turn].next
		fresh := v.row.note(turn, seq)
		if late {
			v.irregular(turn, seq, fresh)
		}
		if fresh {
			v.time(r.cfg.Plan.send(turn, seq))
		}
	}
}

// time files when send j came.
func (v *viewer) time(j int64) {
	r := v.run
	if v.shard == nil || j < r.warm {
		return
	}
	p := v.shard.page
	p.received++
	p.response.Record(v.now - r.due(j))
	if sent, known := r.left(j); known {
		p.service.Record(v.now - sent)
	}
}

// irregular names who came twice or late.
func (v *viewer) irregular(turn int, seq uint32, fresh bool) {
	if len(v.row.odd) == mostPairs {
		return
	}
	p := Pair{v.name, v.run.senderName(turn), "duplicate", fmt.Sprintf("update %d", v.row.cells[turn].next+1), fmt.Sprintf("update %d again", seq+1)}
	if fresh {
		p.What, p.Got = "reordered", fmt.Sprintf("update %d, after a newer one", seq+1)
	}
	v.row.odd = append(v.row.odd, p)
}

// state files a frame that says how things are, and not what happened: what is in it may
// have been seen before. What was not came now, and as late as that: a server that stalls
// and then tells all of it in one resync is not spared the stall.
func (v *viewer) state(f *Frame) {
	for i := range f.Fixes {
		turn, seq, ours := v.recognise(&f.Fixes[i])
		if !ours || seq < v.row.cells[turn].next {
			continue
		}
		v.row.note(turn, seq)
		v.time(v.run.cfg.Plan.send(turn, seq))
	}
}

// recognise finds out which send an update is, and lets the viewer show it.
func (v *viewer) recognise(x *Fix) (turn int, seq uint32, ours bool) {
	r := v.run
	turn, ours = r.index.find(x.Device)
	if !ours {
		v.row.foreign++
		return 0, 0, false
	}
	c := &v.row.cells[turn]
	if !x.Late {
		c.lat, c.lon = x.Lat, x.Lon
	}
	seq, ours = r.cfg.Plan.places.seq(turn, x.Lat, x.Lon)
	if j := r.cfg.Plan.send(turn, seq); ours && x.Placed && j < r.sends.Load() && x.Time == r.stamp(j) {
		return turn, seq, true
	}
	if x.Time < r.startNS/int64(time.Millisecond) {
		v.row.foreign++ // from before the run
	} else {
		v.odd(turn, x)
	}
	return 0, 0, false
}

// odd notes an update that nobody sent.
func (v *viewer) odd(turn int, x *Fix) {
	v.row.strange++
	if v.row.strange <= mostPairs {
		v.row.worst = append(v.row.worst, Pair{
			Receiver: v.name, Sender: v.run.senderName(turn), What: "strange", Want: "a place and a time of the plan",
			Got: fmt.Sprintf("%.7f,%.7f at %s", float64(x.Lat)/1e7, float64(x.Lon)/1e7, time.UnixMilli(x.Time).UTC().Format(time.RFC3339Nano)),
		})
	}
}

// here tells whether the viewer is still connected.
func (v *viewer) here() bool {
	select {
	case <-v.gone:
		return false
	default:
		return true
	}
}

// end closes the line and waits for the reader.
func (v *viewer) end() {
	v.leaving.Store(true)
	if v.line != nil {
		_ = v.line.Close()
		<-v.gone
	}
}

// inWords says what the end of a connection is.
func inWords(err error) error {
	switch {
	case errors.Is(err, io.EOF):
		return errGone
	case errors.Is(err, net.ErrClosed), errors.Is(err, os.ErrDeadlineExceeded):
		return fmt.Errorf("the connection ended: %w", err)
	}
	return err
}

// errGone is the end of a connection without a word.
var errGone = errors.New("the server closed the connection")
