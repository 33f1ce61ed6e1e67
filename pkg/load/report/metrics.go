package report

import (
	"strings"

	"tracker/pkg/load"
)

// better is the direction in which a figure improves.
type better string

const (
	lower   better = "lower"
	higher  better = "higher"
	neither better = "" // it says what was done, not how well
)

// metric is one figure of a result that can be compared.
type metric struct {
	key    string // "response p99": the same in every format
	unit   string // of its bare value: ns, /s, B, share, cores
	better better
	show   func(float64) string
	// value is the figure of the whole run, if it has one.
	value func(*view) (float64, bool)
	// part is the figure of any selection of the run's slots, told by their places, for
	// intervals within a run; nil where the course of the run does not tell it.
	part func(v *view, pick []int) (float64, bool)
}

// metrics are all figures, in the order in which they are told.
func metrics() []metric {
	var list []metric
	for _, p := range []float64{50, 90, 99, 99.9} {
		list = append(list, latencyMetric("response", p))
	}
	list = append(list, latencyMetric("service", 50), latencyMetric("service", 99), latencyMetric("connect", 99), latencyMetric("send_lag", 99))
	for _, k := range []string{"achieved_per_s", "accepted_per_s", "deliveries_per_s", "answered_per_s"} {
		list = append(list, rateMetric(k))
	}
	list = append(list,
		metric{key: "offered", unit: "/s", show: per, value: rateOf("offered_per_s")},
		metric{key: "lost", unit: "share", better: lower, show: share, value: lossOf},
		costMetric("server CPU", "ns", func(v *view) (float64, bool) {
			if v.Resources.Server == nil {
				return 0, false
			}
			return 1e9 * v.Resources.Server.CPUSeconds, true
		}, true),
		costMetric("client CPU", "ns", func(v *view) (float64, bool) { return 1e9 * v.Resources.Client.CPUSeconds, true }, true),
		costMetric("server memory", "B", func(v *view) (float64, bool) {
			if v.Resources.Server == nil {
				return 0, false
			}
			return float64(v.Resources.Server.RSS), true
		}, false),
	)
	return list
}

func latencyMetric(k string, p float64) metric {
	m := metric{key: strings.ReplaceAll(k, "_", " ") + " " + nines(p), unit: "ns", better: lower, show: dur}
	m.value = func(v *view) (float64, bool) {
		if h, ok := v.hists[k]; ok && h.total > 0 {
			return float64(h.at(p)), h.firm(p)
		}
		s := v.Latency[k]
		d, ok := s.Quantile(strings.TrimPrefix(nines(p), "p"))
		return float64(d), ok
	}
	if k == "response" {
		m.part = func(v *view, pick []int) (float64, bool) { return v.course().at(pick, p) }
	}
	return m
}

func rateOf(k string) func(*view) (float64, bool) {
	return func(v *view) (float64, bool) { x, ok := v.Rates[k]; return x, ok && x > 0 }
}

func rateMetric(k string) metric {
	name, _ := rateName(k)
	m := metric{key: name, unit: "/s", better: higher, show: per, value: rateOf(k)}
	n := func(s *slot) int64 { return s.received }
	if k == "achieved_per_s" {
		n = func(s *slot) int64 { return s.sent }
	}
	if k != "accepted_per_s" { // the course of a run does not tell what was accepted
		m.part = func(v *view, pick []int) (float64, bool) {
			var sum int64
			var long float64
			for _, i := range pick {
				sum, long = sum+n(&v.slots[i]), long+v.slots[i].long()
			}
			return float64(sum) / long, sum > 0
		}
	}
	return m
}

func lossOf(v *view) (float64, bool) {
	c := &v.Counts
	if d := c.Deliveries; d != nil && d.Expected > 0 {
		return float64(max(0, d.Lost)) / float64(d.Expected), true
	}
	return float64(max(0, c.Lost)) / float64(max(1, c.Sent)), c.Sent > 0
}

// costMetric is what the run took, for each unit of work where that makes sense.
func costMetric(name, unit string, cost func(*view) (float64, bool), each bool) metric {
	m := metric{key: name, unit: unit, better: lower, show: size}
	if each {
		m.key, m.show = name+" each", dur
	}
	m.value = func(v *view) (float64, bool) {
		x, ok := cost(v)
		if each {
			n := work(v.Result)
			if n == 0 {
				return 0, false
			}
			x /= n
		}
		return x, ok && x > 0
	}
	return m
}

// work is how many deliveries, fixes or calls were carried out.
func work(r *load.Result) float64 { return float64(max(r.Counts.Accepted, received(r), 0)) }
