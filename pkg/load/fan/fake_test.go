package fan

import (
	"bufio"
	"context"
	"crypto/sha1"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"math"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"tracker/pkg/rpc"
	"tracker/pkg/track"
	"tracker/pkg/wire/trk"
)

// update is a fix on its way through a fake server, and what the server says of it.
type update struct {
	Fix
	skipped uint64 // more than 0: it comes in a resync instead of so many
}

// fault says what viewer to gets instead of its n-th update, both from 0. One fault is
// asked by one goroutine at a time.
type fault func(to, n int, u update) []update

// fake is a server that speaks just enough of both transports, and lies as it is told.
type fake struct {
	t      testing.TB
	l      net.Listener
	lie    fault
	after  int            // reports after which it is gone; 0: never
	mute   bool           // it never answers reports
	bare   bool           // its snapshots are empty
	ponged func(net.Conn) // called after each answer to a sign of life; nil: nothing

	mu      sync.Mutex
	viewers []*fakeViewer
	conns   map[net.Conn]bool
	newest  map[track.DeviceID]Fix
	reports int
	dead    bool
	wg      sync.WaitGroup
}

type fakeViewer struct {
	nc  net.Conn
	ws  bool
	n   int
	at  uint64
	seq uint64
}

func newFake(t testing.TB, lie fault) *fake {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	f := &fake{t: t, l: l, lie: lie, conns: map[net.Conn]bool{}, newest: map[track.DeviceID]Fix{}}
	f.wg.Go(func() {
		for {
			nc, err := l.Accept()
			if err != nil {
				return
			}
			f.mu.Lock()
			f.conns[nc] = true
			if f.dead {
				nc.Close()
			}
			f.mu.Unlock()
			f.wg.Go(func() { f.serve(nc) })
		}
	})
	t.Cleanup(func() {
		f.die()
		f.wg.Wait()
	})
	return f
}

// die closes everything, as a killed process does.
func (f *fake) die() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.kill()
}

func (f *fake) kill() {
	f.dead = true
	f.l.Close()
	for nc := range f.conns {
		nc.Close()
	}
}

func (f *fake) dialer(t Transport) Dialer {
	addr := f.l.Addr().String()
	return Dialer{Transport: t, Host: addr, Token: "x", Agent: "test", Dial: func(ctx context.Context) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "tcp", addr)
	}}
}

func (f *fake) serve(nc net.Conn) {
	defer nc.Close()
	r := bufio.NewReader(nc)
	head, err := r.Peek(4)
	if err != nil {
		return
	}
	if string(head) == rpc.Preamble {
		_, _ = r.Discard(4)
		f.serveRPC(nc, r)
		return
	}
	f.serveWS(nc, r)
}

func (f *fake) serveRPC(nc net.Conn, r *bufio.Reader) {
	var h [rpc.HeaderSize]byte
	for {
		if _, err := io.ReadFull(r, h[:]); err != nil {
			return
		}
		word := binary.LittleEndian.Uint32(h[:])
		in := rpc.Frame{Kind: rpc.Kind(word >> 24 & 15), ID: binary.LittleEndian.Uint32(h[4:]), Code: binary.LittleEndian.Uint16(h[8:]), Body: make([]byte, word&(1<<24-1))}
		if _, err := io.ReadFull(r, in.Body); err != nil {
			return
		}
		switch {
		case in.Kind == rpc.KindHello:
			f.say(nc, rpc.Frame{Kind: rpc.KindWelcome, Body: welcomeBody()})
		case in.Kind == rpc.KindPing:
			f.say(nc, rpc.Frame{Kind: rpc.KindPong, ID: in.ID, Body: in.Body})
			if f.ponged != nil {
				f.ponged(nc)
			}
		case in.Kind == rpc.KindReq && in.Code == trk.WatchOpenID:
			f.say(nc, rpc.Frame{Kind: rpc.KindRsp, ID: in.ID, Body: trk.AppendWatchAck(nil, &trk.WatchAckT{Watch: 1, Stream: 1, Epoch: "0"})})
			f.join(&fakeViewer{nc: nc})
		case in.Kind == rpc.KindReq && in.Code == trk.PublishReportID:
			req, err := trk.ReadReportReq(in.Body)
			if err != nil {
				f.t.Error(err)
				return
			}
			u := update{}
			_ = u.Device.UnmarshalText(req.Device())
			var fix trk.Fix
			req.Fixes(&fix, 0)
			u.Time, u.Lat, u.Lon, u.Placed = int64(fix.Time()), fix.Lat(), fix.Lon(), true
			f.publish(u)
			if f.mute {
				continue
			}
			f.say(nc, rpc.Frame{Kind: rpc.KindRsp, ID: in.ID, Body: trk.AppendReportAck(nil, &trk.ReportAckT{Device: u.Device.String(), Accepted: 1})})
		}
	}
}

