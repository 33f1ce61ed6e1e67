package client

import (
	"context"
	"errors"
	"io"
	"strings"
	"time"

	"tracker/pkg/geo"
	"tracker/pkg/rpc"
	"tracker/pkg/track"
	"tracker/pkg/wire/trk"
)

// question asks one question of a service: call makes the request and reads the
// answer.
func question[A any](ctx context.Context, c *overRPC, method uint16, call func(context.Context, rpc.Caller) (A, error)) (A, error) {
	var reply A
	err := c.do(ctx, idempotent(method), func(ctx context.Context, to rpc.Caller) (err error) {
		reply, err = call(ctx, to)
		return err
	})
	return reply, err
}

func (c *overRPC) status(ctx context.Context) (Status, error) {
	s, err := question(ctx, c, trk.StatusGetID, func(ctx context.Context, to rpc.Caller) (trk.StatusReply, error) {
		return trk.StatusClient{Caller: to}.Get(ctx, nil)
	})
	if err != nil {
		return Status{}, err
	}
	return readStatus(s.UnPack())
}

func readStatus(t *trk.StatusReplyT) (Status, error) {
	s := Status{
		Version: t.Version, Uptime: (t.Now - t.Started) / 1000,
		Devices: int(t.Devices), Live: int(t.Live), Lineage: t.Lineage,
		Ingest: readCounters(t.Ingest), Hub: readCounters(t.Hub), RPC: readCounters(t.Rpc), Alarms: make([]Alarm, len(t.Alarms)),
	}
	if st := t.Store; st != nil {
		s.Store = StoreStatus{State: st.State, Reason: st.Reason, Stored: uint64(st.Stored), Lost: uint64(st.Lost),
			Pending: uint64(st.Pending), Bytes: uint64(st.Bytes)}
	}
	if p := t.Probe; p != nil {
		s.Probe = Probe{OK: p.Ok, Age: int64(p.AgeMs)}
	}
	for i, a := range t.Alarms {
		id, err := readDevice(a.Device)
		if err != nil {
			return Status{}, err
		}
		s.Alarms[i] = Alarm{Time: moment(a.Time), Kind: a.Kind, Device: id, Epoch: a.Epoch}
	}
	return s, nil
}

func readCounters(list []*trk.CounterT) map[string]uint64 {
	m := make(map[string]uint64, len(list))
	for _, c := range list {
		m[c.Name] = uint64(c.Value)
	}
	return m
}

// readDevice reads the id of a device; none is none.
func readDevice(s string) (track.DeviceID, error) {
	if s == "" {
		return 0, nil
	}
	return track.ParseDeviceID(s)
}

func (c *overRPC) devices(ctx context.Context, match, after string) ([]Device, string, error) {
	page, err := question(ctx, c, trk.DevicesListID, func(ctx context.Context, to rpc.Caller) (trk.DeviceList, error) {
		return trk.DevicesClient{Caller: to}.List(ctx, &trk.ListReqT{Match: match, After: after, Limit: 1000})
	})
	if err != nil {
		return nil, "", err
	}
	list := make([]Device, page.DevicesLength())
	for i := range list {
		var d trk.Device
		page.Devices(&d, i)
		if list[i], err = asDevice(&d); err != nil {
			return nil, "", c.strange(err)
		}
	}
	return list, string(page.Next()), nil
}

func asDevice(d *trk.Device) (Device, error) {
	id, err := track.ParseDeviceID(string(d.Id()))
	out := Device{ID: id, Name: string(d.Name()), State: string(d.State()), Created: moment(d.Created()), Revoked: moment(d.Revoked()),
		Credentials: make([]Credential, d.CredentialsLength())}
	for i := range d.AlarmsLength() {
		out.Alarms = append(out.Alarms, string(d.Alarms(i)))
	}
	for i := range out.Credentials {
		var k trk.Credential
		d.Credentials(&k, i)
		id, bad := track.ParseDeviceID(string(k.Id()))
		err = errors.Join(err, bad)
		out.Credentials[i] = Credential{ID: id, Suite: int(k.Suite()), Flags: string(k.Flags()), Created: moment(k.Created()), Expires: moment(k.Expires())}
	}
	if last := d.Last(nil); last != nil {
		out.Last = new(Fix)
		readFix(out.Last, last, out.Name)
	}
	return out, err
}

// onDevice asks a question whose answer is a device.
func (c *overRPC) onDevice(ctx context.Context, method uint16, call func(context.Context, trk.DevicesClient) (trk.Device, error)) (Device, error) {
	d, err := question(ctx, c, method, func(ctx context.Context, to rpc.Caller) (trk.Device, error) {
		return call(ctx, trk.DevicesClient{Caller: to})
	})
	if err != nil {
		return Device{}, err
	}
	out, err := asDevice(&d)
	if err != nil {
		return Device{}, c.strange(err)
	}
	return out, nil
}

