package gateway

import (
	"fmt"

	"tracker/pkg/engine"
	"tracker/pkg/rpc"
	"tracker/pkg/seal"
	"tracker/pkg/track"
	"tracker/pkg/wire/trk"
)

// devices is who may send.
type devices struct{ *Gateway }

var _ trk.DevicesServer = devices{}

func (g devices) List(_ *rpc.Request, in trk.ListReq, out []byte) ([]byte, error) {
	most, err := engine.Limit(limit(in.Limit()), engine.DevicePage, engine.MaxDevicePage)
	if err != nil {
		return nil, err
	}
	after, err := engine.After(string(in.After()))
	if err != nil {
		return nil, err
	}
	found := g.engine.Devices(string(in.Match()), after, most+1)
	var page trk.DeviceListT
	if len(found) > most {
		found = found[:most]
		page.Next = found[most-1].ID.String()
	}
	page.Devices = make([]*trk.DeviceT, len(found))
	for i := range found {
		page.Devices[i] = deviceTable(&found[i])
	}
	return trk.AppendDeviceList(out, &page), nil
}

func (g devices) Show(_ *rpc.Request, in trk.DeviceRef, out []byte) ([]byte, error) {
	d, err := g.engine.Find(string(in.Device()))
	if err != nil {
		return nil, err
	}
	return trk.AppendDevice(out, deviceTable(&d)), nil
}

func (g devices) Enroll(r *rpc.Request, in trk.EnrollReq, out []byte) ([]byte, error) {
	asked := make([]engine.NewDevice, in.DevicesLength())
	for i := range asked {
		var n trk.NewDevice
		in.Devices(&n, i)
		d, err := newDevice(&n)
		if err != nil {
			return nil, fmt.Errorf("device %d: %w", i+1, err)
		}
		asked[i] = d
	}
	done, err := g.engine.Enroll(r.Context(), asked)
	if err != nil {
		return nil, err
	}
	reply := trk.EnrollReplyT{Devices: make([]*trk.EnrolledT, len(done))}
	for i := range done {
		reply.Devices[i] = enrolledTable(&done[i])
	}
	if len(done) == 1 {
		g.note(r, "device enrolled", done[0].Device.ID)
	} else {
		g.log.Info("devices enrolled", "count", len(done), "by", identityOf(r).Name, "conn", r.ConnID())
	}
	return trk.AppendEnrollReply(out, &reply), nil
}

func newDevice(n *trk.NewDevice) (engine.NewDevice, error) {
	flags, err := seal.ParseFlags(string(n.Flags()))
	if err != nil {
		return engine.NewDevice{}, err
	}
	if n.Suite() > 255 {
		return engine.NewDevice{}, fmt.Errorf("suite %d: want 1 or 2: %w", n.Suite(), track.ErrInvalid)
	}
	return engine.NewDevice{Name: string(n.Name()), Suite: seal.Suite(n.Suite()), Flags: flags}, nil
}

// note writes what somebody did into the log.
func (g *Gateway) note(r *rpc.Request, what string, id track.DeviceID) {
	g.log.Info(what, "device", id.String(), "by", identityOf(r).Name, "conn", r.ConnID())
}

func (g devices) Rename(r *rpc.Request, in trk.RenameReq, out []byte) ([]byte, error) {
	id, err := g.engine.Resolve(string(in.Device()))
	if err != nil {
		return nil, err
	}
	d, err := g.engine.Rename(r.Context(), id, string(in.Name()))
	if err != nil {
		return nil, err
	}
	g.note(r, "device renamed", id)
	return trk.AppendDevice(out, deviceTable(&d)), nil
}

func (g devices) Revoke(r *rpc.Request, in trk.DeviceRef, out []byte) ([]byte, error) {
	id, err := g.engine.Resolve(string(in.Device()))
	if err != nil {
		return nil, err
	}
	if err := g.engine.Revoke(r.Context(), id); err != nil {
		return nil, err
	}
	g.note(r, "device revoked", id)
	return trk.AppendEmpty(out, &trk.EmptyT{}), nil
}

func (g devices) Rotate(r *rpc.Request, in trk.DeviceRef, out []byte) ([]byte, error) {
	id, err := g.engine.Resolve(string(in.Device()))
	if err != nil {
		return nil, err
	}
	done, err := g.engine.Rotate(r.Context(), id)
	if err != nil {
		return nil, err
	}
	g.note(r, "device rotated", id)
	return trk.AppendEnrolled(out, enrolledTable(&done)), nil
}

func (g devices) ResetFloor(r *rpc.Request, in trk.DeviceRef, out []byte) ([]byte, error) {
	id, err := g.engine.Resolve(string(in.Device()))
	if err != nil {
		return nil, err
	}
	d, err := g.engine.ResetFloor(r.Context(), id)
	if err != nil {
		return nil, err
	}
	g.note(r, "session floor reset", id)
	return trk.AppendDevice(out, deviceTable(&d)), nil
}

func deviceTable(d *engine.Device) *trk.DeviceT {
	t := &trk.DeviceT{Id: d.ID.String(), Name: d.Name, State: d.State(), Created: millis(d.Created), Revoked: millis(d.Revoked),
		Alarms: d.Alarms.Names(), Credentials: make([]*trk.CredentialT, len(d.Credentials))}
	for i, c := range d.Credentials {
		t.Credentials[i] = &trk.CredentialT{Id: c.ID.String(), Suite: uint32(c.Suite), Flags: c.Flags.String(),
			Created: millis(c.Created), Expires: millis(c.Expires)}
	}
	if d.Seen {
		t.Last = new(trk.FixT)
		putFix(t.Last, &d.Last)
	}
	return t
}

// enrolledTable holds a secret: never log it.
func enrolledTable(e *engine.Enrolled) *trk.EnrolledT {
	return &trk.EnrolledT{Device: deviceTable(&e.Device), Enrolment: e.Enrolment.String()}
}
