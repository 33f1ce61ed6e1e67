package rpc

import (
	"context"
	"errors"
	"io"
	"net"
	"testing"
)

func TestGreetReadsNoByteBeyondTheWelcome(t *testing.T) {
	nc := newHouse(Config{}).dial(t)
	w, err := Greet(t.Context(), nc, Hello{Client: "bare"})
	if err != nil || w.MaxInflight == 0 {
		t.Fatal(w, err)
	}
	nc.Write(AppendFrame(nil, Frame{Kind: KindReq, ID: 1, Code: mSum, Body: sumBody(1, 2)}))
	f, err := readFrame(nc, 1<<20)
	if err != nil || f.Kind != KindRsp || f.ID != 1 {
		t.Fatal(f, err)
	}
	nc.Write(AppendFrame(nil, Frame{Kind: KindReq, ID: 2, Code: 0xfffe}))
	if f, err = readFrame(nc, 1<<20); err != nil || f.Failure().Status != Unimplemented {
		t.Fatal(f, err)
	}
}

func TestGreetSaysWhyItWasRefused(t *testing.T) {
	h := newHouse(Config{Authenticate: func(context.Context, *Hello, net.Addr) (any, error) {
		return nil, Errorf(Unauthenticated, "who?")
	}})
	_, err := Greet(t.Context(), h.dial(t), Hello{})
	if StatusOf(err) != Unauthenticated {
		t.Fatal(err)
	}
}

func TestGreetEndsWithItsContext(t *testing.T) {
	here, there := net.Pipe()
	defer here.Close()
	defer there.Close()
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		io.ReadFull(there, make([]byte, 4))
		cancel()
	}()
	if _, err := Greet(ctx, here, Hello{}); !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
}
