//go:build unix

package sock

import (
	"bytes"
	"io"
	"net"
	"testing"
	"time"
)

func tcpPair(tb testing.TB) (near, far net.Conn) {
	tb.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	defer l.Close()
	near, err = net.Dial("tcp", l.Addr().String())
	if err != nil {
		tb.Fatal(err)
	}
	far, err = l.Accept()
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _, _ = near.Close(), far.Close() })
	return near, far
}

// A socket that nobody reads takes what fits and then nothing; what it took arrives.
func TestTryWriteTakesWhatFits(t *testing.T) {
	near, far := tcpPair(t)
	w := NewWriter(below{far})
	sent := bytes.Repeat([]byte("0123456789abcdef"), 4096)
	total := 0
	for {
		n, err := w.TryWrite(sent)
		if err != nil || n > len(sent) {
			t.Fatal(n, err)
		}
		total += n
		if n < len(sent) {
			break
		}
	}
	if n, err := w.TryWrite(sent); n != 0 || err != nil {
		t.Errorf("full, and took %d, %v", n, err)
	}
	far.Close()
	got, err := io.ReadAll(near)
	if err != nil || len(got) != total {
		t.Fatalf("%d of %d arrived, %v", len(got), total, err)
	}
	for i, b := range got {
		if b != sent[i%len(sent)%16] {
			t.Fatalf("byte %d is %q", i, b)
		}
	}
	if _, err := w.TryWrite(sent); err == nil {
		t.Error("wrote to a connection that is closed")
	}
}

// The deadline of an idle connection has passed long ago, which says nothing.
func TestTryWriteKnowsNoDeadline(t *testing.T) {
	near, far := tcpPair(t)
	far.SetWriteDeadline(time.Unix(1, 0))
	if n, err := NewWriter(far).TryWrite([]byte("hello")); n != 5 || err != nil {
		t.Fatal(n, err)
	}
	got := make([]byte, 5)
	if _, err := io.ReadFull(near, got); err != nil || string(got) != "hello" {
		t.Errorf("%q, %v", got, err)
	}
}

func TestTryWriteTellsThatThePeerIsGone(t *testing.T) {
	near, far := tcpPair(t)
	near.(*net.TCPConn).SetLinger(0)
	near.Close()
	far.Read(make([]byte, 1)) // until the reset is there
	w := NewWriter(far)
	for range 2 { // the first may take the reset's own error
		if _, err := w.TryWrite([]byte("x")); err != nil {
			return
		}
	}
	t.Error("wrote to nobody")
}

func TestTryWriteAllocatesNothing(t *testing.T) {
	near, far := tcpPair(t)
	go io.Copy(io.Discard, near) // ends when near is closed
	w := NewWriter(far)
	b := make([]byte, 100)
	if n := testing.AllocsPerRun(100, func() { w.TryWrite(b) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkTryWrite(b *testing.B) {
	near, far := tcpPair(b)
	go io.Copy(io.Discard, near) // ends when near is closed
	w := NewWriter(far)
	msg := make([]byte, 256)
	b.ReportAllocs()
	for b.Loop() {
		w.TryWrite(msg)
	}
}
