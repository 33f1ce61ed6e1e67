package web

import (
	"encoding/binary"

	"tracker/pkg/hub"
)

// frameEncoder writes a frame of the hub as a whole WebSocket text frame, header and
// all: what a server sends is not masked, so the bytes are the same for everybody
// who watches the same thing, and go from here to the sockets without being touched
// again.
func frameEncoder(name names) func(dst []byte, f *hub.Frame) []byte {
	return func(dst []byte, f *hub.Frame) []byte {
		start := len(dst)
		dst = append(dst, make([]byte, headerRoom)...)
		dst = appendFrame(dst, f, name)
		return sealText(dst, start)
	}
}

// headerRoom fits the header of a text frame of 126 to 65,535 bytes, which is what
// nearly all are.
const headerRoom = 4

// sealText writes the header of the text frame whose payload begins at
// start+headerRoom and goes to the end of dst. The header must be the shortest that
// holds the length, so in the rare other case the payload moves.
func sealText(dst []byte, start int) []byte {
	const finText = 0x81
	n := len(dst) - start - headerRoom
	head := dst[start : start+headerRoom]
	switch {
	case n < 126:
		head[0], head[1] = finText, byte(n)
		copy(dst[start+2:], dst[start+headerRoom:])
		return dst[:len(dst)-2]
	case n < 1<<16:
		head[0], head[1] = finText, 126
		binary.BigEndian.PutUint16(head[2:], uint16(n))
		return dst
	}
	dst = append(dst, 0, 0, 0, 0, 0, 0)
	copy(dst[start+10:], dst[start+headerRoom:])
	dst[start], dst[start+1] = finText, 127
	binary.BigEndian.PutUint64(dst[start+2:], uint64(n))
	return dst
}

// appendFrame appends the JSON of a frame: the messages snapshot, fixes and resync
// of the API document.
func appendFrame(dst []byte, f *hub.Frame, name names) []byte {
	switch f.Kind {
	case hub.Snapshot:
		dst = append(dst, `{"type":"snapshot","stream":`...)
	case hub.Resync:
		dst = append(dst, `{"type":"resync","stream":`...)
	default:
		dst = append(dst, `{"type":"fixes","stream":`...)
	}
	dst = appendUint(dst, uint64(f.Stream))
	if f.Kind == hub.Snapshot {
		dst = append(dst, `,"epoch":"`...)
		dst = append(appendHex64(dst, f.Epoch), '"')
	}
	dst = append(dst, `,"seq":`...)
	dst = appendUint(dst, f.Seq)
	if f.Kind == hub.Fixes {
		dst = append(dst, `,"n":`...)
		dst = appendUint(dst, uint64(len(f.Fixes)))
	}
	if f.Kind == hub.Resync {
		dst = append(dst, `,"skipped":`...)
		dst = appendUint(dst, f.Skipped)
	}
	if f.Fresh {
		dst = append(dst, `,"fresh":true`...)
	}
	if f.More {
		dst = append(dst, `,"more":true`...)
	}
	dst = append(dst, `,"fixes":[`...)
	for i := range f.Fixes {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = appendFix(dst, &f.Fixes[i], name)
	}
	dst = append(dst, ']')
	if len(f.Left) > 0 {
		dst = append(dst, `,"left":[`...)
		for i, id := range f.Left {
			if i > 0 {
				dst = append(dst, ',')
			}
			dst = append(dst, '"')
			dst, _ = id.AppendText(dst)
			dst = append(dst, '"')
		}
		dst = append(dst, ']')
	}
	return append(dst, '}')
}
