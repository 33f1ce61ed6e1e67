package gateway

import (
	"sync/atomic"

	"tracker/pkg/engine"
	"tracker/pkg/rpc"
	"tracker/pkg/wire/trk"
)

// stats is what this door counts beside the frame layer.
type stats struct {
	refused   atomic.Uint64
	strangers atomic.Uint64
	reported  atomic.Uint64
	limited   atomic.Uint64
}

// Counts are the numbers of this door and of the frame layer below it.
func (g *Gateway) Counts() []engine.Count {
	st := g.rpc.Stats()
	counts := []engine.Count{
		engine.Gauge("connections", gauge(st.Conns), "connections open now"),
		engine.Gauge("inflight", gauge(st.Inflight), "requests that left the reader and are not answered yet"),
		engine.Gauge("subscriptions", gauge(st.Subs), "subscriptions open now"),
		engine.Counter("accepted", st.Accepted, "connections that were welcomed"),
		engine.Counter("connections_refused", g.stats.refused.Load(), "connections of addresses that had too many unknown ones"),
		engine.Counter("strangers_refused", g.stats.strangers.Load(), "tokens and proofs that were not good"),
		engine.Counter("inline", st.Inline, "requests answered by the reader"),
		engine.Counter("async", st.Async, "requests answered by workers, subscriptions too"),
		engine.Counter("notifies", st.Notifies, "requests that wanted no answer"),
		engine.Counter("failed", st.Failed, "requests answered with an error"),
		engine.Counter("cancels", st.Cancels, "requests that their caller gave up"),
		engine.Counter("deadlines", st.Deadlines, "requests that ran out of time"),
		engine.Counter("overruns", st.Overruns, "inline calls of over a millisecond, of the one in 1024 that is timed"),
		engine.Counter("events", st.Events, "updates sent to subscriptions"),
		engine.Counter("skipped", st.Skipped, "updates that slow subscriptions were spared"),
		engine.Counter("reads", st.Reads, "reads of connections"),
		engine.Counter("writes", st.Writes, "writes to connections"),
		engine.Counter("bytes_read", st.BytesRead, "bytes read from connections"),
		engine.Counter("bytes_written", st.BytesWritten, "bytes written to connections"),
		engine.Counter("fixes_reported", g.stats.reported.Load(), "fixes that devices reported over a connection"),
		engine.Counter("reports_limited", g.stats.limited.Load(), "reports of devices that sent too much"),
	}
	for _, f := range rpc.Faults() {
		counts = append(counts, engine.Counter("fault_"+f.String(), st.Fault(f), "peers or handlers that did this wrong, see docs/rpc.md"))
	}
	return counts
}

func gauge(n int64) uint64 { return uint64(max(0, n)) }

// status tells how the server is.
type status struct{ *Gateway }

var _ trk.StatusServer = status{}

func (g status) Get(_ *rpc.Request, _ trk.Empty, out []byte) ([]byte, error) {
	st := g.engine.Status()
	t := trk.StatusReplyT{
		Version: g.cfg.Version, Started: millis(g.started), Now: millis(g.cfg.Now()),
		Devices: uint32(st.Devices), Live: uint32(st.Live), Lineage: hex64(st.Lineage),
		Hub: counters(engine.HubCounts(&st.Hub)), Rpc: counters(g.Counts()), Probe: g.probe(),
		Store: &trk.StoreStatusT{State: string(st.Store.State), Reason: st.Store.Reason, Stored: float64(st.Store.Stored),
			Lost: float64(st.Store.Lost), Pending: float64(st.Store.Pending), Bytes: float64(st.Store.Bytes)},
	}
	for name, n := range g.cfg.Ingest() {
		t.Ingest = append(t.Ingest, &trk.CounterT{Name: name, Value: float64(n)})
	}
	for _, a := range st.Alarms {
		t.Alarms = append(t.Alarms, &trk.AlarmT{Time: millis(a.Time), Kind: a.Kind.String(), Device: a.Device.String(), Epoch: a.Epoch})
	}
	return trk.AppendStatusReply(out, &t), nil
}

func counters(counts []engine.Count) []*trk.CounterT {
	out := make([]*trk.CounterT, len(counts))
	for i, c := range counts {
		out[i] = &trk.CounterT{Name: c.Name, Value: float64(c.Value)}
	}
	return out
}

func (g status) probe() *trk.ProbeStatusT {
	age, err := g.cfg.Probe()
	p := &trk.ProbeStatusT{Ok: err == nil, AgeMs: float64(max(age.Milliseconds(), -1))}
	if err != nil {
		p.Error = err.Error()
	}
	return p
}