func (c *overRPC) device(ctx context.Context, ref string) (Device, error) {
	return c.onDevice(ctx, trk.DevicesShowID, func(ctx context.Context, to trk.DevicesClient) (trk.Device, error) {
		return to.Show(ctx, &trk.DeviceRefT{Device: ref})
	})
}

func (c *overRPC) rename(ctx context.Context, ref, name string) (Device, error) {
	return c.onDevice(ctx, trk.DevicesRenameID, func(ctx context.Context, to trk.DevicesClient) (trk.Device, error) {
		return to.Rename(ctx, &trk.RenameReqT{Device: ref, Name: name})
	})
}

func (c *overRPC) resetFloor(ctx context.Context, ref string) (Device, error) {
	return c.onDevice(ctx, trk.DevicesResetFloorID, func(ctx context.Context, to trk.DevicesClient) (trk.Device, error) {
		return to.ResetFloor(ctx, &trk.DeviceRefT{Device: ref})
	})
}

func (c *overRPC) revoke(ctx context.Context, ref string) error {
	return c.do(ctx, idempotent(trk.DevicesRevokeID), func(ctx context.Context, to rpc.Caller) error {
		_, err := trk.DevicesClient{Caller: to}.Revoke(ctx, &trk.DeviceRefT{Device: ref})
		return err
	})
}

func (c *overRPC) rotate(ctx context.Context, ref string) (Enrolled, error) {
	e, err := question(ctx, c, trk.DevicesRotateID, func(ctx context.Context, to rpc.Caller) (trk.Enrolled, error) {
		return trk.DevicesClient{Caller: to}.Rotate(ctx, &trk.DeviceRefT{Device: ref})
	})
	if err != nil {
		return Enrolled{}, err
	}
	return c.asEnrolled(&e)
}

func (c *overRPC) asEnrolled(e *trk.Enrolled) (Enrolled, error) {
	var d trk.Device
	if e.Device(&d) == nil {
		return Enrolled{}, c.strange(errors.New("an enrolment without a device"))
	}
	out, err := asDevice(&d)
	if err != nil {
		return Enrolled{}, c.strange(err)
	}
	return Enrolled{Device: out, Enrolment: string(e.Enrolment())}, nil
}

func (c *overRPC) enroll(ctx context.Context, d NewDevice) (Enrolled, error) {
	list, err := c.enrollBatch(ctx, []NewDevice{d})
	var refused *Error
	switch {
	case errors.As(err, &refused):
		refused.Message = strings.TrimPrefix(refused.Message, "device 1: ") // of one, as it was asked for
		return Enrolled{}, err
	case err != nil:
		return Enrolled{}, err
	case len(list) != 1:
		return Enrolled{}, c.strange(errors.New("not one device was enrolled"))
	}
	return list[0], nil
}

