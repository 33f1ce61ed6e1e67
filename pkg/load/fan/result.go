package fan

import (
	"context"
	"errors"
	"fmt"
	"math"
	"sort"
	"time"

	"tracker/pkg/load"
)

// findings are what the rows of all viewers come to.
type findings struct {
	expected, received                  int64 // of those that have to get everything
	lost, superseded, conflated         int64 // superseded: lost, and followed by a newer one
	duplicate, disorder, strange        int64
	foreign, torn, again                int64
	agree, clients                      int
	state, planned                      uint64
	missing                             []int64
	pairs                               []Pair
	slow, slowSkipped, slowUnaccounted  int64
	slowWrong                           int64 // with another state than the plan's, at the same position as the others
	endedViewers                        int64
	faults                              []string
	byState                             map[uint64]int
	mostState                           int
	unanswered, refused, right, unknown int64
	refusals                            map[string]int64
}

// verify holds what every viewer has against the plan.
func (r *run) verify() *findings {
	f := &findings{planned: r.cfg.Plan.finalState(r.sends.Load()), byState: map[uint64]int{}, refusals: map[string]int64{}}
	top := uint64(0)
	for _, v := range r.viewers {
		top = max(top, v.seen.Load())
	}
	for _, v := range r.viewers {
		f.viewer(r, v, top)
	}
	for _, p := range r.pubs {
		if p != nil {
			f.answers(p)
		}
	}
	sort.SliceStable(f.pairs, func(i, j int) bool { return rank(f.pairs[i].What) < rank(f.pairs[j].What) })
	f.pairs = f.pairs[:min(len(f.pairs), mostPairs)]
	return f
}

// rank puts what a person should see first first.
func rank(what string) int {
	for i, w := range []string{"state", "lost", "strange", "duplicate", "reordered", "conflated"} {
		if w == what {
			return i
		}
	}
	return 9
}

func (f *findings) viewer(r *run, v *viewer, top uint64) {
	v.mu.Lock()
	defer v.mu.Unlock()
	f.duplicate += v.row.duplicate
	f.disorder += v.row.disorder
	f.strange += v.row.strange
	f.foreign += v.row.foreign
	f.torn += v.torn
	f.again += v.again
	f.pairs = append(f.pairs, v.row.worst...)
	if v.err != nil {
		f.endedViewers++
		if len(f.faults) < mostPairs {
			f.faults = append(f.faults, fmt.Sprintf("%s: %v", v.name, v.err))
		}
	}
	if v.torn > 0 && len(f.faults) < mostPairs {
		f.faults = append(f.faults, fmt.Sprintf("%s: %d frames whose position does not follow the one before", v.name, v.torn))
	}
	if v.role == slow {
		f.slowViewer(r, v, top)
		return
	}
	f.clients++
	f.expected += r.sends.Load()
	f.received += v.row.received
	state := v.row.state(r.cfg.Plan.places)
	if f.byState[state]++; f.byState[state] > f.mostState {
		f.state, f.mostState = state, f.byState[state]
	}
	if state == f.planned {
		f.agree++
	}
	f.senders(r, v, state != f.planned)
}

// slowViewer asks whether what it got and what it was spared is everything.
// Whoever has come to the same position has to show the same.
func (f *findings) slowViewer(r *run, v *viewer, top uint64) {
	f.slow++
	f.slowSkipped += v.spared
	switch {
	case v.err != nil:
	case v.at != top && v.row.foreign > 0: // others send, too
	case v.at != top:
		f.slowUnaccounted += int64(top - v.at)
		f.pairs = append(f.pairs, Pair{v.name, "all senders", "lost", fmt.Sprintf("position %d, as the others have", top), fmt.Sprintf("position %d", v.at)})
	case v.row.state(r.cfg.Plan.places) != f.planned:
		f.slowWrong++
		f.pairs = append(f.pairs, r.wrongPlaces(v)...)
	}
}

// wrongPlaces names the senders of which a viewer does not end with the newest place.
func (r *run) wrongPlaces(v *viewer) (pairs []Pair) {
	for turn := range r.cfg.Plan.Senders {
		if p, wrong := r.wrongPlace(v, turn); wrong && len(pairs) < mostPairs {
			pairs = append(pairs, p)
		}
	}
	return pairs
}

