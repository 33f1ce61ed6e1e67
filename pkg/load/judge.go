package load

import (
	"fmt"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// Evidence is what a verdict is made from. Zero fields are not held against a run.
type Evidence struct {
	Env            Env
	TimerOvershoot time.Duration
	Hiccup         Summary
	Client         ClientUsage
	Others         float64 // processors that everybody else used, if OthersKnown
	OthersKnown    bool
	Took           time.Duration

	Closed            bool    // the loop: sends wait for answers
	Depth             int     // sends under way at once on a connection, if more than one is
	Plan              Plan    // what was to be sent; zero in a closed loop
	Offered, Achieved float64 // sends a second
	Sent              int64
	Late              int64 // sends that got away more than 1 ms after they were due
	Pressed           int64 // those of Late that had to wait for the server: no room in its window, or its socket
	MostInMS          int64 // sends that got away in one and the same millisecond, see Bunches
	Queued            int64 // the most times of due sends that waited in the client

	Rate    float64 // headline, for Ceiling; 0: Achieved
	Ceiling float64 // what this client reaches against a server that does nothing
	Busiest float64 // share of its time that the busiest sending loop worked, 0..1
	Floor   *Summary

	Latency   *Summary // response: from the moment due
	Service   *Summary // from the actual send
	Intervals []Interval
	Loopback  bool
	NagleOn   bool          // TCP_NODELAY was not set
	OneWay    bool          // the latency compares clocks of two machines,
	Skew      time.Duration // which differ by up to this
	Unended   string        // a phase that its deadline ended, "" if none
	Lost      int64         // of Sent, with where in Where
	Where     map[string]int64
}

// Limits beyond which a run is in doubt.
const (
	busyClient    = 0.85 // of the processors that it may use
	busyLoop      = 0.9
	nearCeiling   = 0.8
	starvedShare  = 0.5 // of its time a thread that only sleeps was kept from waking
	lateShare     = 0.01
	achievedShare = 0.99
	coarseTimer   = time.Millisecond
	hiccupShare   = 0.2 // of the measured p99
	stealLimit    = 1.0 // percent
	pressureLimit = 10.0
	othersLimit   = 0.2 // processors
	apartTimes    = 2.0 // response against service
	bunchTimes    = 10.0
	fewest        = 20 // sends in a millisecond that are worth a word
	steadyWithin  = 0.1
	manyQueued    = 1 << 20
	floorShare    = 0.2
)

// Judge adds the warnings that the evidence asks for.
func (v *Verdict) Judge(e Evidence) {
	v.judgeClient(&e)
	v.judgeSchedule(&e)
	v.judgeTimes(&e)
	v.judgeMachine(&e)
	v.judgeNetwork(&e)
	v.judgeCourse(&e)
}

// judgeClient asks whether the instrument was the limit.
func (v *Verdict) judgeClient(e *Evidence) {
	if why, evidence := e.clientBound(); why != "" {
		v.Warn("W01", Doubt, evidence, "CLIENT-BOUND: %s; the server can do at least this", why)
	}
	if e.TimerOvershoot > coarseTimer {
		v.Warn("W05", Info, map[string]any{"p99_ns": int64(e.TimerOvershoot)}, "this machine's timer oversleeps by %v: sends go out in batches", e.TimerOvershoot)
	}
	if e.Queued > manyQueued {
		v.Warn("W19", Info, map[string]any{"queued": e.Queued}, "%d due sends waited in the client at once: 8 bytes each, and the plan is far ahead of what goes out", e.Queued)
	}
	if e.Latency == nil {
		return
	}
	p99, known := e.Latency.Quantile("99")
	if hiccup, ok := e.Hiccup.Quantile("99"); ok && known && float64(hiccup) > hiccupShare*float64(p99) {
		v.Warn("W06", Doubt, map[string]any{"hiccup_p99_ns": int64(hiccup), "p99_ns": int64(p99), "gc_pause_max_ns": e.Client.GCPauseMaxNS},
			"a thread that wanted nothing woke up %s late at p99, beside a measured %s", brief(hiccup), brief(p99))
	}
	if e.Floor != nil {
		v.judgeFloor(e)
	}
}

// clientBound says in words why the client was the limit, or nothing.
func (e *Evidence) clientBound() (why string, evidence map[string]any) {
	allowed := e.Env.Allowed()
	if e.Took > 0 && allowed > 0 {
		if used := e.Client.CPUSeconds / e.Took.Seconds(); used >= busyClient*allowed {
			return fmt.Sprintf("this program used %.2f of the %.2f processors that it may use", used, allowed),
				map[string]any{"cpu_share": used / allowed, "cores": allowed}
		}
	}
	rate := e.Rate
	if rate == 0 {
		rate = e.Achieved
	}
	if e.Ceiling > 0 && rate >= nearCeiling*e.Ceiling {
		return fmt.Sprintf("%.0f/s is %.0f %% of what this program reaches against a server that does nothing", rate, 100*rate/e.Ceiling),
			map[string]any{"rate_per_s": rate, "null_ceiling_per_s": e.Ceiling}
	}
	if e.Busiest > busyLoop {
		return fmt.Sprintf("the busiest sending loop worked %.0f %% of the time", 100*e.Busiest), map[string]any{"loop_busy": e.Busiest}
	}
	if kept := e.Hiccup.Mean * float64(e.Hiccup.N); e.Took > 0 && kept > starvedShare*float64(e.Took) {
		return fmt.Sprintf("this program was kept from running for %.0f %% of the time", 100*kept/float64(e.Took)),
			map[string]any{"starved_share": kept / float64(e.Took)}
	}
	return "", nil
}

// judgeFloor tells what of the latency is the instrument's own. It is told, and never
// subtracted: percentiles cannot be.
func (v *Verdict) judgeFloor(e *Evidence) {
	floor, ok := e.Floor.Quantile("50")
	p50, known := e.Latency.Quantile("50")
	if ok && known && float64(floor) > floorShare*float64(p50) {
		v.Warn("W21", Info, map[string]any{"floor_p50_ns": int64(floor), "p50_ns": int64(p50)},
			"against a server that does nothing p50 is %s already, of %s here; nothing is subtracted", brief(floor), brief(p50))
	}
}

// judgeSchedule asks whether what was planned is what happened.
func (v *Verdict) judgeSchedule(e *Evidence) {
	if e.Closed {
		v.Warn("W03", Info, nil, "closed loop: a server that stalls is sent less meanwhile, so its latency looks better than callers would feel; --rate measures from when a call was due")
	}
	if e.Depth > 1 {
		v.Warn("W20", Info, map[string]any{"depth": e.Depth}, "%d under way at once on a connection: rate and latency are those of batches, and compare only at the same depth", e.Depth)
	}
	if e.Sent > 0 && (float64(e.Late) > lateShare*float64(e.Sent) || e.Achieved < achievedShare*e.Offered) {
		reached := ""
		if e.Offered > 0 {
			reached = fmt.Sprintf(", %.0f/s of %.0f/s were reached", e.Achieved, e.Offered)
		}
		v.Warn("W02", Doubt, map[string]any{"late": e.Late, "late_client": e.Late - e.Pressed, "late_server": e.Pressed, "sent": e.Sent, "offered_per_s": e.Offered, "achieved_per_s": e.Achieved},
			"the schedule was not kept: %.1f %% of the sends were more than 1 ms late (client lag %.1f %%, server back-pressure %.1f %%)%s",
			share(e.Late, e.Sent), share(e.Late-e.Pressed, e.Sent), share(e.Pressed, e.Sent), reached)
	}
	if per := e.Plan.Peak() / 1e3; per > 0 && !e.Plan.Bursty() && e.MostInMS >= fewest && float64(e.MostInMS) > bunchTimes*per {
		v.Warn("W11", Doubt, map[string]any{"most_in_ms": e.MostInMS, "planned_in_ms": per},
			"%d sends went out in one millisecond, where the plan has %.2g: the percentiles describe these bursts", e.MostInMS, per)
	}
	if e.Unended != "" {
		v.Warn("W18", Doubt, map[string]any{"phase": e.Unended}, "%s did not end by itself and was cut off", e.Unended)
	}
}

func share(n, of int64) float64 { return 100 * float64(n) / float64(max(1, of)) }

// judgeTimes asks whether the latencies can be what they say.
func (v *Verdict) judgeTimes(e *Evidence) {
	l := e.Latency
	if l == nil {
		return
	}
	if e.Service != nil {
		response, ok := l.Quantile("99")
		service, known := e.Service.Quantile("99")
		if ok && known && float64(response) > apartTimes*float64(service) {
			v.Warn("W03", Info, map[string]any{"response_p99_ns": int64(response), "service_p99_ns": int64(service)},
				"p99 is %s from the moment due and only %s from the actual send: whoever counts from the send (coordinated omission) does not see the wait", brief(response), brief(service))
		}
	}
	if n := l.Negative; n > 0 {
		v.Warn("W09", Doubt, map[string]any{"negative": n}, "%d arrived before they were sent: the clocks disagree", n)
	}
	if e.OneWay {
		v.Warn("W09", Info, map[string]any{"bound_ns": int64(e.Skew)}, "sender and receiver have clocks of their own: each latency is good to %s", brief(e.Skew))
	}
	if l.Overflow > 0 {
		v.Warn("W12", Doubt, map[string]any{"overflow": l.Overflow}, "%d latencies were over 60 s and are in no percentile", l.Overflow)
	}
	if e.NagleOn {
		v.Warn("W10", Doubt, nil, "TCP_NODELAY is not set: small writes wait for the answer to earlier ones")
	}
	if n := delayedAcks(l); n > 0 {
		v.Warn("W10", Doubt, map[string]any{"samples": n}, "%d latencies (%.1f %%) lie at 40 ms with nothing just below: a delayed ACK meets Nagle's algorithm, at the server or a proxy", n, share(n, l.N))
	}
}

// delayedAcks counts latencies of about 40 ms if they stand out: one in a hundred or
// more of all, and next to none in the gap below them.
func delayedAcks(l *Summary) int64 {
	h := decode(l.HDR)
	if h == nil {
		return 0
	}
	const ms = int64(time.Millisecond)
	var gap, floor int64
	for _, b := range h.Distribution() {
		switch {
		case b.From >= 25*ms && b.To < 38*ms:
			gap += b.Count
		case b.From >= 38*ms && b.To <= 46*ms:
			floor += b.Count
		}
	}
	if floor*100 < h.TotalCount() || gap*20 > floor || floor < tail {
		return 0
	}
	return floor
}

// decode reads a histogram as Summary and Interval hold it, nil if there is none.
func decode(hdr string) *hdrhistogram.Histogram {
	if hdr == "" {
		return nil
	}
	h, err := hdrhistogram.Decode([]byte(hdr))
	if err != nil {
		return nil
	}
	return h
}

// judgeMachine asks whether the machine was ours.
func (v *Verdict) judgeMachine(e *Evidence) {
	if s := e.Env.StealPct; s != nil && *s > stealLimit {
		v.Warn("W07", Doubt, map[string]any{"steal_pct": *s}, "the hypervisor took %.1f %% of the CPU time away", *s)
	}
	if n := e.Env.Throttled; n != nil && *n > 0 {
		v.Warn("W07", Doubt, map[string]any{"throttled": *n}, "the control group was throttled %d times", *n)
	}
	if p := e.Env.PSI; p != nil && *p > pressureLimit {
		e.pressed(v, *p)
	}
	if e.Others > othersLimit {
		v.Warn("W07", Doubt, map[string]any{"others_cores": e.Others}, "other processes used %.2f cores meanwhile", e.Others)
	}
}

// pressed judges that somebody waited for a CPU. Both sides of a run wait for each other's
// on a small machine, which is part of what is measured; only neighbours are a doubt, and
// who they were is known where the time of both sides is.
func (e *Evidence) pressed(v *Verdict, psi float64) {
	evidence := map[string]any{"psi": psi}
	if e.OthersKnown && e.Others <= othersLimit {
		v.Warn("W07", Info, evidence, "in %.0f %% of the last minute somebody waited for a CPU: this run itself, others used %.2f cores", psi, e.Others)
		return
	}
	v.Warn("W07", Doubt, evidence, "in %.0f %% of the last minute somebody waited for a CPU", psi)
}

// judgeNetwork asks what the way between both sides did.
func (v *Verdict) judgeNetwork(e *Evidence) {
	if e.Loopback {
		v.Warn("W08", Info, map[string]any{"tcp_cc": e.Env.TCPCC}, "loopback, and both sides share the machine: not comparable with a network")
	}
	if e.Lost > 0 {
		v.Warn("W15", Info, map[string]any{"lost": e.Lost, "dropped": e.Where, "udp_rcvbuf_errors": e.Env.UDPErrors, "udp_sndbuf_errors": e.Env.SndErrors},
			"%d of %d fixes did not arrive (%.3f %%)%s", e.Lost, e.Sent, share(e.Lost, e.Sent), e.where())
	}
	overflows, syns := e.Env.Overflows, e.Env.SynRetrans
	if overflows != nil && *overflows > 0 || syns != nil && *syns > 0 {
		v.Warn("W16", Doubt, map[string]any{"listen_overflows": overflows, "syn_retrans": syns},
			"connections had to knock again: %d overflows of a listen queue, %d first packets sent again", of(overflows), of(syns))
	}
}

// where names the places of this machine that dropped datagrams.
func (e *Evidence) where() string {
	text := ""
	if n := of(e.Env.UDPErrors); n > 0 {
		text += fmt.Sprintf("; %d found a full receive buffer", n)
	}
	if n := of(e.Env.SndErrors); n > 0 {
		text += fmt.Sprintf("; %d found a full send buffer", n)
	}
	return text
}

func of(n *int64) int64 {
	if n == nil {
		return 0
	}
	return *n
}

// judgeCourse asks whether the end of the run was like its beginning. A plan that
// changes its rate is not held to that.
func (v *Verdict) judgeCourse(e *Evidence) {
	if !e.Plan.Steady() {
		return
	}
	first, last := thirds(e.Intervals)
	if len(first) == 0 {
		return
	}
	was, is := backlog(first), backlog(last)
	if grown := is - was; grown > max(fewest, 0.01*float64(e.Sent)) && is > 2*was {
		v.Warn("W13", Doubt, map[string]any{"backlog_first_third": was, "backlog_last_third": is},
			"rate above capacity: the backlog grew from %.0f to %.0f, so latency grows with the length of the run; --find-max looks for the highest rate that holds", was, is)
		return
	}
	if was, is, ok := medians(first, last); ok && differ(was, is) {
		v.Warn("W14", Doubt, map[string]any{"p50_first_third_ns": int64(was), "p50_last_third_ns": int64(is)},
			"not steady: p50 was %s in the first third and %s in the last one; try a longer --warmup", brief(was), brief(is))
	}
}

// differ tells whether two medians differ by more than a tenth, and by more than the
// grain of the timers.
func differ(a, b time.Duration) bool {
	d := (a - b).Abs()
	return float64(d) > steadyWithin*float64(max(a, b)) && d > 100*time.Microsecond
}

// thirds are the first and last third of the intervals; the last interval is left out,
// as it is short. Nothing if they are too few to say anything.
func thirds(all []Interval) (first, last []Interval) {
	if len(all) < 4 {
		return nil, nil
	}
	all = all[:len(all)-1]
	n := len(all) / 3
	return all[:n], all[len(all)-n:]
}

func backlog(list []Interval) float64 {
	sum := 0.0
	for _, iv := range list {
		sum += float64(iv.Backlog)
	}
	return sum / float64(len(list))
}

// medians of the response times of two lists of intervals, if both mean something.
func medians(first, last []Interval) (a, b time.Duration, ok bool) {
	h, g := merged(first), merged(last)
	if h == nil || g == nil || h.TotalCount() < 2*tail || g.TotalCount() < 2*tail {
		return 0, 0, false
	}
	return time.Duration(h.ValueAtQuantile(50)), time.Duration(g.ValueAtQuantile(50)), true
}

func merged(list []Interval) (sum *hdrhistogram.Histogram) {
	for i := range list {
		h := decode(list[i].HDR)
		if h == nil {
			continue
		}
		if sum == nil {
			sum = h
			continue
		}
		sum.Merge(h)
	}
	return sum
}

// Judge completes the evidence with what the result knows itself, and judges it.
func (r *Result) Judge(e Evidence) {
	e.Env, e.Hiccup, e.Client = r.Env, r.Calibration.Hiccup, r.Resources.Client
	e.TimerOvershoot, e.Took = time.Duration(r.Calibration.TimerOvershootP99), time.Duration(r.DurationNS)
	if o := r.Resources.Others; o != nil && e.Took > 0 {
		e.Others, e.OthersKnown = *o/e.Took.Seconds(), true
	}
	e.Sent, e.Intervals = r.Counts.Sent, r.Intervals
	e.Closed = r.Scenario.Loop == "closed"
	if !r.Partial && !e.Closed {
		e.Offered, e.Achieved = r.Rates["offered_per_s"], r.Rates["achieved_per_s"]
	}
	if e.Ceiling == 0 {
		e.Ceiling = r.Calibration.NullCeiling
	}
	if e.Floor == nil {
		e.Floor = r.Calibration.Floor
	}
	if l, ok := r.Latency["response"]; ok && l.N > 0 {
		e.Latency = &l
	}
	if l, ok := r.Latency["service"]; ok && l.N > 0 {
		e.Service = &l
	}
	r.Verdict.Judge(e)
}

// ClientBound tells whether the client was the limit: figures are then lower bounds, and
// are told as such.
func (r *Result) ClientBound() bool { return r.Verdict.Has("W01") }

// Bunches counts how many sends went out in one and the same millisecond. It belongs to
// one goroutine.
type Bunches struct {
	ms   int64
	n    int64
	most int64
}

// Note counts n sends that go out t after the start.
func (b *Bunches) Note(t time.Duration, n int64) {
	if ms := int64(t / time.Millisecond); ms != b.ms {
		b.ms, b.n = ms, 0
	}
	b.n += n
	b.most = max(b.most, b.n)
}

// Most is the most of them.
func (b *Bunches) Most() int64 { return b.most }

// MergeHDR brings two histograms together, as Summary and Interval hold them.
func MergeHDR(a, b string) string {
	h, g := decode(a), decode(b)
	switch {
	case h == nil:
		return b
	case g == nil || g.TotalCount() == 0:
		return a
	}
	h.Merge(g)
	out, err := h.Encode(hdrhistogram.V2CompressedEncodingCookieBase)
	if err != nil {
		return a
	}
	return string(out)
}
