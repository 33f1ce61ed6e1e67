package web

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/VictoriaMetrics/metrics"

	"tracker/pkg/engine"
	"tracker/pkg/fault"
	"tracker/pkg/hub"
	"tracker/pkg/store"
)

// stats is what this door counts itself.
type stats struct {
	set         *metrics.Set // requests, by route and status
	gateRefused atomic.Uint64
	badTokens   atomic.Uint64
	opened      atomic.Uint64
	closed      atomic.Uint64
	tooSlow     atomic.Uint64
	silent      atomic.Uint64
	// Written to WebSockets at once by whoever had the frames, or by a goroutine that
	// may wait for the client.
	framesDirect, framesSlow atomic.Uint64
	bytesDirect, bytesSlow   atomic.Uint64
	fixesReported            atomic.Uint64
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

// count is one whole number, for /v1/status and /metrics alike.
type count = engine.Count

func storeCounts(s *store.Status) []count {
	ok := uint64(0)
	if s.State == store.OK {
		ok = 1
	}
	return []count{
		engine.Gauge("ok", ok, "1 while fixes reach the disk"),
		engine.Gauge("pending", uint64(max(s.Pending, 0)), "fixes that are not durable yet"),
		engine.Gauge("bytes", uint64(max(s.Bytes, 0)), "on disk"),
		engine.Counter("stored", s.Stored, "fixes committed"),
		engine.Counter("lost", s.Lost, "fixes dropped because the disk was away for too long"),
		engine.Counter("corrupt", s.Corrupt, "fixes that a damaged record did not give back"),
		engine.Counter("commits", s.Commits, "transactions"),
		engine.Counter("failures", s.Failures, "commits that failed and were tried again"),
	}
}

func (s *stats) counts() []count {
	opened, closed := s.opened.Load(), s.closed.Load()
	frames, bytes := s.framesDirect.Load(), s.bytesDirect.Load()
	return []count{
		engine.Gauge("sessions", opened-min(closed, opened), "WebSockets open now"),
		engine.Counter("sessions_opened", opened, "WebSockets opened"),
		engine.Counter("sessions_too_slow", s.tooSlow.Load(), "WebSockets closed because they took nothing"),
		engine.Counter("sessions_silent", s.silent.Load(), "WebSockets closed because they answered no ping"),
		engine.Counter("frames_written", frames+s.framesSlow.Load(), "frames written to WebSockets"),
		engine.Counter("frames_written_direct", frames, "of them without a goroutine that may wait"),
		engine.Counter("bytes_written", bytes+s.bytesSlow.Load(), "bytes written to WebSockets"),
		engine.Counter("bytes_written_direct", bytes, "of them without a goroutine that may wait"),
		engine.Counter("fixes_reported", s.fixesReported.Load(), "fixes reported over WebSockets"),
		engine.Counter("connections_refused", s.gateRefused.Load(), "connections of addresses that had too many without a token"),
		engine.Counter("tokens_refused", s.badTokens.Load(), "requests with a token that is unknown, expired or revoked"),
	}
}

// scrape is an answer to a scraper: the text format of Prometheus. Names begin with
// tracker_ and the room that counts; those of counters end in _total.
type scrape struct{ bytes.Buffer }

func (s *scrape) head(name, kind, help string) {
	fmt.Fprintf(s, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, kind)
}

func (s *scrape) gauge(name, help string, v float64) {
	s.head(name, "gauge", help)
	metrics.WriteGaugeFloat64(s, name, v)
}

func (s *scrape) counter(name, help string, v uint64) {
	s.head(name, "counter", help)
	metrics.WriteCounterUint64(s, name, v)
}

func (s *scrape) counts(prefix string, counts []count) {
	for _, c := range counts {
		if c.Gauge {
			s.gauge(prefix+c.Name, c.Help, float64(c.Value))
		} else {
			s.counter(prefix+c.Name+"_total", c.Help, c.Value)
		}
	}
}

func (w *Web) metrics(rq *request) error {
	st := w.engine.Status()
	var s scrape
	s.gauge("tracker_uptime_seconds", "since the start", time.Since(w.started).Seconds())
	w.scrapeRiver(&s, &st)
	s.counts("tracker_rpc_", w.cfg.Gateway())
	var ingest []count
	for name, n := range w.cfg.Ingest() {
		gauge := name == "devices" || name == "readers"
		ingest = append(ingest, count{Name: metricName(name), Value: n, Gauge: gauge, Help: "as in ingest of /v1/status"})
	}
	s.counts("tracker_ingest_", ingest)
	s.counts("tracker_web_", w.stats.counts())
	s.counter("tracker_port_refused_total", "connections that said nothing in time, spoke no known language, or were one too many", w.cfg.Refused())
	s.gauge("tracker_web_connections", "connections open now", float64(w.conns.len()))
	p := w.probe()
	ok := 0.0
	if p.OK {
		ok = 1
	}
	s.gauge("tracker_probe_ok", "1 while the server's own fixes come out at a watcher", ok)
	s.gauge("tracker_probe_age_seconds", "since one last did", float64(p.Age)/1000)
	s.gauge("tracker_heap_live_bytes", "of the heap, what the last collection found alive", liveHeap())
	w.stats.set.WritePrometheus(&s)
	metrics.WriteProcessMetrics(&s)
	rq.http.SetContentType("text/plain; version=0.0.4; charset=utf-8")
	rq.http.Response.SetBodyRaw(fault.Metrics(s.Bytes()))
	return nil
}

func (w *Web) scrapeRiver(s *scrape, st *engine.Status) {
	s.gauge("tracker_devices", "enrolled and not revoked", float64(st.Devices))
	s.gauge("tracker_live_devices", "with a latest fix", float64(st.Live))
	s.counter("tracker_live_refused_total", "fixes of devices for which the present had no room", st.Refused)
	s.counter("tracker_fixes_total", "fixes applied", st.Applied)
	s.counter("tracker_alias_collisions_total", "rotating ids that two devices wanted at the same time", st.AliasCollisions)
	s.counts("tracker_store_", storeCounts(&st.Store))
	s.gauge("tracker_store_last_commit_seconds", "how long the last commit took", st.Store.LastCommit.Seconds())
	s.counts("tracker_hub_", engine.HubCounts(&st.Hub))
	s.lag(&st.Hub)
}

// lag shows how old fixes are when viewers pull them, as a histogram. The hub keeps no
// sum, so there is none here.
func (s *scrape) lag(h *hub.Stats) {
	const name = "tracker_hub_lag_seconds"
	s.head(name, "histogram", "age of the oldest fix that a watch pulls, from publishing on")
	var sum uint64
	for i, n := range h.Lag {
		sum += n
		le := "+Inf"
		if i < len(h.Lag)-1 {
			le = strconv.FormatFloat(float64(uint64(1)<<i)/1000, 'g', -1, 64)
		}
		fmt.Fprintf(s, "%s_bucket{le=%q} %d\n", name, le, sum)
	}
	fmt.Fprintf(s, "%s_count %d\n", name, sum)
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
