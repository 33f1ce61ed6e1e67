package gateway

import (
	"maps"
	"slices"
	"sync"
	"time"

	"tracker/pkg/rpc"
	"tracker/pkg/wire/trk"
)

// example is the service that the documentation explains and the benchmark measures.
type example struct{ *Gateway }

var _ trk.ExampleServer = example{}

const (
	maxSleep     = 1000    // ms
	maxEcho      = 1 << 20 // bytes
	maxTopic     = 64      // bytes of a name
	maxTopics    = 4096
	maxTopicSubs = 65_536 // of all topics together
	maxPub       = 100_000
	pubCheck     = 256 // updates between two looks whether anybody still waits
)

func (example) Sum(_ *rpc.Request, in trk.SumReq, out []byte) ([]byte, error) {
	return trk.AppendSumRsp(out, &trk.SumRspT{Sum: in.A() + in.B()}), nil
}

func (example) AsyncSum(_ *rpc.Request, in trk.SumReq, out []byte) ([]byte, error) {
	return trk.AppendSumRsp(out, &trk.SumRspT{Sum: in.A() + in.B()}), nil
}

func (example) Sleep(r *rpc.Request, in trk.SleepReq, out []byte) ([]byte, error) {
	if in.Ms() > maxSleep {
		return nil, invalid("ms", "%d: want 0..%d", in.Ms(), maxSleep)
	}
	if err := sleep(r, time.Duration(in.Ms())*time.Millisecond); err != nil {
		return nil, err
	}
	return trk.AppendSumRsp(out, &trk.SumRspT{Sum: in.A() + in.B()}), nil
}

func (example) Echo(_ *rpc.Request, in trk.EchoReq, out []byte) ([]byte, error) {
	if in.PayloadLength() > maxEcho {
		return nil, invalid("payload", "%d bytes: want at most %d", in.PayloadLength(), maxEcho)
	}
	return trk.AppendEchoRsp(out, &trk.EchoRspT{Payload: in.PayloadBytes()}), nil
}

func (x example) Sub(r *rpc.Request, in trk.SubReq, p trk.ExampleSubPublisher) error {
	name, err := topicName(in.Topic())
	if err != nil {
		return err
	}
	if err := x.topics.join(name, p.Subscription, func(n int) error {
		return p.Answer(&trk.SubAckT{Subscribers: uint32(n)})
	}); err != nil {
		return err
	}
	defer x.topics.leave(name, p.Subscription)
	<-r.Context().Done()
	return r.Context().Err()
}

func (x example) Pub(r *rpc.Request, in trk.PubReq, out []byte) ([]byte, error) {
	name, err := topicName(in.Topic())
	if err != nil {
		return nil, err
	}
	if in.Count() > maxPub {
		return nil, invalid("count", "%d: want 0..%d", in.Count(), maxPub)
	}
	ack := trk.PubAckT{Published: max(1, in.Count())}
	subs := x.topics.subscribers(name)
	ack.Subscribers = uint32(len(subs))
	if len(subs) == 0 {
		return trk.AppendPubAck(out, &ack), nil
	}
	update := trk.PublishedT{Key: in.Key(), Value: in.Value()}
	var body []byte
	for i := range ack.Published {
		if i%pubCheck == 0 && r.Stopped() {
			return nil, rpc.Errorf(rpc.Canceled, "%d of %d were published", i, ack.Published)
		}
		body = trk.AppendPublished(body[:0], &update)
		for _, s := range subs {
			_ = s.Publish(uint64(update.Key), trk.ExampleSubEvent, body) // one that is over does not end the others
		}
		update.Value++
	}
	return trk.AppendPubAck(out, &ack), nil
}

func topicName(b []byte) (string, error) {
	if len(b) == 0 || len(b) > maxTopic {
		return "", invalid("topic", "%d bytes: want 1..%d", len(b), maxTopic)
	}
	return string(b), nil
}

// topics is who subscribes to what. A topic exists while somebody does.
type topics struct {
	mu     sync.Mutex
	byName map[string]map[*rpc.Subscription]struct{}
	subs   int
}

// join adds a subscriber and tells it how many there are, before anybody can publish to
// it.
func (ts *topics) join(name string, s *rpc.Subscription, tell func(n int) error) error {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	t := ts.byName[name]
	if ts.subs >= maxTopicSubs || t == nil && len(ts.byName) >= maxTopics {
		return &rpc.Error{Status: rpc.ResourceExhausted, Reason: "rate_limited", Message: "too many topics or subscribers", NotRun: true}
	}
	if err := tell(len(t) + 1); err != nil {
		return err
	}
	if ts.byName == nil {
		ts.byName = map[string]map[*rpc.Subscription]struct{}{}
	}
	if t == nil {
		t = map[*rpc.Subscription]struct{}{}
		ts.byName[name] = t
	}
	t[s] = struct{}{}
	ts.subs++
	return nil
}

func (ts *topics) leave(name string, s *rpc.Subscription) {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	ts.subs--
	if delete(ts.byName[name], s); len(ts.byName[name]) == 0 {
		delete(ts.byName, name)
	}
}

func (ts *topics) subscribers(name string) []*rpc.Subscription {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	return slices.Collect(maps.Keys(ts.byName[name]))
}
