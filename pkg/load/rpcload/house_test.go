package rpcload

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"testing"
	"time"

	"tracker/pkg/load/leaktest"
	"tracker/pkg/rpc"
	"tracker/pkg/wire/trk"
)

func TestMain(m *testing.M) { os.Exit(leaktest.Run(m)) }

// example answers as the documentation says; publishing is not measured.
type example struct{ trk.ExampleServer }

func (example) Sum(_ *rpc.Request, in trk.SumReq, out []byte) ([]byte, error) {
	return trk.AppendSumRsp(out, &trk.SumRspT{Sum: in.A() + in.B()}), nil
}

func (example) AsyncSum(_ *rpc.Request, in trk.SumReq, out []byte) ([]byte, error) {
	return trk.AppendSumRsp(out, &trk.SumRspT{Sum: in.A() + in.B()}), nil
}

func (example) Sleep(r *rpc.Request, in trk.SleepReq, out []byte) ([]byte, error) {
	t := time.NewTimer(time.Duration(in.Ms()) * time.Millisecond)
	defer t.Stop()
	select {
	case <-t.C:
	case <-r.Context().Done():
		return out, r.Context().Err()
	}
	return trk.AppendSumRsp(out, &trk.SumRspT{Sum: in.A() + in.B()}), nil
}

func (example) Echo(_ *rpc.Request, in trk.EchoReq, out []byte) ([]byte, error) {
	return trk.AppendEchoRsp(out, &trk.EchoRspT{Payload: in.PayloadBytes()}), nil
}

// serve listens on a free port and hands each connection to one until the test is over.
func serve(t testing.TB, one func(ctx context.Context, nc net.Conn)) func(context.Context) (net.Conn, error) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			nc, err := l.Accept()
			if err != nil {
				return
			}
			wg.Go(func() {
				defer nc.Close()
				defer context.AfterFunc(ctx, func() { nc.Close() })()
				one(ctx, nc)
			})
		}
	})
	t.Cleanup(func() {
		cancel()
		l.Close()
		wg.Wait()
	})
	return func(ctx context.Context) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "tcp", l.Addr().String())
	}
}

// honest is the layer itself with the example service.
func honest(t testing.TB, cfg rpc.Config) func(context.Context) (net.Conn, error) {
	t.Helper()
	s := rpc.NewServer(cfg)
	trk.RegisterExample(s, example{}, nil)
	return serve(t, s.ServeConn)
}

// liar answers sums by hand, and may change what it says: answer gets the frames read
// so far by their number and appends what to send.
func liar(t testing.TB, answer func(n int, f rpc.Frame, out []byte) []byte) func(context.Context) (net.Conn, error) {
	t.Helper()
	front := rpc.NewServer(rpc.Config{}) // says WELCOME for us
	return serve(t, func(ctx context.Context, nc net.Conn) {
		n := -1
		converse(ctx, front, nc, func(f rpc.Frame) []byte {
			if f.Kind == rpc.KindPing {
				f.Kind = rpc.KindPong
				return rpc.AppendFrame(nil, f)
			}
			n++
			return answer(n, f, nil)
		})
	})
}

// gossip is a liar for pings, too.
func gossip(t testing.TB, answer func(f rpc.Frame) []byte) func(context.Context) (net.Conn, error) {
	t.Helper()
	front := rpc.NewServer(rpc.Config{})
	return serve(t, func(ctx context.Context, nc net.Conn) { converse(ctx, front, nc, answer) })
}

// converse answers frames until the other end is gone.
func converse(ctx context.Context, front *rpc.Server, nc net.Conn, answer func(f rpc.Frame) []byte) {
	welcome, hello := overheard(ctx, front, nc)
	if !hello {
		return
	}
	if _, err := nc.Write(welcome); err != nil {
		return
	}
	for {
		f, err := readFrame(nc)
		if err != nil {
			return
		}
		if _, err := nc.Write(answer(f)); err != nil {
			return
		}
	}
}

// overheard lets a real server greet, and gives its WELCOME.
func overheard(ctx context.Context, front *rpc.Server, nc net.Conn) (welcome []byte, ok bool) {
	ours, theirs := net.Pipe()
	var wg sync.WaitGroup
	wg.Go(func() { front.ServeConn(ctx, theirs) })
	defer wg.Wait()
	defer ours.Close()
	hello := make([]byte, len(rpc.Preamble))
	if _, err := io.ReadFull(nc, hello); err != nil {
		return nil, false
	}
	f, err := readFrame(nc)
	if err != nil {
		return nil, false
	}
	if _, err := ours.Write(rpc.AppendFrame(hello, f)); err != nil {
		return nil, false
	}
	w, err := readFrame(ours)
	return rpc.AppendFrame(nil, w), err == nil && w.Kind == rpc.KindWelcome
}

func readFrame(r io.Reader) (rpc.Frame, error) {
	var h [rpc.HeaderSize]byte
	if _, err := io.ReadFull(r, h[:]); err != nil {
		return rpc.Frame{}, err
	}
	f := rpc.Frame{
		Kind: rpc.Kind(h[3] & 15), Flags: h[3] >> 4, ID: uint32(h[4]) | uint32(h[5])<<8 | uint32(h[6])<<16 | uint32(h[7])<<24,
		Code: uint16(h[8]) | uint16(h[9])<<8, Aux: uint16(h[10]) | uint16(h[11])<<8,
		Body: make([]byte, int(h[0])|int(h[1])<<8|int(h[2])<<16),
	}
	_, err := io.ReadFull(r, f.Body)
	return f, err
}

func sumFrame(f rpc.Frame, off int32) rpc.Frame {
	in, err := trk.ReadSumReq(f.Body)
	if err != nil {
		panic(err)
	}
	return rpc.Frame{Kind: rpc.KindRsp, ID: f.ID, Body: trk.AppendSumRsp(nil, &trk.SumRspT{Sum: in.A() + in.B() + off})}
}

var errNobody = errors.New("nobody is there")

func appendSum(out []byte, sum int32) []byte {
	return trk.AppendSumRsp(out, &trk.SumRspT{Sum: sum})
}

func patchSum(rsp []byte, sum int32) {
	for i := range 4 {
		rsp[len(rsp)-4+i] = byte(sum >> (8 * i))
	}
}
