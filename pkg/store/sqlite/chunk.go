package sqlite

import (
	"encoding/binary"
	"math/bits"

	"tracker/pkg/track"
)

// A chunk is a piece of one device's history: up to chunkMax fixes in the order of
// store.Compare, written column by column. Device and first time stand outside, in
// the block's directory.
//
//	number of fixes | first value of each column | mask of columns that change
//	| predictor and k of each of those | their residuals, bit by bit | TLVs
//
// A column that never changes costs its first value. The others are predicted from
// what came before, by whatever predictor is best for that column in that chunk, and
// the residuals are Rice coded: with the right k this is within a few per cent of
// the entropy of noise, and noise is what is left of a track. Measured on a car at
// 1 Hz with 1.5 m of noise in the place and all fields set, a fix is 8 to 9 bytes;
// deflate on top takes off less than a tenth of a byte.
const chunkMax = 1024

// Predictors. A column's descriptor is predictor<<6 | k.
const (
	predictSame   = 1 // as the one before
	predictLinear = 2 // as far from the one before as that was from its own
	predictCircle = 3 // as the one before, the short way around 360 degrees
)

const (
	circle  = 36000
	riceMax = 40 // largest k
	riceEsc = 24 // a quotient this long is written as a plain number instead
)

// chunkCoder codes and decodes chunks. The zero value is ready; it is scratch space,
// one goroutine at a time.
type chunkCoder struct {
	cols [columns][]int64
	res  []uint64
	alt  []uint64
}

func (c *chunkCoder) grow(n int) {
	if len(c.res) >= n {
		return
	}
	n = max(n, 64)
	for i := range c.cols {
		c.cols[i] = make([]int64, n)
	}
	c.res, c.alt = make([]uint64, n), make([]uint64, n)
}

// append writes the fixes of one device, at most chunkMax and in order, whose TLVs
// are in ext.
func (c *chunkCoder) append(dst []byte, fixes []track.Fix, ext []byte) []byte {
	n := len(fixes)
	c.grow(n)
	var r row
	for i := range fixes {
		r.load(&fixes[i])
		for j := colTime; j < columns; j++ {
			c.cols[j][i] = r[j]
		}
	}
	dst = binary.AppendUvarint(dst, uint64(n))
	var mask uint64
	for j := colTime; j < columns; j++ {
		col := c.cols[j][:n]
		if j != colTime {
			dst = binary.AppendUvarint(dst, zigzag(col[0]))
		}
		for _, v := range col[1:] {
			if v != col[0] {
				mask |= 1 << j
				break
			}
		}
	}
	dst = binary.AppendUvarint(dst, mask)
	dst = c.appendColumns(dst, mask, n)
	for i := range fixes {
		dst = append(dst, extOf(&fixes[i], ext)...)
	}
	return dst
}

func (c *chunkCoder) appendColumns(dst []byte, mask uint64, n int) []byte {
	at := len(dst)
	for range bits.OnesCount64(mask) {
		dst = append(dst, 0)
	}
	w := bitWriter{dst: dst}
	for j := colTime; j < columns; j++ {
		if mask>>j&1 == 0 {
			continue
		}
		predictor, k, res := c.predict(j, n)
		w.dst[at] = byte(predictor<<6 | k)
		at++
		for _, u := range res {
			w.rice(u, k)
		}
	}
	return w.finish()
}

// predict picks the cheapest predictor of a column and returns its residuals.
func (c *chunkCoder) predict(j, n int) (predictor, k int, res []uint64) {
	col := c.cols[j][:n]
	same, linear := c.res[:n-1], c.alt[:n-1]
	first := predictSame
	if j == colCourse && residualsCircle(same, col) {
		first = predictCircle
	} else {
		residualsSame(same, col)
	}
	kSame, costSame := ricePick(same)
	residualsLinear(linear, col)
	if kLinear, cost := ricePick(linear); cost < costSame {
		return predictLinear, kLinear, linear
	}
	return first, kSame, same
}

func residualsSame(res []uint64, col []int64) {
	for i := range res {
		res[i] = zigzag(col[i+1] - col[i])
	}
}

func residualsLinear(res []uint64, col []int64) {
	var slope int64
	for i := range res {
		d := col[i+1] - col[i]
		res[i] = zigzag(d - slope)
		slope = d
	}
}

