package rpcload

import (
	"io"
	"net"
	"testing"
	"time"

	"tracker/pkg/rpc"
	"tracker/pkg/wire/trk"
)

// pieces is a connection that gives its bytes in pieces and swallows what is written.
type pieces struct {
	net.Conn
	left []byte
	n    int
}

func (p *pieces) Write(b []byte) (int, error) { return len(b), nil }

func (p *pieces) Read(b []byte) (int, error) {
	if len(p.left) == 0 {
		return 0, io.EOF
	}
	n := copy(b, p.left[:min(p.n, len(p.left))])
	p.left = p.left[n:]
	return n, nil
}

// FuzzAnswers lets a server send anything: nothing panics, every call is counted once,
// and what was not the answer is never taken for it.
func FuzzAnswers(f *testing.F) {
	usual, err := sumKind(trk.ExampleSumID)
	if err != nil {
		f.Fatal(err)
	}
	right := func(id uint32) []byte {
		return rpc.AppendFrame(nil, rpc.Frame{Kind: rpc.KindRsp, ID: id, Body: appendSum(nil, int32(first(id)+second(id)))})
	}
	f.Add(append(right(4), right(5)...), uint8(7))
	f.Add(append(right(4), right(4)...), uint8(255))
	f.Add(rpc.AppendFrame(nil, rpc.Frame{Kind: rpc.KindGoAway, Code: 14}), uint8(1))
	f.Add(rpc.AppendFrame(nil, rpc.Frame{Kind: rpc.KindErr, ID: 6, Code: 8, Body: []byte{1, 2, 3, 4, 5, 6}}), uint8(3))
	f.Add(rpc.AppendFrame(right(6), rpc.Frame{Kind: rpc.KindPing, Body: make([]byte, 8)}), uint8(30))
	f.Add([]byte{0xff, 0xff, 0xff, 3}, uint8(4))
	f.Fuzz(func(t *testing.T, sent []byte, step uint8) {
		cfg := Config{Depth: 4}
		cfg.defaults()
		r := &run{cfg: &cfg, began: time.Now(), books: newBooks()}
		in := &pieces{left: sent, n: int(step) + 1}
		c := newConn(&line{nc: in}, r, newLedger(cfg.Depth, usual, kind{}, 0))
		for range cfg.Depth {
			c.out = c.l.issue(c.out, 0)
		}
		if err := c.flush(true); err != nil {
			t.Fatal(err)
		}
		for {
			now, err := c.read()
			if err == nil {
				err = c.take(now)
			}
			if err != nil {
				break
			}
		}
		l := c.l
		if l.sent != l.right+l.wrong+l.refused+int64(l.underway()) {
			t.Errorf("it does not add up: %+v", l.counts)
		}
		if int(l.right) > cfg.Depth || c.books.usual.Count() != l.right {
			t.Errorf("%d right of %d, %d times", l.right, cfg.Depth, c.books.usual.Count())
		}
	})
}
