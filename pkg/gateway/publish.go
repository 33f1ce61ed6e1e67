package gateway

import (
	"math"
	"time"

	"tracker/pkg/engine"
	"tracker/pkg/geo"
	"tracker/pkg/rpc"
	"tracker/pkg/track"
	"tracker/pkg/wire"
	"tracker/pkg/wire/trk"
)

// publish takes fixes from devices that have a connection.
type publish struct{ *Gateway }

var (
	_ trk.PublishServer = publish{}
	_ trk.ReportKeyer   = publish{}
)

const (
	maxReport  = 448             // fixes of a report
	aheadMost  = 2 * time.Minute // of our clock
	maxTime    = 1 << 32 * 1000  // ms; a datagram counts seconds in 32 bits
	maxCourse  = 36000
	maxPercent = 100
	noPercent  = 127
	knownHas   = track.HasPos | track.HasAlt | track.HasVel | track.HasAcc | track.HasBat
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
	fixes, err := readReport(&in, now)
	if err != nil {
		return nil, err
	}
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
func readReport(in *trk.ReportReq, now time.Time) ([]track.Fix, error) {
	n := in.FixesLength()
	if n < 1 || n > maxReport {
		return nil, invalid("fixes", "%d of them: want 1..%d", n, maxReport)
	}
	fixes := make([]track.Fix, n)
	var t trk.Fix
	for i := range fixes {
		in.Fixes(&t, i)
		if err := readFix(&fixes[i], &t); err != "" {
			return nil, invalid("fixes", "number %d: %s", i+1, err)
		}
		if i > 0 && fixes[i].Time < fixes[i-1].Time {
			return nil, invalid("fixes", "number %d: older than the one before; want oldest first", i+1)
		}
	}
	// The last is the newest.
	if ahead := time.UnixMilli(fixes[n-1].Time).Sub(now); ahead > aheadMost {
		return nil, &rpc.Error{Status: rpc.Status(trk.AppErrorClockAhead), Reason: "clock_ahead", Field: "fixes",
			Message: "the clock of the device is " + ahead.Round(time.Second).String() + " ahead", NotRun: true}
	}
	return fixes, nil
}

// readFix reads one fix by the rules for the body of a datagram, and says which of them
// it breaks. What has does not name is not looked at, and what is the server's to say is
// not believed.
func readFix(f *track.Fix, t *trk.Fix) (wrong string) {
	ms := t.Time()
	has := track.Has(t.Has())
	switch {
	case !(ms >= 0 && ms < maxTime) || ms != math.Trunc(ms):
		return "time is not in whole unix milliseconds"
	case has&^knownHas != 0:
		return "has names a part that is unknown"
	}
	*f = track.Fix{Time: int64(ms), Has: has, Event: track.Event(t.Event())}
	if has&track.HasPos != 0 {
		if f.At = (geo.Point{Lat: t.Lat(), Lon: t.Lon()}); !f.At.Valid() {
			return "place is not on the globe"
		}
	}
	if has&track.HasAlt != 0 {
		f.Alt = t.AltM()
	}
	if has&track.HasVel != 0 {
		if f.Speed, f.Course = t.SpeedCmps(), t.CourseCdeg(); f.Course >= maxCourse {
			return "course is not in 0..35999"
		}
	}
	if has&track.HasAcc != 0 {
		f.Acc = wire.AccuracyCode(float64(t.AccuracyCm()))
	}
	if has&track.HasBat != 0 {
		f.Bat = t.Battery()
		if pct := f.Bat & 0x7f; pct > maxPercent && pct != noPercent {
			return "battery is neither 0..100 nor 127"
		}
	}
	return ""
}
