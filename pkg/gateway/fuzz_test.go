package gateway

import (
	"context"
	"errors"
	"testing"
	"time"

	"tracker/pkg/rpc"
	"tracker/pkg/track"
	"tracker/pkg/wire/trk"
)

// seeds are bodies that methods take.
func seeds() map[uint16][]byte {
	area := &trk.AreaT{All: true}
	return map[uint16][]byte{
		trk.SessionInfoID:       trk.AppendEmpty(nil, &trk.EmptyT{}),
		trk.SessionRefreshID:    trk.AppendRefreshReq(nil, &trk.RefreshReqT{Token: "trk_x"}),
		trk.PositionsLatestID:   trk.AppendLatestReq(nil, &trk.LatestReqT{Devices: []string{"van", "lorry"}}),
		trk.PositionsNearID:     trk.AppendNearReq(nil, &trk.NearReqT{At: &trk.PointT{Lat: 1, Lon: 2}, WithinM: 5}),
		trk.PositionsInBoxID:    trk.AppendInBoxReq(nil, &trk.InBoxReqT{Box: &trk.BoxT{North: 1, East: 1}, Limit: 3}),
		trk.PositionsHistoryID:  trk.AppendHistoryReq(nil, &trk.HistoryReqT{Device: "van", From: 1, To: 2e12, Limit: 5}),
		trk.WatchOpenID:         trk.AppendWatchReq(nil, &trk.WatchReqT{Area: area, ResumeEpoch: "0123456789abcdef", ResumePosition: 7}),
		trk.WatchMoveID:         trk.AppendMoveReq(nil, &trk.MoveReqT{Watch: 1, Area: area}),
		trk.DevicesListID:       trk.AppendListReq(nil, &trk.ListReqT{Match: "v", Limit: 3}),
		trk.DevicesShowID:       trk.AppendDeviceRef(nil, &trk.DeviceRefT{Device: "van"}),
		trk.DevicesEnrollID:     trk.AppendEnrollReq(nil, &trk.EnrollReqT{Devices: []*trk.NewDeviceT{{Name: "van"}}}),
		trk.DevicesRenameID:     trk.AppendRenameReq(nil, &trk.RenameReqT{Device: "van", Name: "x"}),
		trk.DevicesRotateID:     trk.AppendDeviceRef(nil, &trk.DeviceRefT{Device: "van"}),
		trk.DevicesResetFloorID: trk.AppendDeviceRef(nil, &trk.DeviceRefT{Device: "van"}),
		trk.TokensCreateID:      trk.AppendNewToken(nil, &trk.NewTokenT{Name: "x", Role: "viewer", TtlMs: 1000}),
		trk.TokensRevokeID:      trk.AppendTokenRef(nil, &trk.TokenRefT{Id: "0123456789abcdef"}),
		trk.PublishReportID:     trk.AppendReportReq(nil, &trk.ReportReqT{Device: "van", Fixes: []*trk.FixT{{Time: 1.7e12, Has: 31, Lat: 5}}}),
		trk.ExampleSumID:        trk.AppendSumReq(nil, &trk.SumReqT{A: 1, B: 2}),
		trk.ExampleEchoID:       trk.AppendEchoReq(nil, &trk.EchoReqT{Payload: []byte("hello")}),
		trk.ExampleSubID:        trk.AppendSubReq(nil, &trk.SubReqT{Topic: "t"}),
		trk.ExamplePubID:        trk.AppendPubReq(nil, &trk.PubReqT{Topic: "t", Count: 3}),
	}
}

// FuzzBodies sends anything to any method of a real door, as an admin. There is always an
// answer, it is never our fault, and the connection lives.
func FuzzBodies(f *testing.F) {
	for id, body := range seeds() {
		f.Add(id, body)
	}
	h := newHouse(f, nil)
	van := h.enroll("van")[0].Device
	h.apply(fixAt(van, 1, 50, 10))
	h.apply(track.Fix{Device: van, Wire: van, Time: epochMillis + 5000, Arrived: epochMillis})
	c := h.dial(bearer(h.admin))
	methods := trk.Methods()
	f.Fuzz(func(t *testing.T, id uint16, body []byte) {
		m, ok := trk.MethodOf(id)
		if !ok {
			m = &methods[int(id)%len(methods)]
		}
		if in, err := trk.ReadSleepReq(body); m.ID == trk.ExampleSleepID && err == nil && in.Ms() > 1 && in.Ms() <= maxSleep {
			return // nothing new, only slow
		}
		for _, s := range h.gate.sessions.list() {
			s.mu.Lock()
			s.turn = time.Time{} // nobody has to wait for a view here
			s.mu.Unlock()
		}
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		var err error
		if m.Stream {
			var s *rpc.Stream
			if s, err = c.Subscribe(ctx, m.ID, body); err == nil {
				s.Close()
			}
		} else {
			_, err = c.Call(ctx, m.ID, body)
		}
		if err == nil {
			return
		}
		var e *rpc.Error
		if !errors.As(err, &e) || e.Status == rpc.Internal || e.Status == rpc.Unknown || e.Status == rpc.Unavailable || e.Status == rpc.DeadlineExceeded || e.Status == rpc.PermissionDenied {
			t.Fatalf("%s: %v", m.FullName(), err)
		}
	})
}