func welcomeBody() []byte {
	b := binary.LittleEndian.AppendUint32(nil, 1)
	b = binary.LittleEndian.AppendUint32(b, 1<<20)
	b = binary.LittleEndian.AppendUint64(b, 1)
	b = binary.LittleEndian.AppendUint64(b, 1)
	for _, v := range []uint32{4096, 4 << 20, 16, 1 << 16, 4 << 20, 60_000, 0, 0} {
		b = binary.LittleEndian.AppendUint32(b, v)
	}
	return binary.LittleEndian.AppendUint64(b, uint64(time.Now().UnixMilli()))
}

// say writes a frame; the lock keeps frames of others out of it.
func (f *fake) say(nc net.Conn, out rpc.Frame) {
	f.mu.Lock()
	defer f.mu.Unlock()
	_, _ = nc.Write(rpc.AppendFrame(nil, out))
}

func (f *fake) sayText(nc net.Conn, op byte, text string) {
	b := []byte{0x80 | op}
	switch n := len(text); {
	case n < 126:
		b = append(b, byte(n))
	default:
		b = append(b, 126, byte(n>>8), byte(n))
	}
	_, _ = nc.Write(append(b, text...))
}

func (f *fake) serveWS(nc net.Conn, r *bufio.Reader) {
	key := ""
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			return
		}
		if k, ok := strings.CutPrefix(line, "Sec-WebSocket-Key: "); ok {
			key = strings.TrimSpace(k)
		}
		if line == "\r\n" {
			break
		}
	}
	sum := sha1.Sum([]byte(key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))
	fmt.Fprintf(nc, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: %s\r\n\r\n", base64.StdEncoding.EncodeToString(sum[:]))
	for {
		var h [6]byte
		if _, err := io.ReadFull(r, h[:2]); err != nil {
			return
		}
		n := int(h[1] & 127)
		if n == 126 {
			var l [2]byte
			if _, err := io.ReadFull(r, l[:]); err != nil {
				return
			}
			n = int(binary.BigEndian.Uint16(l[:]))
		}
		if _, err := io.ReadFull(r, h[2:6]); err != nil {
			return
		}
		body := make([]byte, n)
		if _, err := io.ReadFull(r, body); err != nil {
			return
		}
		if h[0]&15 == opPing {
			f.mu.Lock()
			f.sayText(nc, opPong, string(body))
			f.mu.Unlock()
			continue
		}
		f.heard(nc, body)
	}
}

