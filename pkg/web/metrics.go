package web

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/VictoriaMetrics/metrics"

	"tracker/pkg/hub"
)

// stats is what this door counts itself.
type stats struct {
	set         *metrics.Set
	gateRefused atomic.Uint64 // connections turned away at the gate
	badTokens   atomic.Uint64
	opened      atomic.Uint64 // WebSockets
	closed      atomic.Uint64
	tooSlow     atomic.Uint64 // of those, for taking nothing
	silent      atomic.Uint64 // of those, for not answering pings
	framesOut   atomic.Uint64
	bytesOut    atomic.Uint64
}

func (s *stats) init() { s.set = metrics.NewSet() }

func (s *stats) request(route string, status int, took time.Duration) {
	s.set.GetOrCreateCounter(fmt.Sprintf(`tracker_http_requests_total{route=%q,code="%d"}`, route, status)).Inc()
	s.set.GetOrCreateHistogram(fmt.Sprintf(`tracker_http_request_seconds{route=%q}`, route)).Update(took.Seconds())
}

func (s *stats) sessionEnded(why *closing) {
	switch why {
	case tooSlow:
		s.tooSlow.Add(1)
	case wentSilent:
		s.silent.Add(1)
	}
}

// count is one number under its name.
type count struct {
	name  string
	value uint64
	gauge bool
}

// hubCounts names what the hub counts, for /v1/status and /metrics alike.
func hubCounts(h *hub.Stats) []count {
	return []count{
		{"viewers", uint64(h.Viewers), true},
		{"streams", uint64(h.Streams), true},
		{"behind", uint64(h.Behind), true},
		{"bytes", uint64(max(h.Bytes, 0)), true},
		{"frames", h.Frames, false},
		{"fixes_in", h.FixesIn, false},
		{"fixes_out", h.FixesOut, false},
		{"encodings", h.Encodings, false},
		{"skipped", h.Skipped, false},
		{"resyncs", h.Resyncs, false},
	}
}

func (s *stats) counts() []count {
	opened, closed := s.opened.Load(), s.closed.Load()
	return []count{
		{"sessions", opened - min(closed, opened), true},
		{"sessions_opened", opened, false},
		{"sessions_too_slow", s.tooSlow.Load(), false},
		{"sessions_silent", s.silent.Load(), false},
		{"frames_written", s.framesOut.Load(), false},
		{"bytes_written", s.bytesOut.Load(), false},
		{"connections_refused", s.gateRefused.Load(), false},
		{"tokens_refused", s.badTokens.Load(), false},
	}
}

// metrics answers in the text format of Prometheus. Names begin with tracker_ and the
// room that counts; counters end in _total.
func (w *Web) metrics(rq *request) error {
	st := w.engine.Status()
	var b bytes.Buffer
	gauge := func(name string, v float64) { metrics.WriteGaugeFloat64(&b, "tracker_"+name, v) }
	gauge("uptime_seconds", time.Since(w.started).Seconds())
	gauge("devices", float64(st.Devices))
	gauge("live_devices", float64(st.Live))
	metrics.WriteCounterUint64(&b, "tracker_fixes_total", st.Applied)
	for name, n := range w.cfg.Ingest() {
		metrics.WriteCounterUint64(&b, "tracker_ingest_"+metricName(name)+"_total", n)
	}
	ok := 0.0
	if st.Store.State == "ok" {
		ok = 1
	}
	gauge("store_ok", ok)
	gauge("store_pending", float64(st.Store.Pending))
	gauge("store_bytes", float64(st.Store.Bytes))
	gauge("store_last_commit_seconds", st.Store.LastCommit.Seconds())
	metrics.WriteCounterUint64(&b, "tracker_store_stored_total", st.Store.Stored)
	metrics.WriteCounterUint64(&b, "tracker_store_lost_total", st.Store.Lost)
	metrics.WriteCounterUint64(&b, "tracker_store_corrupt_total", st.Store.Corrupt)
	metrics.WriteCounterUint64(&b, "tracker_store_commits_total", st.Store.Commits)
	metrics.WriteCounterUint64(&b, "tracker_store_failures_total", st.Store.Failures)
	writeCounts(&b, "tracker_hub_", hubCounts(&st.Hub))
	writeLag(&b, &st.Hub)
	writeCounts(&b, "tracker_web_", w.stats.counts())
	gauge("web_connections", float64(w.conns.len()))
	p := w.probe()
	ok = 0
	if p.OK {
		ok = 1
	}
	gauge("probe_ok", ok)
	gauge("probe_age_seconds", float64(p.Age)/1000)
	w.stats.set.WritePrometheus(&b)
	metrics.WriteProcessMetrics(&b)
	rq.http.SetContentType("text/plain; version=0.0.4; charset=utf-8")
	rq.http.Response.SetBodyRaw(b.Bytes())
	return nil
}

func writeCounts(b *bytes.Buffer, prefix string, counts []count) {
	for _, c := range counts {
		if c.gauge {
			metrics.WriteGaugeUint64(b, prefix+c.name, c.value)
		} else {
			metrics.WriteCounterUint64(b, prefix+c.name+"_total", c.value)
		}
	}
}

// writeLag shows how old fixes are when viewers pull them, as a histogram.
func writeLag(b *bytes.Buffer, h *hub.Stats) {
	const name = "tracker_hub_lag_seconds"
	var sum uint64
	for i, n := range h.Lag {
		sum += n
		le := "+Inf"
		if i < len(h.Lag)-1 {
			le = strconv.FormatFloat(float64(uint64(1)<<i)/1000, 'g', -1, 64)
		}
		fmt.Fprintf(b, "%s_bucket{le=%q} %d\n", name, le, sum)
	}
	fmt.Fprintf(b, "%s_count %d\n", name, sum)
}

// metricName replaces what a name of a metric must not hold.
func metricName(s string) string {
	return strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= '0' && r <= '9' || r == '_' {
			return r
		}
		return '_'
	}, strings.ToLower(s))
}