// wrongPlace tells whether a viewer ends with another place of a sender than its last.
func (r *run) wrongPlace(v *viewer, turn int) (Pair, bool) {
	p, c := r.cfg.Plan, &v.row.cells[turn]
	n := p.each(turn, r.sends.Load())
	at := p.places.at(turn, max(n, 1)-1)
	if n == 0 || c.lat == at.Lat && c.lon == at.Lon {
		return Pair{}, false
	}
	got := fmt.Sprintf("%.7f,%.7f", float64(c.lat)/1e7, float64(c.lon)/1e7)
	if seq, ok := p.places.seq(turn, c.lat, c.lon); ok {
		got += fmt.Sprintf(" (update %d)", int64(seq)+1)
	}
	return Pair{v.name, r.senderName(turn), "state", fmt.Sprintf("%.7f,%.7f (update %d) at the end", float64(at.Lat)/1e7, float64(at.Lon)/1e7, n), got}, true
}

// senders goes through what a viewer has of each sender.
func (f *findings) senders(r *run, v *viewer, wrong bool) {
	p := r.cfg.Plan
	sends := r.sends.Load()
	var lost, gaps int64
	named := len(f.pairs)
	name := func(turn int, what, want, got string) {
		if len(f.pairs)-named < mostPairs {
			f.pairs = append(f.pairs, Pair{v.name, r.senderName(turn), what, want, got})
		}
	}
	for turn := range p.Senders {
		n := p.each(turn, sends)
		c := &v.row.cells[turn]
		gap, first := v.row.missing(turn)
		if gap > 0 {
			gaps += gap
			name(turn, "lost", fmt.Sprintf("update %d of %d", first+1, n), fmt.Sprintf("nothing, then a newer one (%d missing)", gap))
		}
		if c.next < n {
			lost += int64(n - c.next)
			name(turn, "lost", fmt.Sprintf("update %d of %d", c.next+1, n), fmt.Sprintf("nothing after update %d", c.next))
			continue
		}
		if q, off := r.wrongPlace(v, turn); wrong && off {
			name(turn, q.What, q.Want, q.Got)
		}
	}
	f.pairs = append(f.pairs, v.row.odd...)
	// What the server says that it spared a viewer is conflated, as long as a newer one
	// came. What it says nothing about is lost, whether or not one came.
	announced := min(gaps, v.spared)
	f.conflated += announced
	f.superseded += gaps - announced
	f.lost += lost + gaps - announced
	if announced > 0 {
		for i := range f.pairs[named:] {
			if q := &f.pairs[named+i]; q.What == "lost" && announced == gaps && lost == 0 {
				q.What = "conflated"
			}
		}
	}
	f.missing = append(f.missing, lost+gaps)
}

func (f *findings) answers(p *publisher) {
	p.mu.Lock()
	defer p.mu.Unlock()
	f.right += p.right
	f.unanswered += int64(p.underway)
	f.unknown += p.unknown
	for why, n := range p.refused {
		f.refusals[why] += n
		f.refused += n
	}
}

// incorrect says what the server did wrong, in words, or nothing.
func (f *findings) incorrect() string {
	var parts []string
	add := func(n int64, what string) {
		if n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", n, what))
		}
	}
	add(f.lost, "lost")
	add(f.conflated, "conflated")
	add(f.duplicate, "duplicate")
	add(f.disorder, "out of order")
	add(f.strange, "that nobody sent")
	add(f.torn, "frames at a wrong position")
	add(f.slowUnaccounted, "neither delivered to a slow viewer nor said to be skipped")
	add(int64(f.clients-f.agree), "clients with a wrong final state")
	add(f.slowWrong, "slow viewers with a wrong final state")
	add(f.endedViewers, "viewers whose connection ended")
	add(f.refused, "reports refused")
	add(f.unanswered, "reports never answered")
	add(f.unknown, "answers to nothing")
	text := ""
	for i, p := range parts {
		if i > 0 {
			text += ", "
		}
		text += p
	}
	return text
}

