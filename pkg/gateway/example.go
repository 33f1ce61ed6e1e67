package gateway

import (
	"maps"
	"slices"
	"sync"
	"time"

	"tracker/pkg/fault"
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
	pubCheck     = 4096    // updates to one subscriber each between two looks whether anybody still waits
	maxKept      = 1 << 19 // updates that all subscribers together may keep back: each of its topic's keys
	maxSleepers  = 1 << 15 // calls asleep in the whole server: each holds a goroutine
	bigFanout    = 1 << 16 // updates to one subscriber each that make a publication a big one
	maxFanouts   = 2       // of these at a time: more would leave the river no processor
)

func (example) Sum(_ *rpc.Request, in trk.SumReq, out []byte) ([]byte, error) {
	return trk.AppendSumRsp(out, &trk.SumRspT{Sum: fault.Sum(in.A() + in.B())}), nil
}

func (example) AsyncSum(_ *rpc.Request, in trk.SumReq, out []byte) ([]byte, error) {
	return trk.AppendSumRsp(out, &trk.SumRspT{Sum: fault.Sum(in.A() + in.B())}), nil
}

func (x example) Sleep(r *rpc.Request, in trk.SleepReq, out []byte) ([]byte, error) {
	if in.Ms() > maxSleep {
		return nil, invalid("ms", "%d: want 0..%d", in.Ms(), maxSleep)
	}
	defer x.sleepers.Add(-1)
	if x.sleepers.Add(1) > maxSleepers {
		return nil, tooMany("calls asleep")
	}
	if err := sleep(r, time.Duration(in.Ms())*time.Millisecond); err != nil {
		return nil, err
	}
	return trk.AppendSumRsp(out, &trk.SumRspT{Sum: in.A() + in.B()}), nil
}

// tooMany refuses what is bounded for the server as a whole.
func tooMany(what string) *rpc.Error {
	return &rpc.Error{Status: rpc.ResourceExhausted, Reason: "rate_limited", Message: "too many " + what, NotRun: true}
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
	subs, err := x.topics.publish(name, in.Key())
	if err != nil {
		return nil, err
	}
	ack.Subscribers = uint32(len(subs))
	if uint64(len(subs))*uint64(ack.Published) >= bigFanout {
		defer x.fanouts.Add(-1)
		if x.fanouts.Add(1) > maxFanouts {
			return nil, tooMany("big publications at a time")
		}
	}
	if err := fanOut(r, subs, trk.PublishedT{Key: in.Key(), Value: in.Value()}, ack.Published); err != nil {
		return nil, err
	}
	return trk.AppendPubAck(out, &ack), nil
}

func fanOut(r *rpc.Request, subs []*rpc.Subscription, update trk.PublishedT, count uint32) error {
	if len(subs) == 0 {
		return nil
	}
	var body []byte
	unchecked := 0
	for i := range count {
		body = trk.AppendPublished(body[:0], &update)
		for _, s := range subs {
			if unchecked++; unchecked >= pubCheck {
				if unchecked = 0; r.Stopped() {
					return rpc.Errorf(rpc.Canceled, "%d of %d were published", i, count)
				}
			}
			_ = s.Publish(uint64(update.Key), trk.ExampleSubEvent, body) // one that is over does not end the others
		}
		update.Value++
	}
	return nil
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
	byName map[string]*topic
	subs   int
	kept   int // the most that subscribers may have to keep back: of each topic its keys, for each of its subscribers
}

// topic is the subscribers of a name, and the keys that were published to them.
type topic struct {
	subs map[*rpc.Subscription]struct{}
	list []*rpc.Subscription // all of subs, for those who publish; nil: to be made
	keys map[uint32]struct{}
}

// join adds a subscriber and tells it how many there are, before anybody can publish to
// it.
func (ts *topics) join(name string, s *rpc.Subscription, tell func(n int) error) error {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	t := ts.byName[name]
	if ts.subs >= maxTopicSubs || t == nil && len(ts.byName) >= maxTopics {
		return tooMany("topics or subscribers")
	}
	if t == nil {
		t = &topic{subs: map[*rpc.Subscription]struct{}{}, keys: map[uint32]struct{}{}}
	}
	if ts.kept+len(t.keys) > maxKept {
		return tooMany("keys for one more subscriber")
	}
	if err := tell(len(t.subs) + 1); err != nil {
		return err
	}
	if ts.byName == nil {
		ts.byName = map[string]*topic{}
	}
	ts.byName[name] = t
	t.subs[s], t.list = struct{}{}, nil
	ts.subs++
	ts.kept += len(t.keys)
	return nil
}

func (ts *topics) leave(name string, s *rpc.Subscription) {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	t := ts.byName[name]
	delete(t.subs, s)
	t.list = nil
	ts.subs--
	ts.kept -= len(t.keys)
	if len(t.subs) == 0 {
		delete(ts.byName, name)
	}
}

// publish notes a key and yields whom to tell. The list is shared: publishers may be
// many, and each may take long.
func (ts *topics) publish(name string, key uint32) ([]*rpc.Subscription, error) {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	t := ts.byName[name]
	if t == nil {
		return nil, nil
	}
	if _, known := t.keys[key]; !known {
		if ts.kept+len(t.subs) > maxKept {
			return nil, tooMany("keys for the subscribers of this topic")
		}
		t.keys[key] = struct{}{}
		ts.kept += len(t.subs)
	}
	if t.list == nil {
		t.list = slices.Collect(maps.Keys(t.subs))
	}
	return t.list, nil
}

func (ts *topics) subscribers(name string) int {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	if t := ts.byName[name]; t != nil {
		return len(t.subs)
	}
	return 0
}
