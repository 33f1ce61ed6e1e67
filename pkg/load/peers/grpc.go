package peers

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/encoding"
	"google.golang.org/grpc/mem"

	"tracker/pkg/load"
)

// raw passes bytes through, so that what is measured is gRPC and no serializer.
type raw struct{}

var _ encoding.CodecV2 = raw{}

func (raw) Name() string { return "raw" }

func (raw) Marshal(v any) (mem.BufferSlice, error) {
	b, ok := v.(*[]byte)
	if !ok {
		return nil, fmt.Errorf("raw: %T is not bytes", v)
	}
	return mem.BufferSlice{mem.SliceBuffer(*b)}, nil
}

func (raw) Unmarshal(data mem.BufferSlice, v any) error {
	b, ok := v.(*[]byte)
	if !ok {
		return fmt.Errorf("raw: %T is not bytes", v)
	}
	*b = data.Materialize()
	return nil
}

const (
	grpcSum  = "/bench.Peer/Sum"
	grpcBody = 24 // as long as our request; two numbers are in it
)

// sumHandler adds the two numbers, and nothing else.
func sumHandler(_ any, _ context.Context, decode func(any) error, _ grpc.UnaryServerInterceptor) (any, error) {
	var in []byte
	if err := decode(&in); err != nil {
		return nil, err
	}
	if len(in) != grpcBody {
		return nil, errors.New("a body of another size")
	}
	out := make([]byte, grpcBody)
	binary.LittleEndian.PutUint32(out, binary.LittleEndian.Uint32(in)+binary.LittleEndian.Uint32(in[4:]))
	return &out, nil
}

// ServeGRPC is the process that is measured: it listens on a free port of loopback,
// says where on out, and serves until in ends.
func ServeGRPC(in io.Reader, out io.Writer) error {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	s := grpc.NewServer(grpc.ForceServerCodecV2(raw{}))
	s.RegisterService(&grpc.ServiceDesc{
		ServiceName: "bench.Peer", HandlerType: (*any)(nil),
		Methods: []grpc.MethodDesc{{MethodName: "Sum", Handler: sumHandler}},
	}, struct{}{})
	go func() { // ends with in, and so does the server
		_, _ = io.Copy(io.Discard, in)
		s.Stop()
	}()
	if _, err := fmt.Fprintf(out, "ready %s\n", l.Addr()); err != nil {
		return err
	}
	return s.Serve(l)
}

// GRPC is a gRPC server in a process of its own.
type GRPC struct {
	*load.Child
	cc    *grpc.ClientConn
	stdin io.Closer
}

// StartGRPC starts self, which has to call ServeGRPC when it is run with args.
func StartGRPC(ctx context.Context, seats load.Seats, self string, args ...string) (*GRPC, error) {
	cmd := seats.Command(context.WithoutCancel(ctx), seats.Server, self, args...) // Close ends it
	return startGRPC(ctx, cmd)
}

func startGRPC(ctx context.Context, cmd *exec.Cmd) (*GRPC, error) {
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	ready, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	g := &GRPC{stdin: stdin}
	if g.Child, err = load.StartChild(ready, cmd, "the gRPC server", func(l string) bool { return strings.HasPrefix(l, "ready ") }); err != nil {
		return nil, err
	}
	g.cc, err = grpc.NewClient("passthrough:///"+strings.TrimPrefix(g.Ready, "ready "),
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultCallOptions(grpc.ForceCodecV2(raw{})))
	if err != nil {
		return nil, errors.Join(err, g.Close())
	}
	return g, nil
}

// Close ends the server.
func (g *GRPC) Close() error {
	if g == nil {
		return nil
	}
	var err error
	if g.cc != nil {
		err = g.cc.Close()
	}
	return errors.Join(err, g.stdin.Close(), g.Stop())
}

// Measure lets so many callers call one after the other on one connection, and checks
// every answer.
func (g *GRPC) Measure(ctx context.Context, callers int, warmup, duration time.Duration) (Figure, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var answered atomic.Int64
	var stop atomic.Bool
	var wg sync.WaitGroup
	for i := range callers {
		wg.Go(func() {
			for n := uint32(i); !stop.Load(); n += uint32(callers) {
				if err := g.sum(ctx, n, n^0x5bd1e995); err != nil {
					cancel(err)
					return
				}
				answered.Add(1)
			}
		})
	}
	f, err := measure(ctx, &g.Process, &answered, warmup, duration)
	stop.Store(true)
	wg.Wait()
	if cause := context.Cause(ctx); cause != nil {
		err = cause
	}
	return f, err
}

func (g *GRPC) sum(ctx context.Context, a, b uint32) error {
	in := make([]byte, grpcBody)
	binary.LittleEndian.PutUint32(in, a)
	binary.LittleEndian.PutUint32(in[4:], b)
	var out []byte
	if err := g.cc.Invoke(ctx, grpcSum, &in, &out); err != nil {
		return err
	}
	if len(out) != grpcBody || binary.LittleEndian.Uint32(out) != a+b {
		return fmt.Errorf("gRPC answered %d and %d with %x", a, b, out)
	}
	return nil
}

// measure waits through a warm-up and a measured part in which others count answers.
func measure(ctx context.Context, server *load.Process, answered *atomic.Int64, warmup, duration time.Duration) (Figure, error) {
	if err := load.Pause(ctx, warmup); err != nil {
		return Figure{}, err
	}
	began, n := time.Now(), answered.Load()
	own, _ := load.OwnCPU()
	cpu, known := server.CPU()
	if err := load.Pause(ctx, duration); err != nil {
		return Figure{}, err
	}
	after, known2 := server.CPU()
	ownAfter, _ := load.OwnCPU()
	f := Figure{Calls: answered.Load() - n, Took: time.Since(began), ClientCPU: ownAfter - own}
	if known && known2 {
		f.ServerCPU, f.ServerKnown = after-cpu, true
	}
	return f, nil
}