func (r *run) result(ctx context.Context, o *outcome) (*load.Result, error) {
	res := load.NewResult(r.cfg.Version, r.cfg.Scenario)
	r.meter.End(context.WithoutCancel(ctx), res)
	r.leave()
	if r.shards.pending() { // what came behind the last interval
		o.intervals = append(o.intervals, o.cutter.cut())
		o.took = max(o.took, r.now()-o.cutter.zero)
	}
	f := r.verify()
	res.Started, res.DurationNS = load.Instant{Time: o.began}, int64(o.took)
	res.WarmupNS = int64(r.cfg.Plan.When(r.warm))
	if r.warm == 0 {
		res.WarmupNS = 0
	}
	res.Partial = o.partial || o.died != nil
	res.Scenario.Seed, res.Scenario.Plan = r.cfg.Plan.Seed, r.cfg.Plan.SHA256()
	res.Target.Kind = "trackerd"
	res.Intervals = o.intervals
	r.count(res, f)
	r.rates(res, o)
	res.Latency["response"], res.Latency["service"] = r.total.response.Summary(), r.total.service.Summary()
	res.Latency["send_lag"], res.Latency["connect"] = r.sender.lag.Summary(), r.connect.Summary()
	r.consistency(res, f)
	r.findings(res, f)
	r.fail(res, o, f)
	res.Judge(r.evidence(res, o))
	return res, errors.Join(res.Check(), f.check())
}

// count fills in the counts. Those of the warm-up are in none of them, but nothing of it
// may be lost either.
func (r *run) count(res *load.Result, f *findings) {
	c := &res.Counts
	warm := min(r.warm, r.sends.Load())
	c.Planned, c.Sent = r.cfg.Plan.Sends-r.warm, r.sent.Load()
	c.Accepted = max(0, c.Sent-f.refused-f.unanswered)
	c.Lost = c.Sent - c.Accepted
	if n := c.Planned - c.Sent; n > 0 {
		c.Errors["unsent"] = n
	}
	if n := r.unsent.Load(); n > 0 {
		c.Errors["socket"] = n
	}
	if f.unanswered > 0 {
		c.Errors["unanswered"] = f.unanswered
	}
	for why, n := range f.refusals {
		c.Errors[why] = n
	}
	expected := f.expected - warm*r.usual()
	d := &load.Deliveries{
		Expected: expected, Lost: f.lost, Conflated: f.conflated, Duplicate: f.duplicate, OutOfOrder: f.disorder,
		Received: max(0, expected-f.lost-f.conflated), Frames: r.total.frames,
	}
	if f.lost+f.conflated > 0 {
		d.Missing = f.missing
	}
	for _, n := range f.missing {
		res.Completeness = append(res.Completeness, 1-float64(n)/float64(max(1, r.sends.Load())))
	}
	c.Deliveries, c.Frames, c.BytesIn = d, r.total.frames, r.total.bytes
	c.Faults = f.faults
	if r.churn != nil {
		c.Faults = append(c.Faults, r.churn.faults...)
	}
}

func (r *run) rates(res *load.Result, o *outcome) {
	p := r.cfg.Plan
	measured := max(p.Ideal()-time.Duration(res.WarmupNS), time.Nanosecond)
	sending := max(o.sending, time.Nanosecond)
	if !res.Partial {
		sending = min(max(sending, measured), max(o.took, 1)) // the last send lies before the end of its interval
	}
	res.Rates["offered_per_s"] = float64(res.Counts.Planned) / measured.Seconds()
	res.Rates["achieved_per_s"] = float64(res.Counts.Sent) / sending.Seconds()
	if p.Pacing == Sleep {
		res.Rates["offered_per_s"] = res.Rates["achieved_per_s"] // it waits for nobody's schedule
	}
	res.Rates["deliveries_per_s"] = float64(r.total.received) / max(sending, r.total.last-time.Duration(res.WarmupNS)).Seconds()
	res.Rates["frames_per_s"] = float64(r.total.frames) / sending.Seconds()
	res.Rates["bytes_per_s"] = float64(r.total.bytes) / sending.Seconds()
	if r.total.frames > 0 {
		res.Rates["updates_per_frame"] = float64(r.total.received) / float64(r.total.frames)
		res.Rates["bytes_per_frame"] = float64(r.total.bytes) / float64(r.total.frames)
	}
	if s := res.Resources.Server; s != nil && r.total.received > 0 {
		res.Rates["server_cpu_us_per_delivery"] = 1e6 * s.CPUSeconds / float64(r.total.received)
	}
	if r.total.received > 0 {
		res.Rates["client_cpu_us_per_delivery"] = 1e6 * res.Resources.Client.CPUSeconds / float64(r.total.received)
	}
	if p.Every > 0 && !res.Partial {
		res.Rates["elapsed_s"] = r.total.last.Seconds()
		res.Rates["ideal_s"] = p.Ideal().Seconds()
		res.Rates["elapsed_ratio"] = r.total.last.Seconds() / p.Ideal().Seconds()
	}
	if n := r.sends.Load(); n > 0 {
		res.Rates["drain_s"] = max(0, (r.total.last - r.due(n-1)).Seconds())
	}
}

