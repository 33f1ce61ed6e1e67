package fan

import (
	"context"
	"fmt"
	"math"
	"sync"
	"time"

	"tracker/pkg/load"
)

// churn are viewers that leave and come back all the time. Of each visit a snapshot has
// to come, and what follows it without a gap.
type churn struct {
	r    *run
	ctx  context.Context
	end  context.CancelFunc
	wait sync.WaitGroup

	mu     sync.Mutex
	first  *load.Recorder // from the first byte to the end of the snapshot
	visits int64
	failed int64
	torn   int64 // frames at a wrong position, and updates that did not follow the snapshot
	faults []string
}

// startChurn lets as many come and go as the rate needs.
func startChurn(r *run) *churn {
	c := &churn{r: r, first: load.NewRecorder()}
	c.ctx, c.end = context.WithCancel(context.Background())
	n := int(max(1, math.Ceil(r.cfg.Churn)))
	stay := time.Duration(float64(n) / r.cfg.Churn * float64(time.Second))
	for i := range n {
		c.wait.Go(func() { // ends with stop
			c.r.pause(time.Duration(i) * stay / time.Duration(n))
			for c.ctx.Err() == nil {
				c.visit(i, stay)
			}
		})
	}
	return c
}

func (c *churn) stop() {
	c.end()
	c.wait.Wait()
}

// visit comes, watches for a while, and leaves.
func (c *churn) visit(i int, stay time.Duration) {
	r := c.r
	leave := time.NewTimer(stay)
	defer leave.Stop()
	before := time.Now()
	v := newViewer(r, r.cfg.N+i, fmt.Sprintf("churn-%06d", i+1), fleeing)
	err := r.openLine(c.ctx, v, &r.cfg.Viewers)
	if err == nil {
		go v.read() // ends with the line; end waits for it
		defer v.end()
		err = v.line.Watch(r.cfg.Area)
	}
	if err == nil {
		err = v.wait(c.ctx, v.ready)
	}
	took := time.Since(before)
	if err == nil {
		select {
		case <-leave.C:
		case <-c.ctx.Done():
		case <-v.gone:
			err = v.err
		}
		v.end()
	}
	c.note(v, took, err)
	if err != nil {
		r.pause(stay)
	}
}

func (c *churn) note(v *viewer, took time.Duration, err error) {
	if err != nil {
		c.r.broken.Add(-brokeOne(v))
	}
	if err != nil && c.ctx.Err() != nil {
		return // cut short by us
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.visits++
	if err != nil {
		c.failed++
		if len(c.faults) < mostPairs {
			c.faults = append(c.faults, fmt.Sprintf("%s: %v", v.name, err))
		}
		return
	}
	c.first.Record(took)
	for _, x := range []struct {
		n    int64
		what string
	}{
		{v.torn, "frames did not follow the one before"}, {v.gaps, "updates did not follow the snapshot"},
		{v.row.duplicate + v.row.disorder, "updates came twice or late"}, {v.row.strange, "updates that nobody sent"},
	} {
		c.torn += x.n
		if x.n > 0 && len(c.faults) < mostPairs {
			c.faults = append(c.faults, fmt.Sprintf("%s: %d %s", v.name, x.n, x.what))
		}
	}
}

// brokeOne is 1 if the viewer counted itself among those that broke: visitors are no
// sign that the server has died.
func brokeOne(v *viewer) int64 {
	select {
	case <-v.gone:
		if v.err != nil {
			return 1
		}
	default:
	}
	return 0
}
