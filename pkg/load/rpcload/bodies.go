package rpcload

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"tracker/pkg/rpc"
	"tracker/pkg/wire/trk"
)

// Method is what is called.
type Method int

// The methods of the example service.
const (
	Sum   Method = iota // added in the server's reader
	Async               // added by a worker
	Sleep               // added after a while; beside sums if only a share sleeps
	Echo                // sent back
)

var methodNames = [...]string{"sum", "async", "sleep", "echo"}

func (m Method) String() string {
	if m < 0 || int(m) >= len(methodNames) {
		return fmt.Sprintf("Method(%d)", int(m))
	}
	return methodNames[m]
}

// ParseMethod reads the name of a method.
func ParseMethod(s string) (Method, error) {
	for i, name := range methodNames {
		if s == name {
			return Method(i), nil
		}
	}
	return 0, fmt.Errorf("method %q: want sum, async, sleep or echo", s)
}

// kind is one method with its ready request, and how to know its answer.
type kind struct {
	form   form
	answer answer
}

// form is a request of which each call is a copy: at three places numbers are put in.
type form struct {
	frame []byte
	a, b  int // where the two numbers stand in it
}

// id stands here in every frame.
const idAt = 4

// The two numbers of a call follow from its id, so nothing has to be kept to know what
// its answer must be.
func first(id uint32) uint32  { return id * 0x9e3779b1 }
func second(id uint32) uint32 { return ^id<<7 ^ id>>3 }

func (f *form) put(dst []byte, id uint32) []byte {
	n := len(dst)
	dst = append(dst, f.frame...)
	own := dst[n:]
	binary.LittleEndian.PutUint32(own[idAt:], id)
	binary.LittleEndian.PutUint32(own[f.a:], first(id))
	binary.LittleEndian.PutUint32(own[f.b:], second(id))
	return dst
}

// newForm finds where a body has its two numbers by looking for two that stand nowhere
// else in it, and makes sure by reading another pair back.
func newForm(method uint16, encode func(a, b uint32) []byte, decode func(body []byte) (a, b uint32, ok bool)) (form, error) {
	const a, b = 0x5a11c0de, 0x1dea5eed
	f := form{frame: rpc.AppendFrame(nil, rpc.Frame{Kind: rpc.KindReq, Code: method, Body: encode(a, b)})}
	var okA, okB bool
	f.a, okA = only(f.frame, 4, a)
	f.b, okB = only(f.frame, 4, b)
	if !okA || !okB {
		return f, errors.New("a request does not show where its numbers are")
	}
	const id = 77
	x, y, ok := decode(f.put(nil, id)[rpc.HeaderSize:])
	if !ok || x != first(id) || y != second(id) {
		return f, errors.New("a patched request does not read back")
	}
	return f, nil
}

// only finds the one place where v stands in b, as so many bytes.
func only(b []byte, width int, v uint64) (int, bool) {
	var text [8]byte
	binary.LittleEndian.PutUint64(text[:], v)
	at := bytes.Index(b, text[:width])
	return at, at >= 0 && at == bytes.LastIndex(b, text[:width])
}

// answer knows the right answer to a call. The first one is verified and read as any
// client would; when it shows where its value is, the next ones need only equal it
// everywhere else.
type answer struct {
	read  func(body []byte) (uint64, error)
	want  func(id uint32) uint64
	width int
	known []byte
	at    int // where in known the value is
}

// is tells whether body is the answer to the call.
func (a *answer) is(body []byte, id uint32) bool {
	if a.known == nil || len(body) != len(a.known) || !bytes.Equal(body[:a.at], a.known[:a.at]) || !bytes.Equal(body[a.at+a.width:], a.known[a.at+a.width:]) {
		return a.learn(body, id)
	}
	if a.width == 4 {
		return uint64(binary.LittleEndian.Uint32(body[a.at:])) == a.want(id)
	}
	return binary.LittleEndian.Uint64(body[a.at:]) == a.want(id)
}

