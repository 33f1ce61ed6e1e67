package gateway

import (
	"errors"
	"time"

	"tracker/pkg/engine"
	"tracker/pkg/geo"
	"tracker/pkg/rpc"
	"tracker/pkg/track"
	"tracker/pkg/wire/trk"
)

// publish takes fixes from devices that have a connection.
type publish struct{ *Gateway }

var (
	_ trk.PublishServer = publish{}
	_ trk.ReportKeyer   = publish{}
)

// ReportKey queues reports by the device that they are filed under, whatever they call
// it. Those of a device that nobody knows are refused, in any order.
func (g publish) ReportKey(r *rpc.Request, in trk.ReportReq) uint64 {
	id, _ := g.reporter(r, &in)
	return uint64(id)
}

// reporter is whose fixes they are: a device's own, or whose an admin says.
func (g publish) reporter(r *rpc.Request, in *trk.ReportReq) (track.DeviceID, error) {
	if who := identityOf(r); who.Role == engine.RoleDevice {
		return who.Device, nil
	}
	return g.engine.Resolve(string(in.Device()))
}

func (g publish) Report(r *rpc.Request, in trk.ReportReq, out []byte) ([]byte, error) {
	id, err := g.reporter(r, &in)
	if err != nil {
		return nil, err
	}
	now := g.cfg.Now()
	reading := engine.NewReading()
	defer reading.Free()
	if err := readReport(reading, &in, now); err != nil {
		return nil, err
	}
	fixes := reading.Fixes
	if identityOf(r).Role == engine.RoleDevice {
		if wait := g.accounts.charge(id, len(fixes), now); wait > 0 {
			g.stats.limited.Add(1)
			return nil, &rpc.Error{Status: rpc.ResourceExhausted, Reason: "rate_limited", Message: "the device reports too much",
				RetryAfter: wait, NotRun: true}
		}
	}
	late, err := g.engine.Report(id, fixes)
	if err != nil {
		return nil, err
	}
	g.stats.reported.Add(uint64(len(fixes)))
	return trk.AppendReportAck(out, &trk.ReportAckT{Device: id.String(), Accepted: uint32(len(fixes)), Late: uint32(late)}), nil
}

// readReport reads the fixes of a report, all or none.
func readReport(r *engine.Reading, in *trk.ReportReq, now time.Time) error {
	var t trk.Fix
	for i := range in.FixesLength() {
		in.Fixes(&t, i)
		if err := r.Add(claimOf(&t)); err != nil {
			return refused(err)
		}
	}
	if err := r.Done(now); err != nil {
		return refused(err)
	}
	return nil
}

// claimOf is a fix before anything of it is believed.
func claimOf(t *trk.Fix) *engine.Claim {
	return &engine.Claim{
		Time: t.Time(), Has: track.Has(t.Has()), Event: track.Event(t.Event()),
		At: geo.Point{Lat: t.Lat(), Lon: t.Lon()}, Alt: t.AltM(), Speed: t.SpeedCmps(), Course: t.CourseCdeg(),
		Accuracy: float64(t.AccuracyCm()), Battery: t.Battery(),
	}
}

// refused is the answer to a report that breaks a rule.
func refused(err error) *rpc.Error {
	e := &rpc.Error{Status: rpc.InvalidArgument, Reason: "invalid", Field: "fixes", Message: err.Error(), NotRun: true}
	var bad *engine.BadReport
	if errors.As(err, &bad) && bad.Ahead {
		e.Status, e.Reason = rpc.Status(trk.AppErrorClockAhead), "clock_ahead"
	}
	return e
}
