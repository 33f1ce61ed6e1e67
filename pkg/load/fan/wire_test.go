package fan

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"reflect"
	"testing"
	"time"

	"tracker/pkg/geo"
	"tracker/pkg/load"
	"tracker/pkg/rpc"
	"tracker/pkg/track"
	"tracker/pkg/wire/trk"
)

// pieces is a connection that gives its bytes in pieces and swallows what is written.
type pieces struct {
	net.Conn
	left []byte
	n    int
}

func (p *pieces) Write(b []byte) (int, error)      { return len(b), nil }
func (p *pieces) SetWriteDeadline(time.Time) error { return nil }
func (p *pieces) Read(b []byte) (int, error) {
	if len(p.left) == 0 {
		return 0, io.EOF
	}
	n := copy(b, p.left[:min(p.n, len(p.left))])
	p.left = p.left[n:]
	return n, nil
}

// seen is a Sink that keeps what it is given.
type seen struct {
	frames  []Frame
	answers []uint32
	bad     []error
	pongs   []uint32
}

func (s *seen) Watching()     {}
func (s *seen) Pong(n uint32) { s.pongs = append(s.pongs, n) }
func (s *seen) Answer(id uint32, err error) {
	s.answers = append(s.answers, id)
	if err != nil {
		s.bad = append(s.bad, err)
	}
}
func (s *seen) Frame(f *Frame) error {
	c := *f
	c.Fixes = append([]Fix(nil), f.Fixes...)
	s.frames = append(s.frames, c)
	return nil
}

func fixesOf(n int) (out []Fix) {
	for i := range n {
		out = append(out, Fix{Device: track.DeviceID(0xa1b2c3d40000 + i), Time: 1795299214123 + int64(i)*1009, Lat: 481371234 - int32(i)*1_000_003, Lon: -115754100 + int32(i)*999_979, Placed: true})
	}
	return out
}

func text(payload string) []byte {
	b := []byte{0x80 | opText}
	switch n := len(payload); {
	case n < 126:
		b = append(b, byte(n))
	case n < 1<<16:
		b = append(b, 126, byte(n>>8), byte(n))
	default:
		b = binary.BigEndian.AppendUint64(append(b, 127), uint64(n))
	}
	return append(b, payload...)
}

func event(f *trk.WatchFrameT) []byte {
	return rpc.AppendFrame(nil, rpc.Frame{Kind: rpc.KindEvent, ID: watchRequest, Code: trk.WatchOpenEvent, Body: trk.AppendWatchFrame(make([]byte, 8), f)})
}

func watchFrame(kind trk.FrameKind, at uint64, fixes []Fix) *trk.WatchFrameT {
	t := &trk.WatchFrameT{Kind: kind, Stream: 1, Position: float64(at)}
	for _, x := range fixes {
		t.Fixes = append(t.Fixes, &trk.FixT{DeviceHi: uint16(x.Device >> 32), DeviceLo: uint32(x.Device), Time: float64(x.Time), Lat: x.Lat, Lon: x.Lon, Has: trk.HasPosition})
		t.Names = append(t.Names, "marauder-000001")
	}
	return t
}

func welcomed() *rpcWire { return newRPCWire(0, &rpc.Welcome{MaxCredit: 1 << 16}) }

func lineOf(b []byte, n int, w wire) *Line { return newLine(&pieces{left: b, n: n}, w) }

func drain(l *Line, s Sink) error {
	for {
		_, err := l.Read()
		if err == io.EOF {
			return nil
		}
		if err == nil {
			err = l.Take(s)
		}
		if err != nil {
			return err
		}
	}
}

