package trk_test

import (
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"tracker/pkg/rpc"
	"tracker/pkg/wire/trk"
	"tracker/pkg/wire/trk/internal/later"
	"tracker/pkg/wire/trk/internal/v2"
)

// peer is what a client of any version can do with the Example service.
type peer interface {
	sum(a, b int32) (int32, error)
	asyncSum(a, b int32) (int32, error)
	sleep(ms uint32, a, b int32) (int32, error)
	echo(payload []byte) ([]byte, error)
	pub(topic string, count uint32) (published uint32, err error)
	sub(topic string) (subscribers uint32, values []int32, err error)
}

// old is of today's schema.
type old struct{ c trk.ExampleClient }

func (p old) sum(a, b int32) (int32, error) {
	out, err := p.c.Sum(context.Background(), &trk.SumReqT{A: a, B: b})
	if err != nil {
		return 0, err
	}
	return out.Sum(), nil
}

func (p old) asyncSum(a, b int32) (int32, error) {
	type answer struct {
		sum int32
		err error
	}
	done := make(chan answer, 1)
	err := p.c.AsyncSumAsync(context.Background(), &trk.SumReqT{A: a, B: b}, func(out trk.SumRsp, err error) {
		if err != nil {
			done <- answer{err: err}
			return
		}
		done <- answer{sum: out.Sum()}
	})
	if err != nil {
		return 0, err
	}
	x := <-done
	return x.sum, x.err
}

func (p old) sleep(ms uint32, a, b int32) (int32, error) {
	out, err := p.c.Sleep(context.Background(), &trk.SleepReqT{Ms: ms, A: a, B: b})
	if err != nil {
		return 0, err
	}
	return out.Sum(), nil
}

func (p old) echo(payload []byte) ([]byte, error) {
	out, err := p.c.Echo(context.Background(), &trk.EchoReqT{Payload: payload})
	return out.PayloadBytes(), err
}

func (p old) pub(topic string, count uint32) (uint32, error) {
	out, err := p.c.Pub(context.Background(), &trk.PubReqT{Topic: topic, Count: count})
	if err != nil {
		return 0, err
	}
	return out.Published(), nil
}

func (p old) sub(topic string) (uint32, []int32, error) {
	s, err := p.c.Sub(context.Background(), &trk.SubReqT{Topic: topic})
	if err != nil {
		return 0, nil, err
	}
	ack, err := s.Ack()
	if err != nil {
		return 0, nil, err
	}
	var values []int32
	for {
		in, _, err := s.Next(context.Background())
		if errors.Is(err, io.EOF) {
			return ack.Subscribers(), values, nil
		}
		if err != nil {
			return 0, nil, err
		}
		values = append(values, in.Value())
	}
}

// newer is of the grown schema, and says all that is new in it.
type newer struct{ c v2.ExampleClient }

func (p newer) request(a, b int32) *v2.SumReqT {
	return &v2.SumReqT{A: a, B: b, C: 1000, Label: "new", Weights: []float64{1, 2}}
}

func (p newer) sum(a, b int32) (int32, error) {
	out, err := p.c.Sum(context.Background(), p.request(a, b))
	if err != nil {
		return 0, err
	}
	return out.Sum(), nil
}

func (p newer) asyncSum(a, b int32) (int32, error) {
	out, err := p.c.AsyncSum(context.Background(), p.request(a, b))
	if err != nil {
		return 0, err
	}
	return out.Sum(), nil
}

func (p newer) sleep(ms uint32, a, b int32) (int32, error) {
	out, err := p.c.Sleep(context.Background(), &v2.SleepReqT{Ms: ms, A: a, B: b})
	if err != nil {
		return 0, err
	}
	return out.Sum(), nil
}

func (p newer) echo(payload []byte) ([]byte, error) {
	out, err := p.c.Echo(context.Background(), &v2.EchoReqT{Payload: payload, Times: 1})
	return out.PayloadBytes(), err
}

func (p newer) pub(topic string, count uint32) (uint32, error) {
	out, err := p.c.Pub(context.Background(), &v2.PubReqT{Topic: topic, Count: count, Urgent: true})
	if err != nil {
		return 0, err
	}
	return out.Published(), nil
}

func (p newer) sub(topic string) (uint32, []int32, error) {
	s, err := p.c.Sub(context.Background(), &v2.SubReqT{Topic: topic, Since: 1})
	if err != nil {
		return 0, nil, err
	}
	ack, err := s.Ack()
	if err != nil {
		return 0, nil, err
	}
	var values []int32
	for {
		in, _, err := s.Next(context.Background())
		if errors.Is(err, io.EOF) {
			return ack.Subscribers(), values, nil
		}
		if err != nil {
			return 0, nil, err
		}
		values = append(values, in.Value())
	}
}

type oldServer struct{}

