package load

import (
	"context"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"

	"tracker/pkg/client"
	"tracker/pkg/geo"
)

// Auditor holds what was sent against what the server's history has. Datagrams may be
// lost, and their sender does not hear of it; history does not lie.
//
//	before ──► count what history already has of these fixes   (an earlier play)
//	play
//	Settle ──► wait until the server has stored what it took
//	Audit  ──► count again: each fix must be there once more than before
//
// No clocks are compared, so the server may be anywhere.
type Auditor struct {
	Conn    *client.Conn
	Members []Member // by Cue.Device
	// Checked, if set, is told how many devices were looked at.
	Checked func(done, of int)

	before map[int]map[mark]int // by device, only what was there
}

// mark is what makes a fix of one device the one that was sent.
type mark struct {
	time int64
	at   geo.Point
}

// tickMillis is the finest step of time that a datagram can tell.
const tickMillis = 4

// carried brings a time in unix milliseconds to the step that a datagram can carry, down.
func carried(ms int64) int64 { return ms - ms%tickMillis }

func (c *Cue) mark() mark { return mark{carried(c.Fix.Time), c.Fix.At} }

// Findings are what an audit found. Stored = once each.
type Findings struct {
	Stored  int
	Missing []Cue // sent but not in history
	Twice   int   // in history more often than it was sent
}

// Before counts what history has already. Members that are fresh have nothing, and
// cost nothing.
func (a *Auditor) Before(ctx context.Context, cues []Cue) error {
	old := make([]Cue, 0, len(cues))
	for i := range cues {
		if !a.Members[cues[i].Device].Fresh {
			old = append(old, cues[i])
		}
	}
	counted, err := a.count(ctx, old)
	a.before = counted
	return err
}

// Audit looks for each cue in history.
func (a *Auditor) Audit(ctx context.Context, cues []Cue) (Findings, error) {
	found, err := a.count(ctx, cues)
	if err != nil {
		return Findings{}, err
	}
	var f Findings
	for i := range cues {
		c := &cues[i]
		there := found[c.Device]
		if there[c.mark()] <= a.before[c.Device][c.mark()] {
			f.Missing = append(f.Missing, *c)
			continue
		}
		there[c.mark()]-- // the next cue with this mark needs another
		f.Stored++
	}
	for device, there := range found {
		for m, n := range there {
			f.Twice += max(0, n-a.before[device][m])
		}
	}
	return f, nil
}

// auditors is how many histories are read at once: as many as a Conn keeps lines open.
const auditors = 4

// count tells, by device, how often history has the marks of the cues.
func (a *Auditor) count(ctx context.Context, cues []Cue) (map[int]map[mark]int, error) {
	wanted := map[int]map[mark]int{}
	for i := range cues {
		c := &cues[i]
		if wanted[c.Device] == nil {
			wanted[c.Device] = map[mark]int{}
		}
		wanted[c.Device][c.mark()] = 0
	}
	work, ctx := errgroup.WithContext(ctx)
	work.SetLimit(auditors)
	done := 0
	for device, marks := range wanted {
		if ctx.Err() != nil {
			break
		}
		work.Go(func() error { return a.read(ctx, device, marks) })
		done++
		if a.Checked != nil {
			a.Checked(done, len(wanted))
		}
	}
	return wanted, work.Wait()
}

// read counts the marks of one device; it is the only one that touches its map.
func (a *Auditor) read(ctx context.Context, device int, marks map[mark]int) error {
	from, to := span(marks)
	member := &a.Members[device]
	q := client.HistoryQuery{Device: member.ID.String(), From: time.UnixMilli(from), To: time.UnixMilli(to + 1)}
	for f, err := range a.Conn.History(ctx, q) {
		if err != nil {
			return fmt.Errorf("read the history of %s: %w", member.Name, err)
		}
		m := mark{f.Time.UnixMilli(), f.At}
		if n, ours := marks[m]; ours {
			marks[m] = n + 1
		}
	}
	return nil
}

func span(marks map[mark]int) (from, to int64) {
	first := true
	for m := range marks {
		if first || m.time < from {
			from = m.time
		}
		if first || m.time > to {
			to = m.time
		}
		first = false
	}
	return from, to
}

const (
	settlePoll = 100 * time.Millisecond
	settleMax  = 15 * time.Second
)

// Settle waits until the server has stored what it took: nothing waits for the disk,
// and nothing more comes. It returns the last status, also when it gave up waiting, as
// others may send all the time.
func Settle(ctx context.Context, conn *client.Conn) (client.Status, error) {
	var last client.Status
	deadline := time.Now().Add(settleMax)
	for quiet := 0; ; {
		s, err := conn.Status(ctx)
		if err != nil {
			return s, err
		}
		if s.Store.Pending == 0 && seen(&s) == seen(&last) {
			quiet++
		} else {
			quiet = 0
		}
		last = s
		if quiet >= 2 || time.Now().After(deadline) {
			return s, nil
		}
		if err := Pause(ctx, settlePoll); err != nil {
			return s, err
		}
	}
}

// seen is how many fixes came as far as the store, whatever became of them there. The
// server's own probe does not.
func seen(s *client.Status) uint64 { return s.Store.Stored + s.Store.Lost }
