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
		{Name: "connections", Value: gauge(st.Conns), Gauge: true, Help: "connections open now"},
		{Name: "inflight", Value: gauge(st.Inflight), Gauge: true, Help: "requests that left the reader and are not answered yet"},
		{Name: "subscriptions", Value: gauge(st.Subs), Gauge: true, Help: "subscriptions open now"},
		{Name: "accepted", Value: st.Accepted, Help: "connections that were welcomed"},
		{Name: "connections_refused", Value: g.stats.refused.Load(), Help: "connections of addresses that had too many unknown ones"},
		{Name: "strangers_refused", Value: g.stats.strangers.Load(), Help: "tokens and proofs that were not good"},
		{Name: "inline", Value: st.Inline, Help: "requests answered by the reader"},
		{Name: "async", Value: st.Async, Help: "requests answered by workers, subscriptions too"},
		{Name: "notifies", Value: st.Notifies, Help: "requests that wanted no answer"},
		{Name: "failed", Value: st.Failed, Help: "requests answered with an error"},
		{Name: "cancels", Value: st.Cancels, Help: "requests that their caller gave up"},
		{Name: "deadlines", Value: st.Deadlines, Help: "requests that ran out of time"},
		{Name: "overruns", Value: st.Overruns, Help: "inline calls of over a millisecond, of the one in 1024 that is timed"},
		{Name: "events", Value: st.Events, Help: "updates sent to subscriptions"},
		{Name: "skipped", Value: st.Skipped, Help: "updates that slow subscriptions were spared"},
		{Name: "reads", Value: st.Reads, Help: "reads of connections"},
		{Name: "writes", Value: st.Writes, Help: "writes to connections"},
		{Name: "bytes_read", Value: st.BytesRead, Help: "bytes read from connections"},
		{Name: "bytes_written", Value: st.BytesWritten, Help: "bytes written to connections"},
		{Name: "fixes_reported", Value: g.stats.reported.Load(), Help: "fixes that devices reported over a connection"},
		{Name: "reports_limited", Value: g.stats.limited.Load(), Help: "reports of devices that sent too much"},
	}
	for _, f := range rpc.Faults() {
		counts = append(counts, engine.Count{Name: "fault_" + f.String(), Value: st.Fault(f), Help: "peers or handlers that did this wrong, see docs/rpc.md"})
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