func (oldServer) Sum(_ *rpc.Request, in trk.SumReq, out []byte) ([]byte, error) {
	return trk.AppendSumRsp(out, &trk.SumRspT{Sum: in.A() + in.B()}), nil
}

func (s oldServer) AsyncSum(r *rpc.Request, in trk.SumReq, out []byte) ([]byte, error) {
	return s.Sum(r, in, out)
}

func (oldServer) Sleep(_ *rpc.Request, in trk.SleepReq, out []byte) ([]byte, error) {
	return trk.AppendSumRsp(out, &trk.SumRspT{Sum: in.A() + in.B()}), nil
}

func (oldServer) Echo(_ *rpc.Request, in trk.EchoReq, out []byte) ([]byte, error) {
	return trk.AppendEchoRsp(out, &trk.EchoRspT{Payload: in.PayloadBytes()}), nil
}

func (oldServer) Pub(_ *rpc.Request, in trk.PubReq, out []byte) ([]byte, error) {
	return trk.AppendPubAck(out, &trk.PubAckT{Published: in.Count()}), nil
}

func (oldServer) Sub(_ *rpc.Request, in trk.SubReq, s trk.ExampleSubPublisher) error {
	if err := s.Answer(&trk.SubAckT{Subscribers: uint32(len(in.Topic()))}); err != nil {
		return err
	}
	for i := range int32(5) {
		if err := s.Send(uint64(i), &trk.PublishedT{Value: i}); err != nil {
			return err
		}
	}
	return nil
}

