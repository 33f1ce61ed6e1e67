package report

import (
	"slices"

	"tracker/pkg/load"
)

// view is a result made ready to be drawn: histograms unpacked, and intervals put
// together until they are few enough to be seen apart.
type view struct {
	*load.Result
	hists map[string]hist // by latency
	slots []slot
	every int // intervals in a slot

	laid *course // made when it is first asked for
}

// slot is a stretch of time that is drawn as one.
type slot struct {
	from, to            float64 // seconds
	offered, sent       int64
	received, lost      int64
	backlog, late       int64
	clientCPU           float64 // cores
	serverCPU           float64
	hasClient, hasServe bool
	lagP99, lagMax      int64
	hasLag, hasLagP99   bool
	hist                hist
	marks               []string
}

const maxSlots = 180

func (s *slot) long() float64 { return s.to - s.from }

// rate is a count of the slot, a second.
func (s *slot) rate(n int64) float64 { return float64(n) / s.long() }

func look(r *load.Result) (*view, error) {
	v := &view{Result: r, hists: map[string]hist{}}
	for k, l := range r.Latency {
		h, err := parseHist(l.HDR)
		if err != nil {
			return nil, err
		}
		v.hists[k] = h
	}
	v.every = max(1, (len(r.Intervals)+maxSlots-1)/maxSlots)
	for some := range slices.Chunk(r.Intervals, v.every) {
		s, err := slotOf(some)
		if err != nil {
			return nil, err
		}
		v.slots = append(v.slots, s)
	}
	return v, nil
}

// slotOf puts intervals together: counts are added, cores averaged over time. Of the
// lag's percentiles the worst stands for all, since they cannot be put together.
func slotOf(some []load.Interval) (slot, error) {
	first, last := &some[0], &some[len(some)-1]
	s := slot{from: float64(first.TNS) / 1e9, to: float64(last.TNS+last.LenNS) / 1e9}
	var hists []hist
	var client, server float64
	for i := range some {
		iv := &some[i]
		long := float64(iv.LenNS) / 1e9
		s.offered += iv.Offered
		s.sent += iv.Sent
		s.received += iv.Received
		s.lost += iv.Lost
		s.late += iv.Late
		s.backlog = iv.Backlog
		if iv.ClientCPU != nil {
			s.clientCPU, client = s.clientCPU+*iv.ClientCPU*long, client+long
		}
		if iv.ServerCPU != nil {
			s.serverCPU, server = s.serverCPU+*iv.ServerCPU*long, server+long
		}
		if iv.LagP99NS != nil {
			s.lagP99, s.hasLag, s.hasLagP99 = max(s.lagP99, *iv.LagP99NS), true, true
		}
		if iv.LagMaxNS != nil {
			s.lagMax, s.hasLag = max(s.lagMax, *iv.LagMaxNS), true
		}
		for _, m := range iv.Marks {
			if !slices.Contains(s.marks, m) {
				s.marks = append(s.marks, m)
			}
		}
		h, err := parseHist(iv.HDR)
		if err != nil {
			return s, err
		}
		hists = append(hists, h)
	}
	if s.hasClient = client > 0; s.hasClient {
		s.clientCPU /= client
	}
	if s.hasServe = server > 0; s.hasServe {
		s.serverCPU /= server
	}
	s.hist = merge(hists...)
	return s, nil
}

// any tells whether something holds in at least one slot.
func (v *view) any(holds func(*slot) bool) bool {
	return slices.ContainsFunc(v.slots, func(s slot) bool { return holds(&s) })
}

// span is the time that the slots cover, in seconds.
func (v *view) span() (from, to float64) {
	if len(v.slots) == 0 {
		return 0, 1
	}
	return v.slots[0].from, v.slots[len(v.slots)-1].to
}

// order is how latencies are told: those that everybody asks for first.
var order = []string{"response", "service", "send_lag", "connect"}

// latencies are the names of the histograms, in the order in which they are told.
func (v *view) latencies() []string {
	var names []string
	for _, k := range order {
		if _, ok := v.hists[k]; ok {
			names = append(names, k)
		}
	}
	for _, k := range sorted(v.hists) {
		if !slices.Contains(order, k) {
			names = append(names, k)
		}
	}
	return names
}

// course is the histograms of the slots laid over one common row of bars, so that any
// selection of slots is added up fast.
type course struct {
	values []int64 // the highest of each bar
	slots  [][]counter
	sum    []int64 // scratch
}

type counter struct {
	at int // of the bar
	n  int64
}

func (v *view) course() *course {
	if v.laid != nil {
		return v.laid
	}
	all := make([]hist, len(v.slots))
	for i := range v.slots {
		all[i] = v.slots[i].hist
	}
	union := merge(all...)
	c := &course{values: make([]int64, len(union.bars)), slots: make([][]counter, len(v.slots)), sum: make([]int64, len(union.bars))}
	for i, b := range union.bars {
		c.values[i] = b.hi
	}
	for i := range v.slots {
		at := 0
		for _, b := range v.slots[i].hist.bars {
			for union.bars[at].lo != b.lo || union.bars[at].hi != b.hi {
				at++
			}
			c.slots[i] = append(c.slots[i], counter{at, b.n})
		}
	}
	v.laid = c
	return c
}

// at is a percentile of the selected slots together.
func (c *course) at(pick []int, p float64) (float64, bool) {
	clear(c.sum)
	var total int64
	for _, i := range pick {
		for _, k := range c.slots[i] {
			c.sum[k.at] += k.n
			total += k.n
		}
	}
	if total == 0 || !firm(p, total) {
		return 0, false
	}
	rank := rankOf(p, total)
	for i, n := range c.sum {
		if rank -= n; rank <= 0 {
			return float64(c.values[i]), true
		}
	}
	return 0, false
}
