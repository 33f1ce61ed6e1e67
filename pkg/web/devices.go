package web

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/valyala/fasthttp"

	"tracker/pkg/engine"
	"tracker/pkg/seal"
	"tracker/pkg/track"
)

// deviceJSON is the schema Device.
type deviceJSON struct {
	ID          track.DeviceID   `json:"id"`
	Name        string           `json:"name"`
	State       string           `json:"state"`
	Created     string           `json:"created"`
	Revoked     string           `json:"revoked,omitempty"`
	Alarms      []string         `json:"alarms,omitempty"`
	Credentials []credentialJSON `json:"credentials"`
	Last        json.RawMessage  `json:"last,omitempty"`
}

type credentialJSON struct {
	ID      track.DeviceID `json:"id"`
	Suite   int            `json:"suite"`
	Flags   string         `json:"flags"`
	Created string         `json:"created"`
	Expires string         `json:"expires,omitempty"`
}

// enrolledJSON is the schema Enrolled. It holds a secret: never log it.
type enrolledJSON struct {
	Device    deviceJSON `json:"device"`
	Enrolment string     `json:"enrolment"`
}

// newDeviceJSON is the schema NewDevice.
type newDeviceJSON struct {
	Name  string `json:"name"`
	Suite int    `json:"suite"`
	Flags string `json:"flags"`
}

// stamp writes a time for JSON, and nothing for the zero time.
func stamp(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return string(appendTime(nil, t.UnixMilli()))
}

func (w *Web) deviceJSON(d *engine.Device) deviceJSON {
	v := deviceJSON{ID: d.ID, Name: d.Name, State: d.State(), Created: stamp(d.Created), Revoked: stamp(d.Revoked),
		Alarms: d.Alarms.Names(), Credentials: make([]credentialJSON, 0, len(d.Credentials))}
	for _, c := range d.Credentials {
		v.Credentials = append(v.Credentials, credentialJSON{ID: c.ID, Suite: int(c.Suite), Flags: c.Flags.String(),
			Created: stamp(c.Created), Expires: stamp(c.Expires)})
	}
	if d.Seen {
		v.Last = appendFix(nil, &d.Last, w.engine.AppendName)
	}
	return v
}

func (w *Web) enrolledJSON(e *engine.Enrolled) enrolledJSON {
	return enrolledJSON{Device: w.deviceJSON(&e.Device), Enrolment: e.Enrolment.String()}
}

func (n *newDeviceJSON) parse() (engine.NewDevice, error) {
	flags, err := seal.ParseFlags(n.Flags)
	if err != nil {
		return engine.NewDevice{}, err
	}
	if n.Suite < 0 || n.Suite > 255 {
		return engine.NewDevice{}, fmt.Errorf("suite %d: want 1 or 2: %w", n.Suite, track.ErrInvalid)
	}
	return engine.NewDevice{Name: n.Name, Suite: seal.Suite(n.Suite), Flags: flags}, nil
}

func (w *Web) listDevices(rq *request) error {
	limit, err := rq.limit(engine.DevicePage, engine.MaxDevicePage)
	if err != nil {
		return err
	}
	after, err := engine.After(rq.query.Get("after"))
	if err != nil {
		return err
	}
	found := w.engine.Devices(rq.query.Get("q"), after, limit+1)
	page := struct {
		Devices []deviceJSON `json:"devices"`
		Next    string       `json:"next"`
	}{Devices: make([]deviceJSON, 0, len(found))}
	if len(found) > limit {
		found = found[:limit]
		page.Next = found[limit-1].ID.String()
	}
	for i := range found {
		page.Devices = append(page.Devices, w.deviceJSON(&found[i]))
	}
	return rq.replyJSON(fasthttp.StatusOK, page)
}

func (w *Web) enroll(rq *request) error {
	var ask newDeviceJSON
	if err := rq.readJSON(&ask); err != nil {
		return err
	}
	d, err := ask.parse()
	if err != nil {
		return err
	}
	done, err := w.engine.Enroll(rq.ctx, []engine.NewDevice{d})
	if err != nil {
		return err
	}
	w.note(rq, "device enrolled", done[0].Device.ID)
	return rq.replyJSON(fasthttp.StatusCreated, w.enrolledJSON(&done[0]))
}

func (w *Web) enrollBatch(rq *request) error {
	var ask struct {
		Devices []newDeviceJSON `json:"devices"`
	}
	if err := rq.readJSON(&ask); err != nil {
		return err
	}
	asked := make([]engine.NewDevice, len(ask.Devices))
	for i := range ask.Devices {
		d, err := ask.Devices[i].parse()
		if err != nil {
			return fmt.Errorf("device %d: %w", i+1, err)
		}
		asked[i] = d
	}
	done, err := w.engine.Enroll(rq.ctx, asked)
	if err != nil {
		return err
	}
	reply := struct {
		Devices []enrolledJSON `json:"devices"`
	}{make([]enrolledJSON, len(done))}
	for i := range done {
		reply.Devices[i] = w.enrolledJSON(&done[i])
	}
	w.log.Info("devices enrolled", "count", len(done), "by", rq.who.Name, "request", rq.id)
	return rq.replyJSON(fasthttp.StatusCreated, reply)
}

// note writes what somebody did into the log.
func (w *Web) note(rq *request, what string, id track.DeviceID) {
	w.log.Info(what, "device", id.String(), "by", rq.who.Name, "request", rq.id)
}

func (w *Web) showDevice(rq *request) error {
	d, err := w.engine.Find(rq.variable)
	if err != nil {
		return err
	}
	return rq.replyJSON(fasthttp.StatusOK, w.deviceJSON(&d))
}

func (w *Web) renameDevice(rq *request) error {
	var ask struct {
		Name string `json:"name"`
	}
	if err := rq.readJSON(&ask); err != nil {
		return err
	}
	d, err := w.engine.Find(rq.variable)
	if err != nil {
		return err
	}
	if d, err = w.engine.Rename(rq.ctx, d.ID, ask.Name); err != nil {
		return err
	}
	w.note(rq, "device renamed", d.ID)
	return rq.replyJSON(fasthttp.StatusOK, w.deviceJSON(&d))
}

func (w *Web) revokeDevice(rq *request) error {
	d, err := w.engine.Find(rq.variable)
	if err != nil {
		return err
	}
	if err := w.engine.Revoke(rq.ctx, d.ID); err != nil {
		return err
	}
	w.note(rq, "device revoked", d.ID)
	rq.http.SetStatusCode(fasthttp.StatusNoContent)
	return nil
}

func (w *Web) rotateDevice(rq *request) error {
	d, err := w.engine.Find(rq.variable)
	if err != nil {
		return err
	}
	done, err := w.engine.Rotate(rq.ctx, d.ID)
	if err != nil {
		return err
	}
	w.note(rq, "device rotated", d.ID)
	return rq.replyJSON(fasthttp.StatusOK, w.enrolledJSON(&done))
}

func (w *Web) resetFloor(rq *request) error {
	d, err := w.engine.Find(rq.variable)
	if err != nil {
		return err
	}
	if d, err = w.engine.ResetFloor(rq.ctx, d.ID); err != nil {
		return err
	}
	w.note(rq, "session floor reset", d.ID)
	return rq.replyJSON(fasthttp.StatusOK, w.deviceJSON(&d))
}