func connect(t *testing.T, s *rpc.Server) *rpc.Client {
	t.Helper()
	ours, theirs := net.Pipe()
	done := make(chan struct{})
	go func() {
		defer close(done)
		s.ServeConn(context.Background(), theirs)
	}()
	t.Cleanup(func() { <-done })
	c, err := rpc.NewClient(context.Background(), ours, rpc.ClientConfig{Hello: rpc.Hello{SchemaHash: trk.SchemaHash}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

func TestVersionsUnderstandEachOther(t *testing.T) {
	if trk.SchemaHash == v2.SchemaHash {
		t.Fatal("both versions have the same hash")
	}
	servers := map[string]func(*rpc.Server){
		"old server":   func(s *rpc.Server) { trk.RegisterExample(s, oldServer{}, nil) },
		"later server": func(s *rpc.Server) { v2.RegisterExample(s, later.Server{}, nil) },
	}
	clients := map[string]func(rpc.Caller) peer{
		"old client":   func(c rpc.Caller) peer { return old{trk.ExampleClient{Caller: c}} },
		"later client": func(c rpc.Caller) peer { return newer{v2.ExampleClient{Caller: c}} },
	}
	for serverName, register := range servers {
		for clientName, dial := range clients {
			t.Run(clientName+", "+serverName, func(t *testing.T) {
				s := rpc.NewServer(rpc.Config{})
				register(s)
				conform(t, dial(connect(t, s)))
			})
		}
	}
}

// conform is what every pair of versions has to do alike.
func conform(t *testing.T, p peer) {
	if got, err := p.sum(2, -5); got != -3 || err != nil {
		t.Errorf("sum: %d, %v", got, err)
	}
	if got, err := p.asyncSum(1<<30, 1<<30); got != -1<<31 || err != nil {
		t.Errorf("asyncSum: %d, %v", got, err)
	}
	if got, err := p.sleep(1, 3, 4); got != 7 || err != nil {
		t.Errorf("sleep: %d, %v", got, err)
	}
	long := strings.Repeat("long ", 50_000)
	if got, err := p.echo([]byte(long)); string(got) != long || err != nil {
		t.Errorf("echo: %d bytes, %v", len(got), err)
	}
	if got, err := p.pub("tea", 3); got != 3 || err != nil {
		t.Errorf("pub: %d, %v", got, err)
	}
	n, values, err := p.sub("tea")
	if n != 3 || len(values) != 5 || values[4] != 4 || err != nil {
		t.Errorf("sub: %d, %v, %v", n, values, err)
	}
}

func TestWhatIsNewIsAbsentOrUnimplemented(t *testing.T) {
	s := rpc.NewServer(rpc.Config{})
	trk.RegisterExample(s, oldServer{}, nil)
	c := v2.ExampleClient{Caller: connect(t, s)}
	out, err := c.Sum(context.Background(), &v2.SumReqT{A: 1, B: 2, C: 4, Weights: []float64{1}})
	if err != nil || out.Sum() != 3 || out.Exact() != 0 || out.TermsLength() != 0 || out.Label() != nil {
		t.Errorf("got %+v, %v", out.UnPack(), err)
	}
	if _, err := c.Product(context.Background(), &v2.SumReqT{}); rpc.StatusOf(err) != rpc.Unimplemented {
		t.Errorf("a method that the server does not know: %v", err)
	}
	owners := v2.OwnersClient(c)
	if _, err := owners.List(context.Background(), nil); rpc.StatusOf(err) != rpc.Unimplemented {
		t.Errorf("a service that the server does not know: %v", err)
	}
}

func TestWhatIsRequiredIsMissedByBothVersions(t *testing.T) {
	for name, register := range map[string]func(*rpc.Server){
		"old":   func(s *rpc.Server) { trk.RegisterExample(s, oldServer{}, nil) },
		"later": func(s *rpc.Server) { v2.RegisterExample(s, later.Server{}, nil) },
	} {
		s := rpc.NewServer(rpc.Config{})
		register(s)
		c := connect(t, s)
		for _, body := range [][]byte{nil, []byte("nonsense"), trk.AppendSumReq(nil, nil)} {
			_, err := c.Subscribe(context.Background(), trk.ExampleSubID, body)
			if rpc.StatusOf(err) != rpc.BadBody {
				t.Errorf("%s: %q: %v", name, body, err)
			}
		}
	}
}

// TestDeepTablesAreRefused needs a table in itself, which only the later schema has.
func TestDeepTablesAreRefused(t *testing.T) {
	chain := func(n int) []byte {
		o := &v2.OwnerT{Name: "root"}
		for range n - 1 {
			o = &v2.OwnerT{Of: o}
		}
		return v2.AppendOwner(nil, o)
	}
	if !v2.VerifyOwner(chain(64)) {
		t.Error("64 owners are refused")
	}
	if v2.VerifyOwner(chain(65)) {
		t.Error("65 owners are accepted")
	}
}

// TestVersionsReadEachOthersTables is about tables that travel outside of Example.
func TestVersionsReadEachOthersTables(t *testing.T) {
	frame := &v2.WatchFrameT{
		Kind: v2.FrameKindFixes, Epoch: "e", Fixes: []*v2.FixT{{Time: 5}}, Names: []string{"van"},
		Sent: 1, Owners: []*v2.OwnerT{{Name: "x"}},
	}
	got, err := trk.ReadWatchFrame(v2.AppendWatchFrame(nil, frame))
	if err != nil {
		t.Fatal(err)
	}
	var fix trk.Fix
	if !got.Fixes(&fix, 0) || fix.Time() != 5 || string(got.Names(0)) != "van" || got.FixesLength() != 1 {
		t.Errorf("got %+v", got.UnPack())
	}
	back, err := v2.ReadWatchFrame(trk.AppendWatchFrame(nil, got.UnPack()))
	if err != nil || back.OwnersLength() != 0 || string(back.Names(0)) != "van" {
		t.Errorf("got %+v, %v", back.UnPack(), err)
	}
	if _, err := v2.ReadEmpty(nil); err != nil {
		t.Errorf("nothing is no longer an Empty: %v", err)
	}
}

func TestGuardIsAskedFirst(t *testing.T) {
	s := rpc.NewServer(rpc.Config{})
	var asked []string
	trk.RegisterExample(s, oldServer{}, func(_ *rpc.Request, m *trk.MethodInfo) error {
		asked = append(asked, m.FullName()+" "+m.Scope)
		return rpc.Errorf(rpc.PermissionDenied, "no")
	})
	c := connect(t, s)
	if _, err := c.Call(context.Background(), trk.ExampleSumID, []byte("nonsense")); rpc.StatusOf(err) != rpc.PermissionDenied {
		t.Errorf("sum: %v", err)
	}
	if _, err := c.Subscribe(context.Background(), trk.ExampleSubID, nil); rpc.StatusOf(err) != rpc.PermissionDenied {
		t.Errorf("sub: %v", err)
	}
	if len(asked) != 2 || asked[0] != "Example.Sum any" || asked[1] != "Example.Sub any" {
		t.Errorf("asked %q", asked)
	}
}

func TestMethodsAreFound(t *testing.T) {
	all := trk.Methods()
	for i, m := range all {
		if i > 0 && all[i-1].ID >= m.ID {
			t.Errorf("%s does not ascend", m.FullName())
		}
		got, ok := trk.MethodOf(m.ID)
		if !ok || *got != m {
			t.Errorf("%s: got %+v", m.FullName(), got)
		}
	}
	if _, ok := trk.MethodOf(0xffff); ok {
		t.Error("0xffff is a method")
	}
	want := trk.MethodInfo{
		ID: 0x0f05, Service: "Example", Name: "Sub", Exec: rpc.Async, Stream: true,
		Policy: rpc.Latest, Event: 3, Timeout: time.Duration(0), Scope: "any",
	}
	if got, _ := trk.MethodOf(trk.ExampleSubID); *got != want {
		t.Errorf("got %+v, want %+v", *got, want)
	}
}
