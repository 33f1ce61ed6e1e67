package broadcast

import (
	"encoding/binary"
	"errors"
	"testing"
	"time"

	"tracker/pkg/rpc"
	"tracker/pkg/wire/trk"
)

// eventOf is a frame of a watch as trackerd sends it.
func eventOf(t *trk.WatchFrameT) []byte {
	body := trk.AppendWatchFrame(make([]byte, 8), t)
	return rpc.AppendFrame(nil, rpc.Frame{Kind: rpc.KindEvent, ID: ourStream, Code: trk.WatchOpenEvent, Body: body})
}

func fixesOf(n int) *trk.WatchFrameT {
	f := &trk.WatchFrameT{Kind: trk.FrameKindFixes, Epoch: "0123456789abcdef", Position: 9}
	for range n {
		f.Fixes = append(f.Fixes, &trk.FixT{Has: trk.HasPosition})
		f.Names = append(f.Names, ourDevice)
	}
	return f
}

func patched(tb testing.TB, from uint64, n int) []byte {
	tb.Helper()
	b := eventOf(fixesOf(n))
	if err := patch(b, from, n, 77); err != nil {
		tb.Fatal(err)
	}
	return b
}

func TestFramesOfOursAreTaken(t *testing.T) {
	stream := append(eventOf(&trk.WatchFrameT{Kind: trk.FrameKindSnapshot, Fixes: fixesOf(3).Fixes}), patched(t, 0, 20)...)
	stream = append(stream, rpc.AppendFrame(nil, rpc.Frame{Kind: rpc.KindPing, ID: 5, Body: make([]byte, 8)})...)
	stream = append(stream, patched(t, 20, 20)...)
	for cut := range stream {
		ear, book := &frameEar{window: 2}, ledger{salt: 77, planned: 40}
		n, err := ear.Take(stream[:cut], &book)
		var m int
		if err == nil {
			m, err = ear.Take(stream[n:], &book)
		}
		if err != nil || n+m != len(stream) || book.got() != 40 || book.seen != nil || !ear.ready {
			t.Fatalf("cut at %d: %d of %d, %v, %d", cut, n+m, len(stream), err, book.got())
		}
		if owed := len(ear.Owe()); owed != 3*(rpc.HeaderSize+4)+rpc.HeaderSize+8 { // credit for each frame, and an answer
			t.Fatalf("%d bytes are owed", owed)
		}
	}
}

func TestWhatOursWouldNotSendIsAnError(t *testing.T) {
	frame := func(kind rpc.Kind, flags uint8, id uint32, code uint16, body []byte) []byte {
		return rpc.AppendFrame(nil, rpc.Frame{Kind: kind, Flags: flags, ID: id, Code: code, Body: body})
	}
	skipped := fixesOf(1)
	skipped.Kind, skipped.Skipped = trk.FrameKindResync, 3
	for name, b := range map[string][]byte{
		"skipped":         eventOf(skipped),
		"late snapshot":   eventOf(&trk.WatchFrameT{Kind: trk.FrameKindSnapshot}),
		"another request": frame(rpc.KindEvent, 0, 2, trk.WatchOpenEvent, patched(t, 0, 1)[rpc.HeaderSize:]),
		"another event":   frame(rpc.KindEvent, 0, ourStream, 9, patched(t, 0, 1)[rpc.HeaderSize:]),
		"in parts":        frame(rpc.KindEvent, rpc.FlagMore, ourStream, trk.WatchOpenEvent, patched(t, 0, 1)[rpc.HeaderSize:]),
		"no body":         frame(rpc.KindEvent, 0, ourStream, trk.WatchOpenEvent, nil),
		"nonsense":        frame(rpc.KindEvent, 0, ourStream, trk.WatchOpenEvent, make([]byte, 30)),
		"an answer":       frame(rpc.KindRsp, 0, ourStream, 0, nil),
		"the end":         frame(rpc.KindEnd, 0, ourStream, 0, nil),
		"too long":        {0, 0, 2, 7, 0, 0, 0, 0, 0, 0, 0, 0},
		"of another run":  eventOf(fixesOf(1)),
	} {
		book := ledger{salt: 77, planned: 40}
		if n, err := (&frameEar{window: 10, ready: true}).Take(b, &book); err == nil || n != 0 {
			t.Errorf("%s: %d, %v", name, n, err)
		}
	}
	late := trk.AppendReportAck(nil, &trk.ReportAckT{Accepted: 3, Late: 1})
	if _, err := (&frameEar{}).Take(frame(rpc.KindRsp, 0, 1, 0, late), nobody{}); !errors.Is(err, errFrame) {
		t.Error("late fixes:", err)
	}
}

func TestReportsAreTakenAsTheyAreSaid(t *testing.T) {
	m := &reports{device: "00000000000a", salt: 77}
	due := time.UnixMilli(1_700_000_000_123)
	b := m.Append(nil, 40, 3, due)
	in, err := trk.ReadReportReq(b[rpc.HeaderSize:])
	if err != nil || in.FixesLength() != 3 || string(in.Device()) != m.device || binary.LittleEndian.Uint32(b[4:]) != 1 {
		t.Fatal(in, err)
	}
	var f trk.Fix
	for i := range 3 {
		in.Fixes(&f, i)
		if f.Lat() != int32(40+i) || f.Lon() != 77 || f.Time() != 1_700_000_000_123 || f.Has() != trk.HasPosition {
			t.Errorf("%d: %+v", i, f.UnPack())
		}
	}
}

// Neither end allocates for a message, with ours as with the others.
func TestOursAllocatesNothing(t *testing.T) {
	b, ear, book := patched(t, 0, 100), &frameEar{window: 1 << 20, ready: true}, &ledger{salt: 77, planned: 100}
	if n := testing.AllocsPerRun(100, func() {
		book.next = 0
		if _, err := ear.Take(b, book); err != nil {
			t.Fatal(err)
		}
	}); n > 0 {
		t.Errorf("%v allocations a frame", n)
	}
	m, out := &reports{device: "00000000000a"}, []byte(nil)
	out = m.Append(out, 0, 100, time.Now())
	if n := testing.AllocsPerRun(100, func() { out = m.Append(out[:0], 0, 100, time.Time{}) }); n > 0 {
		t.Errorf("%v allocations a report", n)
	}
	bare := &triggers{ready: b}
	out = bare.Append(out[:0], 0, 100, time.Time{})
	if n := testing.AllocsPerRun(100, func() { out = bare.Append(out[:0], 0, 100, time.Time{}) }); n > 0 {
		t.Errorf("%v allocations a trigger", n)
	}
}

func FuzzFrames(f *testing.F) {
	f.Add(patched(f, 0, 3))
	f.Add(rpc.AppendFrame(nil, rpc.Frame{Kind: rpc.KindGoAway, Code: 3, Body: []byte("x")}))
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, ear := range []*frameEar{{window: 4}, {window: 4, ready: true}, {}} {
			book := ledger{salt: 77, planned: 100}
			if n, _ := ear.Take(b, &book); n < 0 || n > len(b) {
				t.Errorf("%d of %d", n, len(b))
			}
		}
		_ = patch(b, 0, 1, 5)
	})
}

func BenchmarkOursTake(b *testing.B) {
	frame, ear, book := patched(b, 0, 100), &frameEar{window: 1 << 62, ready: true}, &ledger{salt: 77, planned: 100}
	b.ReportAllocs()
	for range b.N / 100 {
		book.next = 0
		_, _ = ear.Take(frame, book)
	}
}