// residualsCircle reports false when a value is not on the circle.
func residualsCircle(res []uint64, col []int64) bool {
	for _, v := range col {
		if v < 0 || v >= circle {
			return false
		}
	}
	for i := range res {
		d := (col[i+1] - col[i] + circle + circle/2) % circle
		res[i] = zigzag(d - circle/2)
	}
	return true
}

// ricePick returns the best k for these residuals and what they will cost in bits,
// nearly: it looks only at how many there are of each length, and for a k only near
// the median length, since what is far longer is written plainly.
func ricePick(res []uint64) (k, cost int) {
	var hist [65]int
	longest := 0
	for _, u := range res {
		l := bits.Len64(u)
		hist[l]++
		longest = max(longest, l)
	}
	median := 0
	for seen := hist[0]; 2*seen < len(res); seen += hist[median] {
		median++
	}
	cost = 1 << 62
	for try := max(0, median-3); try <= min(median+2, riceMax); try++ {
		sum := 0
		for l, count := range hist[:longest+1] {
			if count != 0 {
				sum += count * riceCost(l, try)
			}
		}
		if sum < cost {
			k, cost = try, sum
		}
	}
	return k, cost
}

// riceCost is about what a number of l bits costs with parameter k.
func riceCost(l, k int) int {
	if l <= k {
		return 1 + k
	}
	over := l - k // the quotient has that many bits, and is 1.5 * 2^(over-1) on average
	if over > 5 {
		return riceEsc + 6 + l
	}
	return 1 + k + 3<<over>>2
}

// parse appends the fixes of a chunk and their TLVs. device and t0 come from the
// directory. On an error nothing is appended.
func (c *chunkCoder) parse(src []byte, device track.DeviceID, t0 int64, fixes []track.Fix, ext []byte) ([]track.Fix, []byte, error) {
	count, k := binary.Uvarint(src)
	if k <= 0 || count == 0 || count > chunkMax {
		return fixes, ext, errDamaged
	}
	src = src[k:]
	n := int(count)
	c.grow(n)
	src, extLen, ok := c.parseColumns(src, n, t0)
	if !ok || extLen != len(src) {
		return fixes, ext, errDamaged
	}
	n0, at := len(fixes), uint32(len(ext))
	var r row
	r[colDevice] = int64(device)
	for i := range n {
		for j := colTime; j < columns; j++ {
			r[j] = c.cols[j][i]
		}
		fixes = append(fixes, track.Fix{Ext: at})
		f := &fixes[len(fixes)-1]
		if !r.store(f) {
			return fixes[:n0], ext, errDamaged
		}
		at += uint32(f.ExtLen)
	}
	return fixes, append(ext, src...), nil
}

// parseColumns fills cols and returns the bytes behind the columns, and how many of
// them the TLVs take.
func (c *chunkCoder) parseColumns(src []byte, n int, t0 int64) (rest []byte, extLen int, ok bool) {
	c.cols[colTime][0] = t0
	for j := colTime + 1; j < columns; j++ {
		u, k := binary.Uvarint(src)
		if k <= 0 {
			return nil, 0, false
		}
		c.cols[j][0] = unzigzag(u)
		src = src[k:]
	}
	mask, k := binary.Uvarint(src)
	changing := bits.OnesCount64(mask)
	if k <= 0 || mask >= 1<<columns || mask&(1<<colDevice) != 0 || len(src)-k < changing {
		return nil, 0, false
	}
	descriptors := src[k : k+changing]
	r := bitReader{src: src[k+changing:]}
	for j := colTime; j < columns; j++ {
		col := c.cols[j][:n]
		if mask>>j&1 == 0 {
			fill(col)
			continue
		}
		d := descriptors[0]
		descriptors = descriptors[1:]
		res := c.res[:n-1]
		if !r.rices(res, int(d&63)) || !restore(col, res, int(d>>6)) {
			return nil, 0, false
		}
	}
	for _, l := range c.cols[colExtLen][:n] {
		if l < 0 || l > 1<<16 {
			return nil, 0, false
		}
		extLen += int(l)
	}
	return r.rest(), extLen, true
}

func fill(col []int64) {
	for i := range col {
		col[i] = col[0]
	}
}

