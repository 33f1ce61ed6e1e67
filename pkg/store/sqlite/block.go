package sqlite

import (
	"encoding/binary"
	"fmt"

	"tracker/pkg/track"
)

// A block is one row of a run: the chunks of neighbouring devices, as many as make a
// row worth its cost, and a directory by which a reader decodes only the chunk it
// came for. A million devices with one fix each are six thousand rows, not a million.
//
//	format | number of chunks | bytes of directory | directory | chunks | checksum
const (
	blockFormat = 1
	blockSize   = 8 << 10 // a block is full when its chunks reach this
)

// span is what a block or chunk covers.
type span struct {
	t0, t1 int64 // first and last fix time
	n      int   // fixes
}

func (s *span) add(t0, t1 int64, n int) {
	if s.n == 0 {
		s.t0, s.t1 = t0, t1
	}
	s.t0, s.t1, s.n = min(s.t0, t0), max(s.t1, t1), s.n+n
}

// blockWriter collects chunks in the order (device, first time).
type blockWriter struct {
	span
	first, last track.DeviceID
	count       int
	dir, chunks []byte
	prevT0      int64
	coder       chunkCoder
}

func (b *blockWriter) add(fixes []track.Fix, ext []byte) {
	device, t0, t1 := fixes[0].Device, fixes[0].Time, fixes[len(fixes)-1].Time
	if b.count == 0 {
		b.first, b.last, b.prevT0 = device, device, 0
	}
	at := len(b.chunks)
	b.chunks = b.coder.append(b.chunks, fixes, ext)

	prev := b.last
	if b.count == 0 {
		prev = 0
	}
	b.dir = binary.AppendUvarint(b.dir, uint64(device-prev))
	b.dir = binary.AppendUvarint(b.dir, zigzag(t0-b.prevT0))
	b.dir = binary.AppendUvarint(b.dir, uint64(t1-t0))
	b.dir = binary.AppendUvarint(b.dir, uint64(len(b.chunks)-at))
	b.last, b.prevT0 = device, t0
	b.count++
	b.span.add(t0, t1, len(fixes))
}

func (b *blockWriter) full() bool { return len(b.chunks) >= blockSize }

// take appends the block to dst and starts the next one.
func (b *blockWriter) take(dst []byte) []byte {
	start := len(dst)
	dst = append(dst, blockFormat)
	dst = binary.AppendUvarint(dst, uint64(b.count))
	dst = binary.AppendUvarint(dst, uint64(len(b.dir)))
	dst = append(dst, b.dir...)
	dst = append(dst, b.chunks...)
	sum := seal(dst[start:])
	b.span, b.count, b.dir, b.chunks = span{}, 0, b.dir[:0], b.chunks[:0]
	return append(dst[:start], sum...)
}

// blockReader walks the chunks of a block.
type blockReader struct {
	device track.DeviceID
	t0, t1 int64
	chunk  []byte // all four: of the chunk that next moved to

	left   uint64
	dir    []byte
	chunks []byte
}

// openBlock checks a block. What it returns reads from rec.
func openBlock(rec []byte) (blockReader, error) {
	body, err := unseal(rec)
	if err != nil {
		return blockReader{}, err
	}
	if len(body) == 0 || body[0] != blockFormat {
		return blockReader{}, fmt.Errorf("unknown format: %w", errDamaged)
	}
	body = body[1:]
	count, k := binary.Uvarint(body)
	if k <= 0 {
		return blockReader{}, errDamaged
	}
	body = body[k:]
	size, k := binary.Uvarint(body)
	if k <= 0 || size > uint64(len(body)-k) {
		return blockReader{}, errDamaged
	}
	body = body[k:]
	return blockReader{left: count, dir: body[:size], chunks: body[size:]}, nil
}

// next moves to the next chunk; false with a nil error is the end.
func (b *blockReader) next() (bool, error) {
	if b.left == 0 {
		return false, nil
	}
	b.left--
	var v [4]uint64
	for i := range v {
		u, k := binary.Uvarint(b.dir)
		if k <= 0 {
			return false, errDamaged
		}
		v[i], b.dir = u, b.dir[k:]
	}
	if v[3] > uint64(len(b.chunks)) {
		return false, errDamaged
	}
	b.device += track.DeviceID(v[0])
	b.t0 += unzigzag(v[1])
	b.t1 = b.t0 + int64(v[2])
	b.chunk, b.chunks = b.chunks[:v[3]], b.chunks[v[3]:]
	return true, nil
}