func TestFramesReadTheSameInAnyPieces(t *testing.T) {
	few, many := fixesOf(3), fixesOf(700)
	want := []Frame{{Kind: Snapshot, Position: 7, Fixes: many}, {Kind: Fixes, Position: 10, Fixes: few}}
	var rpcBytes, wsBytes []byte
	rpcBytes = append(event(watchFrame(trk.FrameKindSnapshot, 7, many)), event(watchFrame(trk.FrameKindFixes, 10, few))...)
	wsBytes = append(text(jsonFrame("snapshot", 7, 0, many)), text(jsonFrame("fixes", 10, 0, few))...)
	for _, n := range []int{1, 7, 4096, 1 << 20} {
		for name, l := range map[string]*Line{"rpc": lineOf(rpcBytes, n, welcomed()), "ws": lineOf(wsBytes, n, &wsWire{})} {
			var got seen
			if err := drain(l, &got); err != nil {
				t.Fatalf("%s in pieces of %d: %v", name, n, err)
			}
			for i := range got.frames {
				got.frames[i].Bytes = 0
			}
			if !reflect.DeepEqual(got.frames, want) {
				t.Errorf("%s in pieces of %d: got %.200v", name, n, got.frames)
			}
		}
	}
}

func TestLongEventsComeInSeveralFrames(t *testing.T) {
	body := trk.AppendWatchFrame(make([]byte, 8), watchFrame(trk.FrameKindSnapshot, 7, fixesOf(3000)))
	var b []byte
	for len(body) > 60_000 {
		b = rpc.AppendFrame(b, rpc.Frame{Kind: rpc.KindEvent, Flags: rpc.FlagMore, ID: watchRequest, Code: trk.WatchOpenEvent, Body: body[:60_000]})
		body = body[60_000:]
	}
	b = rpc.AppendFrame(b, rpc.Frame{Kind: rpc.KindEvent, ID: watchRequest, Code: trk.WatchOpenEvent, Body: body})
	var got seen
	if err := drain(lineOf(b, 5000, welcomed()), &got); err != nil || len(got.frames) != 1 || len(got.frames[0].Fixes) != 3000 {
		t.Errorf("got %d frames, %v", len(got.frames), err)
	}
}

func TestOtherFormsOfTheSameMessageAreRead(t *testing.T) {
	want := Fix{Device: 0xa1b2c3d4e5f6, Time: 1795299214123, Lat: 481371200, Lon: -5, Placed: true, Late: true}
	for _, form := range []string{
		`{"type":"fixes","stream":1,"seq":8,"n":1,"fixes":[{"device":"a1b2c3d4e5f6","name":"x","time":"2026-11-21T22:13:34.123Z","lat":48.13712,"lon":-0.0000005,"late":true}]}`,
		`{"type":"fixes","stream":1,"seq":8,"n":1,"fixes":[{"device":"a1b2c3d4e5f6","name":"x","time":"2026-11-21T22:13:34.123Z","lat":48.13712,"lon":-0.0000005,"alt_m":-3,"speed_mps":1.5,"course_deg":2,"accuracy_m":4.8,"battery_pct":87,"power":true,"event":"sos","late":true,"suspect":true,"jump":true,"received":"2026-11-21T22:13:35.000Z"}],"left":["a1b2c3d4e5f7"]}`,
		` { "fixes" : [ { "lon":-5e-7, "lat":48.13712, "new":{"a":[1]}, "late":true, "name":"a\"b", "time":"2026-11-21T23:13:34.123+01:00", "device":"a1b2c3d4e5f6"} ], "seq":8, "type":"fixes" }`,
	} {
		var got seen
		if err := drain(lineOf(text(form), 1<<20, &wsWire{}), &got); err != nil {
			t.Fatalf("%s: %v", form, err)
		}
		if len(got.frames) != 1 || len(got.frames[0].Fixes) != 1 || got.frames[0].Fixes[0] != want || got.frames[0].Position != 8 {
			t.Errorf("%s: got %+v", form, got.frames)
		}
	}
	var s scanner
	var f Frame
	if !s.frame([]byte(jsonFrame("fixes", 3, 0, fixesOf(3))), &f) {
		t.Error("the quick way does not know our own form")
	}
}

