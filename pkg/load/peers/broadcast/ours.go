package broadcast

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"net"
	"sync"
	"time"

	"tracker/pkg/client"
	"tracker/pkg/load"
	"tracker/pkg/load/peers/codec"
	"tracker/pkg/load/rpcload"
	"tracker/pkg/rpc"
	"tracker/pkg/wire/trk"
)

// Ours is a trackerd of its own: viewers watch everything, and an administrator reports
// U fixes of one device at once. The number of a message is the latitude of its fix, the
// number of the run the longitude.
type Ours struct {
	own    *rpcload.Own
	dial   func(context.Context) (net.Conn, error)
	hello  rpc.Hello
	facts  Facts
	device string

	mu     sync.Mutex
	frames map[int][]byte // by count of fixes, as they came
}

const ourDevice = "bench"

// StartOurs starts the trackerd at path.
func StartOurs(ctx context.Context, seats load.Seats, path string) (*Ours, error) {
	own, err := rpcload.Launch{Path: path, Seats: seats}.Start(ctx)
	if err != nil {
		return nil, err
	}
	o := &Ours{own: own, frames: map[int][]byte{}}
	if err := o.meet(ctx); err != nil {
		return nil, errors.Join(err, own.Close())
	}
	return o, nil
}

func (o *Ours) meet(ctx context.Context) (err error) {
	if o.dial, err = o.own.Target.Dialer(); err != nil {
		return err
	}
	o.hello = rpc.Hello{Client: "trackbench", AuthKind: rpc.AuthBearer, Auth: o.own.Token, MaxFrame: readSize}
	conn, err := client.Dial(client.Config{Server: o.own.Target.Addr, Token: string(o.own.Token)})
	if err != nil {
		return err
	}
	st, err := conn.Status(ctx)
	if err != nil {
		return err
	}
	o.facts = Facts{
		Version: st.Version, Confirms: true,
		Settings: []string{"GOMAXPROCS=1", "fixes are stored, synchronous"},
		Promise:  "at most once and in order; who keeps up gets all, who does not the newest of each device; reports are answered and stored",
	}
	e, err := conn.Enroll(ctx, client.NewDevice{Name: ourDevice})
	if err != nil {
		return err
	}
	o.device = e.Device.ID.String()
	return nil
}

func (o *Ours) Name() string           { return "trackerd" }
func (o *Ours) Facts() Facts           { return o.facts }
func (o *Ours) Process() *load.Process { return &o.own.Process }
func (o *Ours) Close() error           { return o.own.Close() }

func (o *Ours) Dial(ctx context.Context) (net.Conn, error) { return o.dial(ctx) }

// ourStream is the id of the one request of a viewer.
const ourStream = 1

func (o *Ours) View(ctx context.Context, l *Line) error {
	w, err := rpc.Greet(ctx, l.Conn, o.hello)
	if err != nil {
		return err
	}
	ear := &frameEar{window: int(min(w.MaxCredit, 1<<16))}
	if l.Nr == 0 {
		ear.keep = o.keep
	}
	l.Ear = ear
	ask := rpc.AppendFrame(nil, rpc.Frame{Kind: rpc.KindReq, ID: ourStream, Code: trk.WatchOpenID, Aux: rpc.NoTimeout,
		Body: trk.AppendWatchReq(nil, &trk.WatchReqT{Area: &trk.AreaT{All: true}})})
	return l.Greet(ctx, appendCredit(ask, ear.window), func() bool { return ear.ready })
}

// keep remembers a frame for the bare loop: the one with so many fixes.
func (o *Ours) keep(frame []byte, fixes int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.frames[fixes] = append(o.frames[fixes][:0], frame...)
}

// Frame is a frame of so many fixes as it came from the server the last time; nil if none
// did.
func (o *Ours) Frame(fixes int) []byte {
	o.mu.Lock()
	defer o.mu.Unlock()
	return append([]byte(nil), o.frames[fixes]...)
}

// Sample has the server make a frame of so many fixes: by one viewer, and so rarely that
// no two bursts share one.
func (o *Ours) Sample(ctx context.Context, fixes int) error {
	f, err := Measure(ctx, o, Shape{Viewers: 1, Updates: fixes, Bursts: 5, Duration: time.Second})
	if err == nil {
		err = f.Err()
	}
	if err == nil && len(o.Frame(fixes)) == 0 {
		err = fmt.Errorf("trackerd made no frame of %d fixes", fixes)
	}
	return err
}

func (o *Ours) Publish(ctx context.Context, l *Line, _ int) (Mouth, error) {
	if _, err := rpc.Greet(ctx, l.Conn, o.hello); err != nil {
		return nil, err
	}
	l.Ear = &frameEar{}
	return &reports{device: o.device, salt: int32(l.Salt)}, nil
}

func appendCredit(dst []byte, n int) []byte {
	var b [4]byte
	binary.LittleEndian.PutUint32(b[:], uint32(n))
	return rpc.AppendFrame(dst, rpc.Frame{Kind: rpc.KindCredit, ID: ourStream, Body: b[:]})
}

// reports makes bursts as reports.
type reports struct {
	device string
	salt   int32
	id     uint32
	body   []byte
	t      trk.ReportReqT
	fixes  []trk.FixT
}

