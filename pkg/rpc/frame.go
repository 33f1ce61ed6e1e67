package rpc

import (
	"encoding/binary"
	"io"
	"sync"
)

// Preamble is what a client sends first; a port that serves several protocols tells
// them apart by it.
const Preamble = "TRK1"

// HeaderSize is the fixed size of a frame's header.
const HeaderSize = 12

// The header, little endian:
//
//	0   u32  bits 0-23 length of the body, 24-27 kind, 28-31 flags
//	4   u32  id
//	8   u16  code    method | status | event type
//	10  u16  aux     timeout in ms | updates skipped
const (
	maxBody     = 1<<24 - 1
	chunk       = 64 << 10 // a longer message travels in frames of this size
	smallBuffer = 512      // what a connection starts with
	bigBuffer   = 64 << 10 // what a busy one grows to
)

// Kind says what a frame is.
type Kind uint8

// The kinds. 13 and 14 are not assigned, 15 is for extensions; all three end a
// connection, for their layout is unknown.
const (
	KindHello   Kind = 0
	KindWelcome Kind = 1
	KindReq     Kind = 2
	KindRsp     Kind = 3
	KindErr     Kind = 4
	KindCancel  Kind = 5
	KindNotify  Kind = 6
	KindEvent   Kind = 7
	KindCredit  Kind = 8
	KindEnd     Kind = 9
	KindPing    Kind = 10
	KindPong    Kind = 11
	KindGoAway  Kind = 12
)

// Flags of a frame. The two others are reserved and end a connection.
const (
	FlagMore = 1 // the body goes on in the next frame of this id
	FlagMeta = 2 // u16 length and that many bytes of metadata stand before the body
)

// NoTimeout in the aux of a request asks for no deadline.
const NoTimeout = 65535

// Frame is one frame, its body still in the buffer it was read into.
type Frame struct {
	Kind  Kind
	Flags uint8
	ID    uint32
	Code  uint16
	Aux   uint16
	Body  []byte
}

// AppendFrame appends f, whose body must not be longer than 16 MiB - 1.
func AppendFrame(dst []byte, f Frame) []byte {
	dst = appendHeader(dst, f.Kind, f.Flags, len(f.Body), f.ID, f.Code, f.Aux)
	return append(dst, f.Body...)
}

func appendHeader(dst []byte, k Kind, flags uint8, n int, id uint32, code, aux uint16) []byte {
	dst = append(dst, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0)
	putHeader(dst[len(dst)-HeaderSize:], k, flags, n, id, code, aux)
	return dst
}

func putHeader(h []byte, k Kind, flags uint8, n int, id uint32, code, aux uint16) {
	_ = h[11]
	binary.LittleEndian.PutUint32(h, uint32(n)|uint32(k)<<24|uint32(flags)<<28)
	binary.LittleEndian.PutUint64(h[4:], uint64(id)|uint64(code)<<32|uint64(aux)<<48)
}

// appendMessage appends a message, in several frames when it is longer than limit.
func appendMessage(dst []byte, f Frame, limit int) []byte {
	limit = min(limit, chunk)
	if len(f.Body) <= limit {
		return AppendFrame(dst, f)
	}
	rest, last := f.Body, f.Flags
	for len(rest) > limit {
		f.Body, f.Flags = rest[:limit], last|FlagMore
		dst = AppendFrame(dst, f)
		rest, last = rest[limit:], last&^FlagMeta
	}
	f.Body, f.Flags = rest, last
	return AppendFrame(dst, f)
}

// parser cuts what was read into frames. Its buffer starts small, grows while reads
// come back full or a frame does not fit, by doubling what has arrived and never by
// what a header declares, and shrinks again when the peer is quiet.
type parser struct {
	buf   []byte
	r, w  int
	limit int // of a frame's body
	got   int // by the last read
	full  bool
	lean  int // reads in a row that used little of the buffer
}

// next yields the next whole frame. Its body is good until the next fill.
func (p *parser) next(f *Frame) (bool, *Error) {
	if p.w-p.r < HeaderSize {
		return false, nil
	}
	h := p.buf[p.r : p.r+HeaderSize]
	word := binary.LittleEndian.Uint32(h)
	n := int(word & maxBody)
	kind, flags := Kind(word>>24&15), uint8(word>>28)
	if kind > KindGoAway {
		return false, protocolError(FaultKind, BadFrame, "unknown kind of frame")
	}
	if flags&^(FlagMore|FlagMeta) != 0 {
		return false, protocolError(FaultFlags, BadFrame, "reserved flag")
	}
	if n > p.limit {
		return false, protocolError(FaultTooLarge, FrameTooLarge, "frame over the limit")
	}
	if p.w-p.r < HeaderSize+n {
		return false, nil
	}
	rest := binary.LittleEndian.Uint64(h[4:])
	f.Kind, f.Flags = kind, flags
	f.ID, f.Code, f.Aux = uint32(rest), uint16(rest>>32), uint16(rest>>48)
	body := p.r + HeaderSize
	f.Body = p.buf[body : body+n : body+n]
	p.r = body + n
	return true, nil
}

// fill reads once.
func (p *parser) fill(r io.Reader) (int, error) {
	p.room()
	n, err := r.Read(p.buf[p.w:])
	p.got, p.full = n, n == len(p.buf)-p.w
	p.w += n
	if n > 0 {
		err = nil // whatever it was, the next read says it again
	}
	return n, err
}

func (p *parser) room() {
	have := p.w - p.r
	size := len(p.buf)
	switch {
	case size == 0:
		size = smallBuffer
	case have == size, p.full && size < bigBuffer:
		size *= 2
		p.lean = 0
	case size > bigBuffer && have < bigBuffer/2: // a long frame has been taken
		size = bigBuffer
	case have+p.got < size/8 && size > smallBuffer:
		if p.lean++; p.lean > 256 {
			size /= 2
			p.lean = 0
		}
	default:
		p.lean = 0
	}
	p.full = false
	if size != len(p.buf) {
		var grown []byte
		if size == smallBuffer {
			grown = smalls.take()
		} else {
			grown = make([]byte, size)
		}
		copy(grown, p.buf[p.r:p.w])
		p.buf = grown
	} else if p.r > 0 {
		copy(p.buf, p.buf[p.r:p.w])
	}
	p.r, p.w = 0, have
}

// smalls are buffers of connections that nobody writes to at the moment.
var smalls smallPool

type smallPool struct{ sync.Pool }

func (s *smallPool) take() []byte {
	if b, _ := s.Get().(*[smallBuffer]byte); b != nil {
		return b[:]
	}
	return make([]byte, smallBuffer)
}

func (s *smallPool) give(b []byte) { s.Put((*[smallBuffer]byte)(b)) }

// sleep lends a small buffer to others while nothing comes, if nothing is in it; wake
// takes one again, and says where to read to.
func (p *parser) sleep() bool {
	if p.w > 0 || len(p.buf) != smallBuffer {
		return false
	}
	smalls.give(p.buf)
	p.buf = nil
	return true
}

func (p *parser) wake() []byte {
	p.buf = smalls.take()
	return p.buf
}

// release gives the buffer back while the peer is silent.
func (p *parser) release() {
	if p.r == p.w && len(p.buf) > smallBuffer {
		p.buf, p.r, p.w = nil, 0, 0
	}
}