// restore turns residuals back into the column, whose first value is there.
func restore(col []int64, res []uint64, predictor int) bool {
	v := col[0]
	col = col[1 : len(res)+1]
	switch predictor {
	case predictSame:
		for i, u := range res {
			v += unzigzag(u)
			col[i] = v
		}
	case predictLinear:
		var slope int64
		for i, u := range res {
			slope += unzigzag(u)
			v += slope
			col[i] = v
		}
	case predictCircle:
		for i, u := range res {
			d := unzigzag(u)
			if v < 0 || v >= circle || d < -circle/2 || d > circle/2 {
				return false
			}
			v = (v + d + circle) % circle
			col[i] = v
		}
	default:
		return false
	}
	return true
}

// bitWriter packs bits, the lowest first.
type bitWriter struct {
	dst []byte
	acc uint64
	n   int // bits in acc, < 32 between calls
}

// put writes the low n <= 32 bits of v.
func (w *bitWriter) put(v uint64, n int) {
	w.acc |= v << w.n
	w.n += n
	if w.n >= 32 {
		w.dst = binary.LittleEndian.AppendUint32(w.dst, uint32(w.acc))
		w.acc >>= 32
		w.n -= 32
	}
}

// rice writes u>>k in unary (ones, then a zero) and then the low k bits.
func (w *bitWriter) rice(u uint64, k int) {
	q := u >> k
	if q >= riceEsc {
		w.escape(u)
		return
	}
	w.put(1<<q-1, int(q)+1)
	w.putLong(u&(1<<k-1), k)
}

// escape writes riceEsc ones, the length of u less one in six bits, and u.
func (w *bitWriter) escape(u uint64) {
	l := max(bits.Len64(u), 1)
	w.put(1<<riceEsc-1, riceEsc)
	w.put(uint64(l-1), 6)
	w.putLong(u, l)
}

func (w *bitWriter) putLong(v uint64, n int) {
	if n > 32 {
		w.put(v&(1<<32-1), 32)
		v >>= 32
		n -= 32
	}
	w.put(v, n)
}

func (w *bitWriter) finish() []byte {
	for ; w.n > 0; w.n -= 8 {
		w.dst = append(w.dst, byte(w.acc))
		w.acc >>= 8
	}
	return w.dst
}

// bitReader is the opposite of bitWriter. Reading past the end gives zeros and is
// noticed at the end of each column.
type bitReader struct {
	src []byte
	at  int // next byte to load
	acc uint64
	n   int // bits in acc
}

// fill makes at least 56 bits available.
func (r *bitReader) fill() {
	if r.n >= 56 {
		return
	}
	if r.at+8 <= len(r.src) {
		r.acc |= binary.LittleEndian.Uint64(r.src[r.at:]) << r.n
		take := (63 - r.n) >> 3
		r.at += take
		r.n += take * 8
		return
	}
	for r.n < 56 {
		if r.at < len(r.src) {
			r.acc |= uint64(r.src[r.at]) << r.n
		}
		r.at++
		r.n += 8
	}
}

func (r *bitReader) get(n int) uint64 {
	v := r.acc & (1<<n - 1)
	r.acc >>= n
	r.n -= n
	return v
}

// rices reads a column of residuals. It reports false for a k that cannot be and when the
// bits ran out.
func (r *bitReader) rices(res []uint64, k int) bool {
	if k > riceMax {
		return false
	}
	for i := range res {
		r.fill()
		q := bits.TrailingZeros64(^r.acc)
		if q >= riceEsc {
			r.get(riceEsc)
			l := int(r.get(6)) + 1
			res[i] = r.long(l)
			continue
		}
		r.get(q + 1)
		if k <= 56-riceEsc {
			res[i] = uint64(q)<<k | r.get(k)
		} else {
			res[i] = uint64(q)<<k | r.long(k)
		}
	}
	return r.at*8-r.n <= len(r.src)*8
}

func (r *bitReader) long(n int) uint64 {
	r.fill()
	if n <= 32 {
		return r.get(n)
	}
	low := r.get(32)
	r.fill()
	return low | r.get(n-32)<<32
}

// rest is what follows the last byte that was read from.
func (r *bitReader) rest() []byte {
	used := (r.at*8 - r.n + 7) / 8
	return r.src[min(used, len(r.src)):]
}
