package trk_test

import (
	"context"
	"testing"

	"tracker/pkg/rpc"
	"tracker/pkg/wire/trk"
)

type publish struct{ keys chan string }

func (publish) Report(_ *rpc.Request, in trk.ReportReq, out []byte) ([]byte, error) {
	return trk.AppendReportAck(out, &trk.ReportAckT{Accepted: uint32(in.FixesLength())}), nil
}

// keyedPublish knows better than the field.
type keyedPublish struct{ publish }

func (p keyedPublish) ReportKey(_ *rpc.Request, in trk.ReportReq) uint64 {
	p.keys <- string(in.Device())
	return 7
}

var _ trk.ReportKeyer = keyedPublish{}

func TestKeyOfARequest(t *testing.T) {
	for name, impl := range map[string]trk.PublishServer{
		"by its field":  publish{},
		"by the server": keyedPublish{publish{make(chan string, 1)}},
	} {
		s := rpc.NewServer(rpc.Config{})
		trk.RegisterPublish(s, impl, nil)
		c := trk.PublishClient{Caller: connect(t, s)}
		ack, err := c.Report(context.Background(), &trk.ReportReqT{Device: "van", Fixes: []*trk.FixT{{}, {}}})
		if err != nil || ack.Accepted() != 2 {
			t.Errorf("%s: %v", name, err)
		}
		if k, ok := impl.(keyedPublish); ok && <-k.keys != "van" {
			t.Errorf("%s: asked with another request", name)
		}
		_, err = c.Caller.Call(context.Background(), trk.PublishReportID, []byte("nonsense"))
		if rpc.StatusOf(err) != rpc.BadBody {
			t.Errorf("%s: nonsense: %v", name, err)
		}
	}
}