func (c *overRPC) enrollBatch(ctx context.Context, ds []NewDevice) ([]Enrolled, error) {
	order := &trk.EnrollReqT{Devices: make([]*trk.NewDeviceT, len(ds))}
	for i, d := range ds {
		order.Devices[i] = &trk.NewDeviceT{Name: d.Name, Suite: uint32(d.Suite), Flags: d.Flags}
	}
	reply, err := question(ctx, c, trk.DevicesEnrollID, func(ctx context.Context, to rpc.Caller) (trk.EnrollReply, error) {
		return trk.DevicesClient{Caller: to}.Enroll(ctx, order)
	})
	if err != nil {
		return nil, err
	}
	out := make([]Enrolled, reply.DevicesLength())
	for i := range out {
		var e trk.Enrolled
		reply.Devices(&e, i)
		if out[i], err = c.asEnrolled(&e); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// pageSize is how many fixes one answer brings.
const pageSize = 10_000

func (c *overRPC) positions(ctx context.Context, a Area, after string) ([]Fix, string, error) {
	method, call := trk.PositionsInBoxID, func(ctx context.Context, to rpc.Caller) (trk.Fixes, error) {
		return trk.PositionsClient{Caller: to}.InBox(ctx, &trk.InBoxReqT{Box: asBox(a.Box), After: after, Limit: pageSize})
	}
	if len(a.Devices) > 0 {
		method, call = trk.PositionsLatestID, func(ctx context.Context, to rpc.Caller) (trk.Fixes, error) {
			return trk.PositionsClient{Caller: to}.Latest(ctx, &trk.LatestReqT{Devices: a.Devices})
		}
	}
	page, err := question(ctx, c, method, call)
	if err != nil {
		return nil, "", err
	}
	return appendFixes(make([]Fix, 0, page.FixesLength()), &page, nil), string(page.Next()), nil
}

func asBox(b *geo.Box) *trk.BoxT {
	if b == nil {
		return nil
	}
	return &trk.BoxT{South: b.South, West: b.West, North: b.North, East: b.East}
}

func (c *overRPC) near(ctx context.Context, at geo.Point, within geo.Meters, limit int) ([]Hit, error) {
	reply, err := question(ctx, c, trk.PositionsNearID, func(ctx context.Context, to rpc.Caller) (trk.NearReply, error) {
		return trk.PositionsClient{Caller: to}.Near(ctx, &trk.NearReqT{
			At: &trk.PointT{Lat: at.Lat, Lon: at.Lon}, WithinM: float64(within), Limit: uint32(max(limit, 0)),
		})
	})
	if err != nil {
		return nil, err
	}
	if reply.DistancesLength() != reply.FixesLength() {
		return nil, c.strange(errors.New("not a distance for each fix"))
	}
	hits := make([]Hit, 0, reply.FixesLength())
	for i, f := range appendFixes(nil, &reply, nil) {
		var d trk.Distance
		reply.Distances(&d, i)
		hits = append(hits, Hit{Distance: geo.Meters(d.Metres()), Bearing: d.BearingDeg(), Fix: f})
	}
	return hits, nil
}

func (c *overRPC) history(ctx context.Context, q HistoryQuery, yield func(Fix, error) bool) {
	order := &trk.HistoryReqT{Device: q.Device, From: notBefore(q.From), To: notBefore(q.To),
		Limit: uint32(max(q.Limit, 0)), Heartbeats: q.Heartbeats}
	var s *trk.PositionsHistoryStream
	l, err := c.stream(ctx, func(ctx context.Context, to rpc.Caller) (err error) {
		s, err = trk.PositionsClient{Caller: to}.History(ctx, order)
		return err
	})
	if err != nil {
		yield(Fix{}, err)
		return
	}
	defer c.release(l)
	defer s.Close() // if the walk ends early
	names := make(words, 16)
	for page := []Fix(nil); ; {
		block, _, err := s.Next(ctx)
		if errors.Is(err, io.EOF) {
			return
		}
		if err != nil {
			yield(Fix{}, c.ended(ctx, l, err))
			return
		}
		page = appendFixes(page[:0], &block, names)
		for i := range page {
			if !yield(page[i], nil) {
				return
			}
		}
	}
}

func (c *overRPC) tokens(ctx context.Context) ([]Token, error) {
	reply, err := question(ctx, c, trk.TokensListID, func(ctx context.Context, to rpc.Caller) (trk.TokenList, error) {
		return trk.TokensClient{Caller: to}.List(ctx, nil)
	})
	if err != nil {
		return nil, err
	}
	list := make([]Token, reply.TokensLength())
	for i := range list {
		var t trk.Token
		reply.Tokens(&t, i)
		list[i] = asToken(&t)
	}
	return list, nil
}

func asToken(t *trk.Token) Token {
	return Token{ID: string(t.Id()), Name: string(t.Name()), Role: string(t.Role()), Created: moment(t.Created()), Expires: moment(t.Expires())}
}

func (c *overRPC) createToken(ctx context.Context, name, role string, ttl time.Duration) (Token, string, error) {
	reply, err := question(ctx, c, trk.TokensCreateID, func(ctx context.Context, to rpc.Caller) (trk.CreatedToken, error) {
		return trk.TokensClient{Caller: to}.Create(ctx, &trk.NewTokenT{Name: name, Role: role, TtlMs: float64(ttl) / float64(time.Millisecond)})
	})
	if err != nil {
		return Token{}, "", err
	}
	var t trk.Token
	if reply.Token(&t) == nil {
		return Token{}, "", c.strange(errors.New("no token was created"))
	}
	return asToken(&t), string(reply.Secret()), nil
}

func (c *overRPC) revokeToken(ctx context.Context, id string) error {
	return c.do(ctx, idempotent(trk.TokensRevokeID), func(ctx context.Context, to rpc.Caller) error {
		_, err := trk.TokensClient{Caller: to}.Revoke(ctx, &trk.TokenRefT{Id: id})
		return err
	})
}

func (c *overRPC) report(ctx context.Context, device string, fixes []Fix) (accepted, late int, err error) {
	order := &trk.ReportReqT{Device: device, Fixes: make([]*trk.FixT, len(fixes))}
	list := make([]trk.FixT, len(fixes))
	for i := range fixes {
		writeFix(&list[i], &fixes[i])
		order.Fixes[i] = &list[i]
	}
	ack, err := question(ctx, c, trk.PublishReportID, func(ctx context.Context, to rpc.Caller) (trk.ReportAck, error) {
		return trk.PublishClient{Caller: to}.Report(ctx, order)
	})
	if err != nil {
		return 0, 0, err
	}
	return int(ack.Accepted()), int(ack.Late()), nil
}