func (m *reports) Append(dst []byte, from uint64, n int, due time.Time) []byte {
	if len(m.fixes) != n {
		m.fixes = make([]trk.FixT, n)
		m.t = trk.ReportReqT{Device: m.device, Fixes: make([]*trk.FixT, n)}
		for i := range m.fixes {
			m.t.Fixes[i] = &m.fixes[i]
		}
	}
	for i := range m.fixes {
		m.fixes[i] = trk.FixT{Time: float64(due.UnixMilli()), Has: trk.HasPosition, Lat: int32(from) + int32(i), Lon: m.salt}
	}
	m.id++
	m.body = trk.AppendReportReq(m.body[:0], &m.t)
	return rpc.AppendFrame(dst, rpc.Frame{Kind: rpc.KindReq, ID: m.id, Code: trk.PublishReportID, Aux: rpc.NoTimeout - 1, Body: m.body})
}

// frameEar takes the frames of our own protocol: events of a viewer's one watch, answers
// to a publisher's reports.
type frameEar struct {
	window, taken int // credit of a viewer; 0: a publisher
	ready         bool
	confirmed     int64
	owed          []byte
	payload       [Payload]byte
	keep          func(frame []byte, fixes int)
}

func (e *frameEar) Confirmed() int64 { return e.confirmed }

func (e *frameEar) Owe() []byte {
	b := e.owed
	e.owed = b[:0]
	return b
}

var errFrame = errors.New("not what trackerd sends")

func (e *frameEar) Take(b []byte, to codec.Sink) (int, error) {
	done := 0
	for len(b)-done >= rpc.HeaderSize {
		h := b[done:]
		word := binary.LittleEndian.Uint32(h)
		n := rpc.HeaderSize + int(word&(1<<24-1))
		if n > readSize {
			return done, fmt.Errorf("%w: a frame of %d bytes", errFrame, n)
		}
		if len(h) < n {
			break
		}
		f := rpc.Frame{
			Kind: rpc.Kind(word >> 24 & 15), Flags: uint8(word >> 28), ID: binary.LittleEndian.Uint32(h[4:]),
			Code: binary.LittleEndian.Uint16(h[8:]), Aux: binary.LittleEndian.Uint16(h[10:]), Body: h[rpc.HeaderSize:n:n],
		}
		if err := e.frame(&f, h[:n], to); err != nil {
			return done, err
		}
		done += n
	}
	return done, nil
}

func (e *frameEar) frame(f *rpc.Frame, whole []byte, to codec.Sink) error {
	switch {
	case f.Flags != 0:
	case f.Kind == rpc.KindEvent && e.window > 0 && f.ID == ourStream && f.Code == trk.WatchOpenEvent && len(f.Body) > 8:
		return e.event(f, whole, to)
	case f.Kind == rpc.KindRsp && f.Code == 0 && e.window > 0 && f.ID == ourStream && !e.ready:
		return nil // the watch is open
	case f.Kind == rpc.KindRsp && f.Code == 0 && e.window == 0:
		return e.answer(f.Body)
	case f.Kind == rpc.KindPing && len(f.Body) == 8:
		e.owed = rpc.AppendFrame(e.owed, rpc.Frame{Kind: rpc.KindPong, ID: f.ID, Body: f.Body})
		return nil
	}
	if err := f.Failure(); err != nil {
		return err
	}
	return fmt.Errorf("%w: a frame of kind %d for request %d, flags %d, code %d", errFrame, f.Kind, f.ID, f.Flags, f.Code)
}

// answer takes the answer to a report.
func (e *frameEar) answer(body []byte) error {
	ack, err := trk.ReadReportAck(body)
	if err != nil {
		return err
	}
	if ack.Late() != 0 {
		return fmt.Errorf("%w: of %d fixes %d were late", errFrame, ack.Accepted(), ack.Late())
	}
	e.confirmed += int64(ack.Accepted())
	return nil
}

// event takes a frame of the watch, and gives credit when half of it is used up.
func (e *frameEar) event(f *rpc.Frame, whole []byte, to codec.Sink) error {
	frame, err := trk.ReadWatchFrame(f.Body[8:])
	if err != nil {
		return err
	}
	if e.taken++; e.taken >= (e.window+1)/2 {
		e.owed = appendCredit(e.owed, e.taken)
		e.taken = 0
	}
	n := frame.FixesLength()
	switch kind := frame.Kind(); {
	case kind == trk.FrameKindSnapshot && !e.ready:
		e.ready = !frame.More() // what was before is not of this run
		return nil
	case kind == trk.FrameKindResync, frame.Skipped() != 0, f.Aux != 0:
		return fmt.Errorf("%w: the viewer was too slow and spared %v fixes", ErrFailed, frame.Skipped())
	case kind != trk.FrameKindFixes || !e.ready:
		return fmt.Errorf("%w: a frame of kind %d", errFrame, kind)
	}
	if e.keep != nil {
		e.keep(whole, n)
	}
	var fix trk.Fix
	for i := range n {
		frame.Fixes(&fix, i)
		lat := fix.Lat()
		if lat < 0 {
			return errStray
		}
		binary.LittleEndian.PutUint64(e.payload[:], uint64(lat))
		binary.LittleEndian.PutUint64(e.payload[8:], uint64(uint32(fix.Lon())))
		if err := to.Message(e.payload[:]); err != nil {
			return err
		}
	}
	return nil
}

// patch writes the numbers of another burst into a frame that came from a server.
func patch(frame []byte, from uint64, n int, salt int32) error {
	if len(frame) < rpc.HeaderSize+8 || from > math.MaxInt32-uint64(n) {
		return errFrame
	}
	w, err := trk.ReadWatchFrame(frame[rpc.HeaderSize+8:])
	if err != nil {
		return err
	}
	if w.FixesLength() != n {
		return fmt.Errorf("%w: %d fixes, want %d", errFrame, w.FixesLength(), n)
	}
	var fix trk.Fix
	for i := range n {
		w.Fixes(&fix, i)
		fix.MutateLat(int32(from) + int32(i))
		fix.MutateLon(salt)
	}
	return nil
}