func TestAnswersToReports(t *testing.T) {
	ok := `{"type":"reported","id":1000000002,"device":"a1b2c3d4e5f6","accepted":1,"late":0}`
	loose := `{"id":1000000003,"type":"reported","accepted":1}`
	refused := `{"type":"error","id":1000000004,"error":{"code":"invalid","message":"no"}}`
	nothing := `{"type":"reported","id":1000000005,"device":"a1b2c3d4e5f6","accepted":0,"late":0}`
	var got seen
	if err := drain(lineOf(append(append(append(text(ok), text(loose)...), text(refused)...), text(nothing)...), 9, &wsWire{}), &got); err != nil {
		t.Fatal(err)
	}
	if fmt.Sprint(got.answers) != "[18 19 20 21]" || len(got.bad) != 2 {
		t.Errorf("got %v, %v", got.answers, got.bad)
	}
}

func TestReportsReadBack(t *testing.T) {
	const id = track.DeviceID(0xa1b2c3d4e5f6)
	at := geo.Point{Lat: 123456789, Lon: 1034567890}
	b := NewReporter(RPC, id).Append(nil, 77, 1795299214123, at)
	in, err := trk.ReadReportReq(b[rpc.HeaderSize:])
	var fix trk.Fix
	if err != nil || string(in.Device()) != id.String() || in.FixesLength() != 1 || !in.Fixes(&fix, 0) {
		t.Fatalf("%v, %v", err, in)
	}
	if fix.Time() != 1795299214123 || fix.Lat() != at.Lat || fix.Lon() != at.Lon || fix.Has() != trk.HasPosition || b[4] != 77 {
		t.Errorf("got %v %v %v", fix.Time(), fix.Lat(), fix.Lon())
	}
	b = NewReporter(WS, id).Append(nil, FirstReport+77, 1795299214123, at)
	const want = `{"op":"report","id":1000000077,"device":"a1b2c3d4e5f6","fixes":[{"time":1795299214123,"lat":12.3456789,"lon":103.4567890}]}`
	if got := string(b[len(b)-len(want):]); got != want || b[0] != 0x81 {
		t.Errorf("got %s", got)
	}
}

func TestPlacesSayWhichUpdateTheyAre(t *testing.T) {
	p := AtRate(7, load.Constant(100), 10*time.Second, 3)
	for turn := range 7 {
		for _, seq := range []uint32{0, 1, 999, 1000, 123456} {
			at := p.places.at(turn, seq)
			got, ok := p.places.seq(turn, at.Lat, at.Lon)
			if !ok || got != seq || at.Lat < 10*geo.E7 || at.Lat >= 100*geo.E7 || at.Lon < 100*geo.E7 || at.Lon >= 180*geo.E7 {
				t.Errorf("update %d of %d at %v reads back as %d, %v", seq, turn, at, got, ok)
			}
		}
	}
}

func TestPlansAreTheSameForTheSameSeed(t *testing.T) {
	plan := func(seed uint64) *Plan { return Rounds(50, 10, time.Second, Uniform, Schedule, seed) }
	first, again, other := plan(1).SHA256(), plan(1).SHA256(), plan(2).SHA256()
	if first != again || first == other {
		t.Errorf("the hash does not follow the seed: %s, %s, %s", first, again, other)
	}
	p := plan(1)
	if p.When(50) != time.Second || p.When(1) != 20*time.Millisecond || p.Ideal() != 10*time.Second {
		t.Errorf("got %v, %v, %v", p.When(50), p.When(1), p.Ideal())
	}
}

func TestPlansOfOtherRatesAreOthers(t *testing.T) {
	hash := func(rate string) string {
		plan, err := load.ParsePlan(rate)
		if err != nil {
			t.Fatal(err)
		}
		p := AtRate(1, plan, 20*time.Second, 1)
		if p.Sends != 3000 {
			t.Fatalf("%s: %d sends", rate, p.Sends)
		}
		return p.SHA256()
	}
	if hash("150") == hash("100@10s,200@10s") {
		t.Error("as many sends at other moments have the same hash")
	}
}

