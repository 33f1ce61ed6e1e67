//go:build benchfault

package sock

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"os"
	"testing"

	"tracker/pkg/fault"
)

func worse(t *testing.T, text string) {
	t.Helper()
	if err := fault.Set(text); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = fault.Set("") })
}

// systemWrites is how often this process has called write and its kin.
func systemWrites(t *testing.T) (n int) {
	t.Helper()
	b, err := os.ReadFile("/proc/self/io")
	if err != nil {
		t.Skip(err)
	}
	_, line, _ := bytes.Cut(b, []byte("syscw: "))
	if _, err := fmt.Sscan(string(line), &n); err != nil {
		t.Fatal(err)
	}
	return n
}

func TestTryWriteInTwoIsTwoCallsAndTheSameBytes(t *testing.T) {
	const writes = 400
	msg := []byte("0123456789")
	for text, calls := range map[string]int{"": writes, "write=50%": writes * 3 / 2, "write=100%": writes * 2} {
		worse(t, text)
		near, far := tcpPair(t)
		w := NewWriter(far)
		before := systemWrites(t)
		for range writes {
			if n, err := w.TryWrite(msg); n != len(msg) || err != nil {
				t.Fatal(n, err)
			}
		}
		// The runtime writes now and then, too: never as often as the next share does.
		if got := systemWrites(t) - before; got < calls || got >= calls+writes/2 {
			t.Errorf("%q: %d system calls for %d writes, want %d", text, got, writes, calls)
		}
		far.Close()
		if got, err := io.ReadAll(near); err != nil || !bytes.Equal(got, bytes.Repeat(msg, writes)) {
			t.Errorf("%q: %d bytes arrived, or others; %v", text, len(got), err)
		}
	}
}

// Between the two parts the buffer may be full, or the peer gone: what is told is as of
// one write.
func TestTryWriteInTwoKeepsItsWord(t *testing.T) {
	worse(t, "write=100%")
	t.Run("takes what fits", TestTryWriteTakesWhatFits)
	t.Run("tells that the peer is gone", TestTryWriteTellsThatThePeerIsGone)
	t.Run("allocates nothing", TestTryWriteAllocatesNothing)
}

func TestWriterIsFoundBelowAWorseConnection(t *testing.T) {
	worse(t, "write=100%")
	_, far := tcpPair(t)
	if TCPOf(fault.Conn(far)) != far.(*net.TCPConn) {
		t.Error("the socket is not found")
	}
}
