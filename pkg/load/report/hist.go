package report

import (
	"bytes"
	"compress/zlib"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"math/bits"
	"slices"
)

// bar is a bucket of a histogram that something fell into: values from lo to hi,
// both of them in it.
type bar struct{ lo, hi, n int64 }

// hist is a histogram as its bars, in order. It is read from a file that anybody may
// have written, so its cost is what the file's bytes are, not what they claim.
type hist struct {
	bars  []bar
	total int64
}

const (
	cookieV2           = 0x1c849303
	cookieV2Compressed = 0x1c849304
	hdrHeader          = 40
	maxHDR             = 1 << 20 // bytes of one histogram, packed or not; ours have some 5 KiB
)

var errHDR = errors.New("not an HdrHistogram in V2 form")

// parseHist reads what hdr_v2 of a result holds: an HdrHistogram, V2, compressed, in
// base64. An empty string is an empty histogram.
func parseHist(text string) (hist, error) {
	if text == "" {
		return hist{}, nil
	}
	if len(text) > maxHDR {
		return hist{}, fmt.Errorf("%w: %d bytes", errHDR, len(text))
	}
	raw, err := parseRaw(text)
	if err != nil {
		return hist{}, err
	}
	return parseBars(raw)
}

// parseRaw takes off base64 and the envelope.
func parseRaw(text string) ([]byte, error) {
	packed, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		return nil, fmt.Errorf("%w: %v", errHDR, err)
	}
	return inflate(packed)
}

// inflate takes off the envelope, whose header is a cookie and a length.
func inflate(packed []byte) ([]byte, error) {
	if len(packed) < 8 || binary.BigEndian.Uint32(packed)&^0xf0 != cookieV2Compressed {
		return nil, errHDR
	}
	n := uint64(binary.BigEndian.Uint32(packed[4:]))
	if n > uint64(len(packed)-8) {
		return nil, fmt.Errorf("%w: cut short", errHDR)
	}
	z, err := zlib.NewReader(bytes.NewReader(packed[8 : 8+n]))
	if err != nil {
		return nil, fmt.Errorf("%w: %v", errHDR, err)
	}
	raw, err := io.ReadAll(io.LimitReader(z, maxHDR+1))
	if err != nil || len(raw) > maxHDR {
		return nil, fmt.Errorf("%w: what is packed in it is broken or too long", errHDR)
	}
	return raw, nil
}

// grid says which values the counters of a histogram stand for.
type grid struct {
	unit uint // values are multiples of 1<<unit
	half uint // each power of two is cut in 1<<half steps
	len  int  // counters there can be
}

func parseGrid(raw []byte) (g grid, err error) {
	digits := int32(binary.BigEndian.Uint32(raw[12:]))
	lowest, highest := int64(binary.BigEndian.Uint64(raw[16:])), int64(binary.BigEndian.Uint64(raw[24:]))
	if digits < 0 || digits > 5 || highest < 2 {
		return g, fmt.Errorf("%w: %d digits up to %d", errHDR, digits, highest)
	}
	g.unit = uint(bits.Len64(uint64(max(lowest, 1)))) - 1
	g.half = uint(bits.Len64(uint64(2*math.Pow10(int(digits))-1))) - 1
	if g.unit+g.half > 61 {
		return g, fmt.Errorf("%w: %d digits from %d on", errHDR, digits, lowest)
	}
	buckets := max(1, bits.Len64(uint64(highest))-int(g.unit+g.half))
	g.len = (buckets + 1) << g.half
	return g, nil
}

// bar is what the counter with an index stands for.
func (g grid) bar(i int, n int64) bar {
	step := g.unit
	sub := int64(i)
	if power := i >> g.half; power > 0 {
		step += uint(power) - 1
		sub = int64(i&(1<<g.half-1)) + 1<<g.half
	}
	lo := sub << step
	return bar{lo, lo + 1<<step - 1, n}
}