func (a *answer) learn(body []byte, id uint32) bool {
	v, err := a.read(body)
	if err != nil || v != a.want(id) {
		return false
	}
	at, ok := only(body, a.width, v)
	if !ok {
		return true // another one will show it
	}
	other := bytes.Clone(body)
	for i := range a.width {
		other[at+i] ^= 0xff
	}
	all := ^uint64(0) >> (64 - 8*a.width)
	if got, err := a.read(other); err == nil && got == v^all {
		a.known, a.at = other, at
	}
	return true
}

// wrong says in words what is wrong about an answer.
func (a *answer) wrong(body []byte, id uint32) string {
	v, err := a.read(body)
	if err != nil {
		return err.Error()
	}
	return fmt.Sprintf("it says %d, want %d", v, a.want(id))
}

func sumOf(id uint32) uint64 { return uint64(first(id) + second(id)) }

func readSum(body []byte) (uint64, error) {
	rsp, err := trk.ReadSumRsp(body)
	if err != nil {
		return 0, err
	}
	return uint64(uint32(rsp.Sum())), nil
}

func sums() answer { return answer{read: readSum, want: sumOf, width: 4} }

func sumKind(method uint16) (k kind, err error) {
	k.form, err = newForm(method, func(a, b uint32) []byte {
		return trk.AppendSumReq(nil, &trk.SumReqT{A: int32(a), B: int32(b)})
	}, func(body []byte) (a, b uint32, ok bool) {
		req, err := trk.ReadSumReq(body)
		if err != nil {
			return 0, 0, false
		}
		return uint32(req.A()), uint32(req.B()), true
	})
	k.answer = sums()
	return k, err
}

func sleepKind(d time.Duration) (k kind, err error) {
	ms := uint32(d.Milliseconds())
	k.form, err = newForm(trk.ExampleSleepID, func(a, b uint32) []byte {
		return trk.AppendSleepReq(nil, &trk.SleepReqT{Ms: ms, A: int32(a), B: int32(b)})
	}, func(body []byte) (a, b uint32, ok bool) {
		req, err := trk.ReadSleepReq(body)
		if err != nil || req.Ms() != ms {
			return 0, 0, false
		}
		return uint32(req.A()), uint32(req.B()), true
	})
	k.answer = sums()
	return k, err
}

// minPayload holds the two numbers by which echoes are told apart.
const minPayload = 8

func echoKind(size int) (k kind, err error) {
	payload := make([]byte, size)
	for i := range payload {
		payload[i] = byte(i*i/7 + i) // something, and not the same everywhere
	}
	k.form, err = newForm(trk.ExampleEchoID, func(a, b uint32) []byte {
		p := bytes.Clone(payload)
		binary.LittleEndian.PutUint32(p, a)
		binary.LittleEndian.PutUint32(p[4:], b)
		return trk.AppendEchoReq(nil, &trk.EchoReqT{Payload: p})
	}, func(body []byte) (a, b uint32, ok bool) {
		req, err := trk.ReadEchoReq(body)
		if err != nil || len(req.PayloadBytes()) != size {
			return 0, 0, false
		}
		p := req.PayloadBytes()
		return binary.LittleEndian.Uint32(p), binary.LittleEndian.Uint32(p[4:]), true
	})
	k.answer = answer{
		width: 8,
		want:  func(id uint32) uint64 { return uint64(first(id)) | uint64(second(id))<<32 },
		read: func(body []byte) (uint64, error) {
			rsp, err := trk.ReadEchoRsp(body)
			if err != nil {
				return 0, err
			}
			p := rsp.PayloadBytes()
			if len(p) != size || !bytes.Equal(p[minPayload:], payload[minPayload:]) {
				return 0, fmt.Errorf("the echo is not what was sent: %d bytes of %d", len(p), size)
			}
			return binary.LittleEndian.Uint64(p), nil
		},
	}
	return k, err
}

// kinds are the usual call of a run and, if some sleep, the one that sleeps.
func (c *Config) kinds() (usual, sleeping kind, err error) {
	switch c.Method {
	case Async:
		usual, err = sumKind(trk.ExampleAsyncSumID)
	case Echo:
		usual, err = echoKind(c.Payload)
	default:
		usual, err = sumKind(trk.ExampleSumID)
	}
	if err == nil && c.Method == Sleep {
		sleeping, err = sleepKind(c.Sleep)
	}
	return usual, sleeping, err
}