func (r *run) consistency(res *load.Result, f *findings) {
	c := &load.Consistency{Clients: f.clients, Agree: f.agree, State: fmt.Sprintf("%016x", f.state), Planned: fmt.Sprintf("%016x", f.planned)}
	for _, p := range f.pairs {
		c.Mismatches = append(c.Mismatches, load.Mismatch{Receiver: p.Receiver, Sender: p.Sender, Want: p.Want, Got: p.What + ": " + p.Got})
	}
	res.Consistency = c
}

func (r *run) findings(res *load.Result, f *findings) {
	m := map[string]any{"superseded": f.superseded, "strange": f.strange, "foreign": f.foreign, "snapshots_again": f.again, "viewers_ended": f.endedViewers}
	if f.slow > 0 {
		m["slow"] = map[string]any{"viewers": f.slow, "skipped": f.slowSkipped, "unaccounted": f.slowUnaccounted}
	}
	if c := r.churn; c != nil {
		m["churn"] = map[string]any{"visits": c.visits, "failed": c.failed, "gaps": c.torn}
		res.Latency["rejoin"] = c.first.Summary()
	}
	res.Findings = m
}

// fail says what the server did wrong.
func (r *run) fail(res *load.Result, o *outcome, f *findings) {
	if o.died != nil {
		res.Fail(load.TargetGone, "see the server's log", "%v", o.died)
		return
	}
	if c := r.churn; c != nil && c.failed+c.torn > 0 {
		res.Fail(load.Incorrect, "", "of %d visits %d failed, and %d frames or updates were wrong: %s", c.visits, c.failed, c.torn, c.faults[0])
	}
	wrong := f.incorrect()
	if wrong == "" {
		return
	}
	hint := ""
	switch {
	case f.conflated > 0 && f.lost == 0:
		hint = "the server says that it skipped them for viewers that were too slow; their final state is right"
	case f.superseded > 0 && f.superseded == f.lost:
		hint = "each was followed by a newer one of the same sender: a server that conflates without saying so looks like that"
	}
	res.Fail(load.Incorrect, hint, "of %d deliveries: %s%s", f.expected, wrong, f.where())
}

// where names one of the pairs between which something went wrong.
func (f *findings) where() string {
	if len(f.pairs) == 0 {
		return ""
	}
	p := f.pairs[0]
	return fmt.Sprintf("; %s of %s: want %s, got %s: %s", p.Receiver, p.Sender, p.Want, p.What, p.Got)
}

func (r *run) evidence(res *load.Result, o *outcome) load.Evidence {
	e := load.Evidence{
		Late: r.late.Load(), Pressed: r.pressed.Load(), MostInMS: r.sender.bunches.Most(), Queued: r.queued.Load(),
		Rate: res.Rates["deliveries_per_s"], Loopback: r.cfg.Loopback, Lost: res.Counts.Lost,
		Busiest: 1 - r.sender.slept.Seconds()/math.Max(1e-9, (o.sending+time.Duration(res.WarmupNS)).Seconds()),
		Plan:    r.cfg.Plan.shape(),
	}
	if !o.drained && !res.Partial {
		e.Unended = "draining"
	}
	return e
}

// shape is the plan as a rate of sends.
func (p *Plan) shape() load.Plan {
	switch {
	case p.Every == 0:
		return p.rate
	case p.Phase == Burst:
		return load.Bursts(int64(p.Senders), p.Every)
	}
	return load.Constant(float64(p.Senders) / p.Every.Seconds())
}

// check holds the sums of the rows against each other.
func (f *findings) check() error {
	if f.received+f.lost+f.conflated != f.expected {
		return fmt.Errorf("%w: %d received, %d lost and %d conflated of %d", load.ErrUnsound, f.received, f.lost, f.conflated, f.expected)
	}
	return nil
}