func (f *fake) heard(nc net.Conn, body []byte) {
	var m struct {
		Op     string
		ID     uint64
		Device track.DeviceID
		Fixes  []struct {
			Time     int64
			Lat, Lon float64
		}
	}
	if err := json.Unmarshal(body, &m); err != nil {
		f.t.Errorf("%s: %v", body, err)
		return
	}
	if m.Op == "watch" {
		f.mu.Lock()
		f.sayText(nc, opText, fmt.Sprintf(`{"type":"watching","id":%d,"stream":1,"epoch":"0000000000000001"}`, m.ID))
		f.mu.Unlock()
		f.join(&fakeViewer{nc: nc, ws: true})
		return
	}
	x := m.Fixes[0]
	f.publish(update{Fix: Fix{Device: m.Device, Time: x.Time, Lat: int32(math.Round(x.Lat * 1e7)), Lon: int32(math.Round(x.Lon * 1e7)), Placed: true}})
	if f.mute {
		return
	}
	f.mu.Lock()
	f.sayText(nc, opText, fmt.Sprintf(`{"type":"reported","id":%d,"device":"%v","accepted":1,"late":0}`, m.ID, m.Device))
	f.mu.Unlock()
}

func (f *fake) join(v *fakeViewer) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.viewers = append(f.viewers, v)
	v.at = 100
	if f.bare {
		v.send("snapshot", nil, 0)
		return
	}
	v.send("snapshot", slices.Collect(maps.Values(f.newest)), 0)
}

func (f *fake) publish(u update) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.reports++
	f.newest[u.Device] = u.Fix
	if f.after > 0 && f.reports >= f.after {
		f.kill()
		return
	}
	for to, v := range f.viewers {
		out := []update{u}
		if f.lie != nil {
			out = f.lie(to, v.n, u)
		}
		v.n++
		for _, one := range out {
			if one.skipped > 0 {
				v.at += one.skipped
				v.send("resync", []Fix{one.Fix}, one.skipped)
				continue
			}
			v.at++
			v.send("fixes", []Fix{one.Fix}, 0)
		}
	}
}

func (v *fakeViewer) send(kind string, fixes []Fix, skipped uint64) {
	if v.ws {
		(&fake{}).sayText(v.nc, opText, jsonFrame(kind, v.at, skipped, fixes))
		return
	}
	t := &trk.WatchFrameT{Kind: trk.FrameKindFixes, Stream: 1, Epoch: "0", Position: float64(v.at), Skipped: float64(skipped)}
	switch kind {
	case "snapshot":
		t.Kind = trk.FrameKindSnapshot
	case "resync":
		t.Kind = trk.FrameKindResync
	}
	for _, x := range fixes {
		t.Fixes = append(t.Fixes, &trk.FixT{DeviceHi: uint16(x.Device >> 32), DeviceLo: uint32(x.Device), Time: float64(x.Time), Lat: x.Lat, Lon: x.Lon, Has: trk.HasPosition})
		t.Names = append(t.Names, "somebody")
	}
	v.seq++
	body := trk.AppendWatchFrame(binary.LittleEndian.AppendUint64(nil, v.seq), t)
	_, _ = v.nc.Write(rpc.AppendFrame(nil, rpc.Frame{Kind: rpc.KindEvent, ID: watchRequest, Code: trk.WatchOpenEvent, Body: body}))
}

// jsonFrame is a frame as our server writes it.
func jsonFrame(kind string, at, skipped uint64, fixes []Fix) string {
	s := fmt.Sprintf(`{"type":"%s","stream":1`, kind)
	if kind == "snapshot" {
		s += `,"epoch":"0000000000000001"`
	}
	s += fmt.Sprintf(`,"seq":%d`, at)
	if kind == "fixes" {
		s += fmt.Sprintf(`,"n":%d`, len(fixes))
	}
	if kind == "resync" {
		s += fmt.Sprintf(`,"skipped":%d`, skipped)
	}
	s += `,"fixes":[`
	for i, x := range fixes {
		if i > 0 {
			s += ","
		}
		s += fmt.Sprintf(`{"device":"%v","name":"somebody","time":"%s","lat":%v,"lon":%v}`, x.Device,
			time.UnixMilli(x.Time).UTC().Format("2006-01-02T15:04:05.000Z"), trim(x.Lat), trim(x.Lon))
	}
	return s + `]}`
}

func trim(e7 int32) string {
	return strings.TrimSuffix(strings.TrimRight(fmt.Sprintf("%.7f", float64(e7)/1e7), "0"), ".")
}