func parseBars(raw []byte) (hist, error) {
	if len(raw) < hdrHeader || binary.BigEndian.Uint32(raw)&^0xf0 != cookieV2 {
		return hist{}, errHDR
	}
	g, err := parseGrid(raw)
	if err != nil {
		return hist{}, err
	}
	var h hist
	body := raw[hdrHeader:]
	if uint64(binary.BigEndian.Uint32(raw[4:])) != uint64(len(body)) {
		return hist{}, fmt.Errorf("%w: its length is another one", errHDR)
	}
	for i := 0; len(body) > 0; {
		n, size := zigzag(body)
		if size == 0 {
			return hist{}, fmt.Errorf("%w: a counter is cut short", errHDR)
		}
		body = body[size:]
		skip := int64(1)
		if n < 0 { // that many empty counters
			skip = -n
		}
		if skip <= 0 || skip > int64(g.len-i) || n > math.MaxInt64-h.total {
			return hist{}, fmt.Errorf("%w: counters beyond its end", errHDR)
		}
		if n > 0 {
			h.bars = append(h.bars, g.bar(i, n))
			h.total += n
		}
		i += int(skip)
	}
	return h, nil
}

// zigzag reads a signed number in groups of seven bits, the ninth byte being whole;
// size 0 says that it is cut short.
func zigzag(b []byte) (v int64, size int) {
	var u uint64
	for i := range b {
		if i == 8 {
			u |= uint64(b[i]) << 56
			return int64(u>>1) ^ -int64(u&1), 9
		}
		u |= uint64(b[i]&0x7f) << (7 * i)
		if b[i] < 0x80 {
			return int64(u>>1) ^ -int64(u&1), i + 1
		}
	}
	return 0, 0
}

// tail is how many values must lie beyond a percentile for it to mean anything, here
// as in the results themselves.
const tail = 10

// at is the percentile p (0 to 100): the highest value of the bar that the nearest
// rank falls into, as the writers of the file count.
func (h *hist) at(p float64) int64 {
	if h.total == 0 {
		return 0
	}
	rank := rankOf(p, h.total)
	for _, b := range h.bars {
		if rank -= b.n; rank <= 0 {
			return b.hi
		}
	}
	return h.bars[len(h.bars)-1].hi
}

func rankOf(p float64, total int64) int64 {
	r := p/100*float64(total) + 0.5
	switch {
	case r < 1:
		return 1
	case r >= float64(total):
		return total
	}
	return int64(r)
}

// firm tells whether enough values lie beyond a percentile.
func (h *hist) firm(p float64) bool { return firm(p, h.total) }

func firm(p float64, n int64) bool { return float64(n)*(100-p)/100 >= tail-1e-9 }

func (h *hist) min() int64 {
	if len(h.bars) == 0 {
		return 0
	}
	return h.bars[0].lo
}

func (h *hist) max() int64 {
	if len(h.bars) == 0 {
		return 0
	}
	return h.bars[len(h.bars)-1].hi
}

// merge makes one histogram of several.
func merge(list ...hist) hist {
	var all []bar
	for i := range list {
		all = append(all, list[i].bars...)
	}
	slices.SortFunc(all, func(a, b bar) int {
		switch {
		case a.lo != b.lo:
			return cmpInt(a.lo, b.lo)
		}
		return cmpInt(a.hi, b.hi)
	})
	var sum hist
	for _, b := range all {
		b.n = min(b.n, math.MaxInt64-sum.total)
		sum.total += b.n
		if last := len(sum.bars) - 1; last >= 0 && sum.bars[last].lo == b.lo && sum.bars[last].hi == b.hi {
			sum.bars[last].n += b.n
			continue
		}
		sum.bars = append(sum.bars, b)
	}
	return sum
}

func cmpInt(a, b int64) int {
	if a < b {
		return -1
	}
	if a > b {
		return 1
	}
	return 0
}

// spread counts a histogram in cells whose upper edges are given in order; a bar that
// lies across an edge is shared in proportion.
func (h *hist) spread(edges []float64, into []float64) {
	cell := 0
	for _, b := range h.bars {
		lo, hi := float64(b.lo), float64(b.hi)+1
		for cell < len(edges)-1 && lo >= edges[cell] {
			cell++
		}
		for c, from := cell, lo; from < hi && c < len(edges); c++ {
			to := min(hi, edges[c])
			if c == len(edges)-1 {
				to = hi
			}
			if to > from {
				into[c] += float64(b.n) * (to - from) / (hi - lo)
				from = to
			}
		}
	}
}