// TestNothingIsAllocatedForAnUpdate holds the paths of a send and of a frame.
func TestNothingIsAllocatedForAnUpdate(t *testing.T) {
	const senders = 50
	devices := someDevices(senders)
	plan := Rounds(senders, 1_000_000, time.Millisecond, Uniform, Schedule, 1)
	r := newRun(Config{Plan: plan, Devices: devices, N: 1})
	r.started.Store(true)
	r.sends.Store(plan.Sends)
	for name, w := range map[string]wire{"rpc": welcomed(), "ws": &wsWire{}} {
		v := newViewer(r, 0, "viewer", usual)
		v.placed = true
		in := &pieces{n: 1 << 20}
		v.line = newLine(in, w)
		seq := uint32(0)
		var rounds [][]byte
		for range 300 {
			var fixes []Fix
			for turn := range senders {
				at := plan.places.at(turn, seq)
				fixes = append(fixes, Fix{Device: devices[plan.devices[turn]].ID, Time: r.stamp(plan.send(turn, seq)), Lat: at.Lat, Lon: at.Lon, Placed: true})
			}
			seq++
			if name == "rpc" {
				rounds = append(rounds, event(watchFrame(trk.FrameKindFixes, uint64(seq)*senders, fixes)))
			} else {
				rounds = append(rounds, text(jsonFrame("fixes", uint64(seq)*senders, 0, fixes)))
			}
		}
		i := 0
		one := func() {
			in.left = rounds[i]
			i++
			now, err := v.line.Read()
			if err == nil {
				err = v.once(now)
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		one()
		one()
		if n := testing.AllocsPerRun(200, one); n != 0 {
			t.Errorf("%s: a frame allocates %v times", name, n)
		}
		if v.row.received != int64(i*senders) || v.row.strange != 0 || v.torn != 0 {
			t.Errorf("%s: %+v", name, v.row.worst)
		}
	}
	for _, how := range []Transport{RPC, WS} {
		p := newPublisher(newLine(&pieces{}, nil), NewReporter(how, devices[0].ID))
		var buf []byte
		send := func() { buf = p.reporter.Append(buf[:0], p.next, 1795299214123, plan.places.at(0, 5)) }
		send()
		if n := testing.AllocsPerRun(200, send); n != 0 {
			t.Errorf("%v: a report allocates %v times", how, n)
		}
	}
}

func TestWritingToTheKernelAllocatesNothing(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	nc, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	far, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer far.Close()
	line := newLine(nc, nil)
	b := make([]byte, 100)
	if n := testing.AllocsPerRun(100, func() {
		if clear, err := line.Send(b); !clear || err != nil {
			t.Fatal(clear, err)
		}
	}); n != 0 {
		t.Errorf("a write allocates %v times", n)
	}
	// Nobody reads: sooner or later it is full, and Send comes back all the same.
	big := make([]byte, 1<<20)
	full := false
	for i := 0; i < 64 && !full; i++ {
		clear, err := line.Send(big)
		if err != nil {
			t.Fatal(err)
		}
		full = !clear
	}
	if !full {
		t.Error("64 MiB went nowhere")
	}
	nc.Close()
	far.Close()
}

func FuzzRPC(f *testing.F) {
	f.Add(event(watchFrame(trk.FrameKindSnapshot, 7, fixesOf(3))), uint8(7))
	f.Add(event(watchFrame(trk.FrameKindResync, 7, fixesOf(1))), uint8(255))
	f.Add(rpc.AppendFrame(nil, rpc.Frame{Kind: rpc.KindRsp, ID: 16, Body: trk.AppendReportAck(nil, &trk.ReportAckT{Accepted: 1})}), uint8(1))
	f.Add(rpc.AppendFrame(nil, rpc.Frame{Kind: rpc.KindErr, ID: 16, Code: 8, Body: []byte{1, 2, 3, 4, 5, 6}}), uint8(3))
	f.Add(rpc.AppendFrame(nil, rpc.Frame{Kind: rpc.KindGoAway, Code: 14}), uint8(1))
	f.Add(rpc.AppendFrame(nil, rpc.Frame{Kind: rpc.KindPing, Body: make([]byte, 8)}), uint8(30))
	f.Fuzz(func(t *testing.T, b []byte, step uint8) {
		fuzzLine(t, b, int(step)+1, func() wire { return welcomed() })
	})
}

func FuzzWS(f *testing.F) {
	f.Add(text(jsonFrame("snapshot", 7, 0, fixesOf(3))), uint8(7))
	f.Add(text(jsonFrame("resync", 7, 5, fixesOf(1))), uint8(255))
	f.Add(text(`{"type":"reported","id":1000000002,"device":"a1b2c3d4e5f6","accepted":1,"late":0}`), uint8(3))
	f.Add(text(`{"type":"error","id":1,"error":{"code":"denied","message":"no"}}`), uint8(3))
	f.Add([]byte{0x89, 2, 1, 2, 0x8a, 4, 0, 0, 0, 1, 0x88, 2, 3, 232}, uint8(1))
	f.Add([]byte{1, 1, '{', 0, 1, ' ', 0x80, 1, '}'}, uint8(9))
	f.Fuzz(func(t *testing.T, b []byte, step uint8) {
		fuzzLine(t, b, int(step)+1, func() wire { return &wsWire{} })
	})
}

// fuzzLine lets a server send anything: nothing panics, and pieces change nothing.
func fuzzLine(t *testing.T, b []byte, n int, w func() wire) {
	var whole, cut seen
	err := drain(lineOf(b, 1<<20, w()), &whole)
	again := drain(lineOf(b, n, w()), &cut)
	if (err == nil) != (again == nil) || !reflect.DeepEqual(whole, cut) {
		t.Errorf("at once: %v, %+v; in pieces of %d: %v, %+v", err, whole, n, again, cut)
	}
}

// FuzzScan holds the quick reader against the tolerant one: what it says yes to, the
// other one understands the same.
func FuzzScan(f *testing.F) {
	for _, kind := range []string{"fixes", "snapshot", "resync"} {
		f.Add([]byte(jsonFrame(kind, 17, 4, fixesOf(2))))
	}
	f.Add([]byte(`{"type":"fixes","stream":1,"seq":8,"n":1,"fixes":[{"device":"a1b2c3d4e5f6","name":"x","time":"2026-11-21T22:13:34.123Z","lat":48.13712,"lon":-0.0000005,"alt_m":-3,"speed_mps":1.5,"late":true,"received":"2026-11-21T22:13:35.000Z"}],"left":["a1b2c3d4e5f7"]}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		var quick, slow scanner
		var got, want Frame
		if !quick.frame(b, &got) {
			return
		}
		if !json.Valid(b) {
			t.Fatalf("%q is not JSON", b)
		}
		if _, err := slow.tolerant(b, &want); err != nil {
			t.Fatalf("%q: %v", b, err)
		}
		if len(got.Fixes) == 0 && len(want.Fixes) == 0 {
			got.Fixes, want.Fixes = nil, nil
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("%q: got %+v, want %+v", b, got, want)
		}
	})
}

func BenchmarkUpdates(b *testing.B) {
	const senders = 50
	devices := someDevices(senders)
	plan := Rounds(senders, 1_000_000, time.Millisecond, Uniform, Schedule, 1)
	for _, how := range []Transport{RPC, WS} {
		b.Run(how.String(), func(b *testing.B) {
			r := newRun(Config{Plan: plan, Devices: devices, N: 1})
			r.started.Store(true)
			r.sends.Store(plan.Sends)
			v := newViewer(r, 0, "viewer", usual)
			v.placed = true
			in := &pieces{n: 1 << 20}
			v.line = newLine(in, welcomed())
			if how == WS {
				v.line = newLine(in, &wsWire{})
			}
			const rounds = 200
			var frames [rounds][]byte
			for seq := range uint32(rounds) {
				var fixes []Fix
				for turn := range senders {
					at := plan.places.at(turn, seq)
					fixes = append(fixes, Fix{Device: devices[plan.devices[turn]].ID, Time: r.stamp(plan.send(turn, seq)), Lat: at.Lat, Lon: at.Lon, Placed: true})
				}
				frames[seq] = event(watchFrame(trk.FrameKindFixes, uint64(seq+1)*senders, fixes))
				if how == WS {
					frames[seq] = text(jsonFrame("fixes", uint64(seq+1)*senders, 0, fixes))
				}
			}
			b.ReportAllocs()
			i := 0
			for b.Loop() {
				if i%rounds == 0 {
					clear(v.row.cells)
					v.at = 0
				}
				in.left = frames[i%rounds]
				i++
				now, err := v.line.Read()
				if err == nil {
					err = v.once(now)
				}
				if err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(i)/senders, "ns/update")
			if v.row.strange+v.row.duplicate > 0 {
				b.Fatalf("%+v", v.row)
			}
		})
	}
}

// TestASendAllocatesNothing holds the whole way of a report, from the plan to the kernel.
func TestASendAllocatesNothing(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	nc, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	far, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() { // ends with the connection
		defer close(done)
		_, _ = io.Copy(io.Discard, far)
	}()
	defer func() { nc.Close(); <-done; far.Close() }()
	devices := someDevices(1)
	r := newRun(Config{Plan: Rounds(1, 1<<30, time.Millisecond, Uniform, Schedule, 1), Devices: devices, N: 1})
	s := newSender(t.Context(), r)
	p := newPublisher(newLine(nc, nil), NewReporter(WS, devices[0].ID))
	r.pubs[0] = p
	j := int64(0)
	send := func() {
		for range 3 {
			s.put(j)
			j++
		}
		s.flush()
		for range 3 {
			p.answered(0, nil)
		}
	}
	send()
	if n := testing.AllocsPerRun(200, send); n != 0 {
		t.Errorf("three reports allocate %v times", n)
	}
	if r.sent.Load() != j || p.right != j || r.unsent.Load() != 0 {
		t.Errorf("%d of %d sent, %d right", r.sent.Load(), j, p.right)
	}
}

// A connection whose answers do not come is held back, and that is the server's doing; the
// others go on.
func TestWhatTheServerHoldsUpIsTold(t *testing.T) {
	devices := someDevices(2)
	r := newRun(Config{Plan: Rounds(2, 10_000, time.Millisecond, Uniform, Schedule, 1), Devices: devices, N: 1})
	s := newSender(t.Context(), r)
	for i := range devices {
		r.pubs[i] = newPublisher(newLine(&pieces{}, nil), NewReporter(RPC, devices[i].ID))
	}
	deaf, good := r.pubs[r.cfg.Plan.devices[0]], r.pubs[r.cfg.Plan.devices[1]]
	const rounds = mostUnderway + 10
	for j := range int64(2 * rounds) {
		s.put(j)
		if j%2 == 1 {
			s.flush()
			good.answered(0, nil)
		}
	}
	if s.queued != 10 || r.queued.Load() != 10 || len(deaf.held) != 10 || good.right != rounds || r.sent.Load() != 2*rounds-10 {
		t.Fatalf("%d wait, %d held, %d right, %d sent", s.queued, len(deaf.held), good.right, r.sent.Load())
	}
	if r.pressed.Load() != 0 {
		t.Errorf("%d pressed before any could leave", r.pressed.Load())
	}
	for range 4 {
		deaf.answered(0, nil)
	}
	s.retry()
	s.flush()
	if s.queued != 6 || r.pressed.Load() != 4 || r.late.Load() < 4 || r.sent.Load() != 2*rounds-6 {
		t.Errorf("%d wait, %d pressed, %d sent", s.queued, r.pressed.Load(), r.sent.Load())
	}
	if turn, seq := r.cfg.Plan.Turn(deaf.held[0]); turn != 0 || seq != mostUnderway+4 {
		t.Errorf("update %d of %d is next", seq, turn)
	}
}
