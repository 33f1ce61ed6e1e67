package web

import (
	"fmt"
	"time"

	"github.com/valyala/fasthttp"

	"tracker/pkg/engine"
	"tracker/pkg/track"
)

// statusJSON is the schema Status.
type statusJSON struct {
	Version string            `json:"version"`
	Uptime  float64           `json:"uptime_s"`
	Devices int               `json:"devices"`
	Live    int               `json:"live"`
	Lineage string            `json:"lineage"`
	Ingest  map[string]uint64 `json:"ingest"`
	Store   storeJSON         `json:"store"`
	Hub     map[string]uint64 `json:"hub"`
	RPC     map[string]uint64 `json:"rpc"`
	Alarms  []alarmJSON       `json:"alarms"`
	Probe   probeJSON         `json:"probe"`
}

type storeJSON struct {
	State   string `json:"state"`
	Reason  string `json:"reason,omitempty"`
	Stored  uint64 `json:"stored"`
	Lost    uint64 `json:"lost"`
	Pending int    `json:"pending"`
	Bytes   int64  `json:"bytes"`
}

type alarmJSON struct {
	Time   string         `json:"time"`
	Kind   string         `json:"kind"`
	Device track.DeviceID `json:"device"`
	Epoch  uint32         `json:"epoch"`
}

type probeJSON struct {
	OK     bool   `json:"ok"`
	Age    int64  `json:"age_ms"` // -1: never arrived
	Reason string `json:"reason,omitempty"`
}

func (w *Web) probe() (p probeJSON) {
	if w.cfg.Probe == nil {
		return probeJSON{OK: true}
	}
	age, err := w.cfg.Probe()
	p.OK, p.Age = err == nil, max(age.Milliseconds(), -1)
	if err != nil {
		p.Reason = err.Error()
	}
	return p
}

func (w *Web) status(rq *request) error {
	st := w.engine.Status()
	v := statusJSON{
		Version: w.cfg.Version, Uptime: time.Since(w.started).Round(time.Millisecond).Seconds(),
		Devices: st.Devices, Live: st.Live, Lineage: string(appendHex64(nil, st.Lineage)),
		Ingest: map[string]uint64{}, Hub: map[string]uint64{}, RPC: map[string]uint64{}, Alarms: make([]alarmJSON, 0, len(st.Alarms)),
		Store: storeJSON{State: string(st.Store.State), Reason: st.Store.Reason, Stored: st.Store.Stored,
			Lost: st.Store.Lost, Pending: st.Store.Pending, Bytes: st.Store.Bytes},
		Probe: w.probe(),
	}
	for name, n := range w.cfg.Ingest() {
		v.Ingest[name] = n
	}
	for _, c := range engine.HubCounts(&st.Hub) {
		v.Hub[c.Name] = c.Value
	}
	for _, c := range w.cfg.Gateway() {
		v.RPC[c.Name] = c.Value
	}
	for _, a := range st.Alarms {
		v.Alarms = append(v.Alarms, alarmJSON{Time: stamp(a.Time), Kind: a.Kind.String(), Device: a.Device, Epoch: a.Epoch})
	}
	return rq.replyJSON(fasthttp.StatusOK, v)
}

// healthz fails when fixes no longer make their way from the wire to a watcher,
// however well the rest may look.
func (w *Web) healthz(rq *request) error {
	p := w.probe()
	v := struct {
		Status string    `json:"status"`
		Probe  probeJSON `json:"probe"`
	}{"ok", p}
	if p.OK {
		return rq.replyJSON(fasthttp.StatusOK, v)
	}
	v.Status = "failing"
	return rq.replyJSON(fasthttp.StatusServiceUnavailable, v)
}

// readyz tells a balancer whether to send anybody here.
func (w *Web) readyz(rq *request) error {
	if w.sessions.isEnding() {
		return fmt.Errorf("not ready: %w", track.ErrClosed)
	}
	return rq.replyJSON(fasthttp.StatusOK, struct {
		Status string `json:"status"`
	}{"ok"})
}

func (w *Web) root(rq *request) error {
	return rq.replyJSON(fasthttp.StatusOK, struct {
		Service string `json:"service"`
		Version string `json:"version"`
		API     string `json:"api"`
	}{"tracker", w.cfg.Version, "/v1/openapi.json"})
}

// enrolmentPage is what a phone shows that opens an enrolment code as a link. The
// secret is in the fragment, which browsers do not send; the page runs no script that
// could read it.
func (w *Web) enrolmentPage(rq *request) error {
	h := &rq.http.Response.Header
	h.Set("Content-Security-Policy", "default-src 'none'")
	h.Set("Referrer-Policy", "no-referrer")
	rq.http.SetContentType("text/html; charset=utf-8")
	rq.http.SetBodyString(enrolmentText)
	return nil
}

const enrolmentText = `<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>Enrolment code</title>
<h1>This is the key of a device</h1>
<p>Open this code with the tracking app of the device, not with a browser. Whoever has it can
send positions in the name of the device, so close this page, clear it from the history, and have
the device rotated if somebody else may have seen it.</p>
</html>
`
