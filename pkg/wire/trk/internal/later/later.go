// Package later is a server of a newer schema, for tests that hold today's clients
// against it.
package later

import (
	"tracker/pkg/rpc"
	"tracker/pkg/wire/trk/internal/v2"
)

// Server answers Example, more or less, and says more than today's clients know.
type Server struct{}

var _ v2.ExampleServer = Server{}

func (Server) answer(in v2.SumReq, out []byte) ([]byte, error) {
	sum := in.A() + in.B()
	return v2.AppendSumRsp(out, &v2.SumRspT{Sum: sum, Exact: float64(sum), Terms: []int32{in.A(), in.B()}, Label: string(in.Label())}), nil
}

func (s Server) Sum(_ *rpc.Request, in v2.SumReq, out []byte) ([]byte, error) {
	return s.answer(in, out)
}

func (s Server) AsyncSum(_ *rpc.Request, in v2.SumReq, out []byte) ([]byte, error) {
	return s.answer(in, out)
}

func (Server) Product(_ *rpc.Request, in v2.SumReq, out []byte) ([]byte, error) {
	return v2.AppendSumRsp(out, &v2.SumRspT{Sum: in.A() * in.B()}), nil
}

func (Server) Sleep(_ *rpc.Request, in v2.SleepReq, out []byte) ([]byte, error) {
	return v2.AppendSumRsp(out, &v2.SumRspT{Sum: in.A() + in.B(), Label: "slept"}), nil
}

func (Server) Echo(_ *rpc.Request, in v2.EchoReq, out []byte) ([]byte, error) {
	return v2.AppendEchoRsp(out, &v2.EchoRspT{Payload: in.PayloadBytes(), Checksum: 7}), nil
}

func (Server) Pub(_ *rpc.Request, in v2.PubReq, out []byte) ([]byte, error) {
	return v2.AppendPubAck(out, &v2.PubAckT{Published: in.Count(), Position: 9}), nil
}

func (Server) Sub(_ *rpc.Request, in v2.SubReq, s v2.ExampleSubPublisher) error {
	ack := &v2.SubAckT{Subscribers: uint32(len(in.Topic())), Topic: string(in.Topic()), Owner: &v2.OwnerT{Name: "x", Of: &v2.OwnerT{Name: "y"}}}
	if err := s.Answer(ack); err != nil {
		return err
	}
	for i := range int32(5) {
		if err := s.Send(uint64(i), &v2.PublishedT{Value: i, Topic: "t", At: &v2.PointT{Lat: 1}, Time: 2}); err != nil {
			return err
		}
	}
	return nil
}
