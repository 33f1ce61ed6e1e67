package gateway

import (
	"fmt"
	"math"
	"time"

	"tracker/pkg/rpc"
	"tracker/pkg/wire/trk"
)

// register has the frame layer answer every service of the schema.
func (g *Gateway) register() {
	trk.RegisterSession(g.rpc, sessionService{g}, guard)
	trk.RegisterPositions(g.rpc, positions{g}, guard)
	trk.RegisterWatch(g.rpc, watch{g}, guard)
	trk.RegisterDevices(g.rpc, devices{g}, guard)
	trk.RegisterTokens(g.rpc, tokens{g}, guard)
	trk.RegisterPublish(g.rpc, publish{g}, guard)
	trk.RegisterStatus(g.rpc, status{g}, guard)
	trk.RegisterMaps(g.rpc, mapService{g}, guard)
	if !g.cfg.NoExample {
		trk.RegisterExample(g.rpc, example{g}, guard)
	}
}

// sessionService tells who is calling.
type sessionService struct{ *Gateway }

var _ trk.SessionServer = sessionService{}

func (g sessionService) Info(r *rpc.Request, _ trk.Empty, out []byte) ([]byte, error) {
	return g.appendInfo(out, sessionOf(r)), nil
}

// Refresh swaps the identity of the connection. What is under way goes on, but for
// watches that the new one may not have.
func (g sessionService) Refresh(r *rpc.Request, in trk.RefreshReq, out []byte) ([]byte, error) {
	who, err := g.bearer(string(in.Token()))
	if err != nil {
		g.stats.strangers.Add(1)
		return nil, err
	}
	s := sessionOf(r)
	s.become(&who)
	return g.appendInfo(out, s), nil
}

func (g sessionService) appendInfo(out []byte, s *session) []byte {
	who := s.who.Load()
	info := trk.SessionInfoT{Id: who.Token, Name: who.Name, Role: string(who.Role), Expires: millis(who.Expires),
		Version: g.cfg.Version, Now: millis(g.cfg.Now())}
	if who.Token == "" {
		info.Id = who.Device.String()
	}
	return trk.AppendSessionInfo(out, &info)
}

// millis is a time as the schema writes it; none is 0.
func millis(t time.Time) float64 {
	if t.IsZero() {
		return 0
	}
	return float64(t.UnixMilli())
}

// maxMillis is the last whole number that a double counts without leaving one out.
const maxMillis = 1 << 53

// moment reads a time of the schema; 0 is none.
func moment(field string, ms float64) (time.Time, error) {
	if ms == 0 {
		return time.Time{}, nil
	}
	if !(math.Abs(ms) <= maxMillis) || ms != math.Trunc(ms) {
		return time.Time{}, invalid(field, "%v: want whole unix milliseconds", ms)
	}
	return time.UnixMilli(int64(ms)), nil
}

func hex64(v uint64) string { return fmt.Sprintf("%016x", v) }

// limit reads a limit of the schema, in which 0 is for who does not say.
func limit(n uint32) *int {
	if n == 0 {
		return nil
	}
	v := int(min(n, math.MaxInt32))
	return &v
}

// shortSleep is slept without an ear for the caller: making the context would cost more
// than it saves.
const shortSleep = 20 * time.Millisecond

// sleep ends early with the request, unless it is short.
func sleep(r *rpc.Request, d time.Duration) error {
	if d <= shortSleep {
		time.Sleep(d)
		return nil
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-r.Context().Done():
		return r.Context().Err()
	}
}
