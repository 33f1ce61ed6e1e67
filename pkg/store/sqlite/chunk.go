package sqlite

import (
	"encoding/binary"
	"math"
	"math/bits"

	"tracker/pkg/track"
)

// A chunk is a piece of one device's history: up to chunkMax fixes in the order of
// store.Compare, written column by column. Device and first time stand outside, in
// the block's directory.
//
//	number of fixes | first value of each column | mask of columns that change
//	| mask of those that change in steps, and their steps
//	| predictor and k of each that changes | their residuals, bit by bit | TLVs
//
// A column that never changes costs its first value. Of the others only the distance
// from the first value counts, in steps if all distances have a common divisor: much
// of the world is told in whole seconds, tenths of a knot and five decimals. What
// remains is predicted from what came before, by whatever predictor is best for that
// column in that chunk, and the residuals are Rice coded: with the right k this is
// within a few per cent of the entropy of noise, and noise is what is left of a track.
//
// Measured: a car at 1 Hz with 1.5 m of noise in the place and all fields set takes 7.7
// bytes a fix in chunks of 60 and 7.0 in full ones (deflate on top would take off one
// twentieth); ten ships' reports at a time from real receivers 8 to 9.
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
	cols  [columns][]int64
	first [columns]int64
	step  [columns]int64
	res   []uint64
	alt   []uint64
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
	c.load(fixes)
	dst = binary.AppendUvarint(dst, uint64(n))
	var changing, stepping uint64
	for j := colTime; j < columns; j++ {
		if j != colTime {
			dst = binary.AppendUvarint(dst, zigzag(c.cols[j][0]))
		}
		if c.reduce(j, n); c.step[j] != 0 {
			changing |= 1 << j
		}
		if c.step[j] > 1 {
			stepping |= 1 << j
		}
	}
	dst = binary.AppendUvarint(dst, changing)
	dst = binary.AppendUvarint(dst, stepping)
	for j := colTime; j < columns; j++ {
		if c.step[j] > 1 {
			dst = binary.AppendUvarint(dst, uint64(c.step[j]))
		}
	}
	dst = c.appendColumns(dst, changing, n)
	for i := range fixes {
		dst = append(dst, extOf(&fixes[i], ext)...)
	}
	return dst
}

func (c *chunkCoder) load(fixes []track.Fix) {
	c.grow(len(fixes))
	var r row
	for i := range fixes {
		r.load(&fixes[i])
		for j := colTime; j < columns; j++ {
			c.cols[j][i] = r[j]
		}
	}
}

// reduce makes steps from the first value of a column, and finds the largest that
// does: 0 for a column that does not change.
func (c *chunkCoder) reduce(j, n int) {
	col := c.cols[j][:n]
	first := col[0]
	c.first[j], c.step[j] = first, 0
	var step uint64
	for i, v := range col {
		col[i] = v - first // may wrap around, and back again
		if d := col[i]; step != 1 && d != 0 {
			step = gcd(uint64(max(d, -d)), step)
		}
	}
	if step > 1<<32 {
		step = 1
	}
	c.step[j] = int64(step)
	if step > 1 {
		for i := range col {
			col[i] /= int64(step)
		}
	}
}

func gcd(a, b uint64) uint64 {
	for b != 0 {
		a, b = b, a%b
	}
	return a
}

func (c *chunkCoder) appendColumns(dst []byte, changing uint64, n int) []byte {
	at := len(dst)
	for range bits.OnesCount64(changing) {
		dst = append(dst, 0)
	}
	w := bitWriter{dst: dst}
	for j := colTime; j < columns; j++ {
		if c.step[j] == 0 {
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
	if j == colCourse && c.residualsCircle(same, col) {
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

// residualsCircle reports false when a course is not on the circle, or the steps do
// not lead around it.
func (c *chunkCoder) residualsCircle(res []uint64, col []int64) bool {
	first, step := c.first[colCourse], c.step[colCourse]
	if circle%step != 0 {
		return false
	}
	for _, v := range col {
		if v = first + v*step; v < 0 || v >= circle {
			return false
		}
	}
	around := circle / step
	for i := range res {
		d := (col[i+1] - col[i] + around + around/2) % around
		res[i] = zigzag(d - around/2)
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
	in := numbers{src: src}
	c.first[colTime] = t0
	for j := colTime + 1; j < columns; j++ {
		c.first[j] = unzigzag(in.uint(math.MaxUint64))
	}
	const all = 1<<columns - 1<<colTime
	changing, stepping := in.uint(all), in.uint(all)
	for j := colTime; j < columns; j++ {
		c.step[j] = int64(changing >> j & 1)
		if stepping>>j&1 != 0 {
			c.step[j] = int64(in.uint(1 << 32))
		}
	}
	predictors := bits.OnesCount64(changing)
	if in.bad || changing&(1<<colDevice) != 0 || stepping&^changing != 0 || len(in.src) < predictors {
		return nil, 0, false
	}
	descriptors := in.src[:predictors]
	r := bitReader{src: in.src[predictors:]}
	for j := colTime; j < columns; j++ {
		if changing>>j&1 == 0 {
			fill(c.cols[j][:n], c.first[j])
			continue
		}
		d := descriptors[0]
		descriptors = descriptors[1:]
		res := c.res[:n-1]
		if !r.rices(res, int(d&63)) || !c.restore(j, res, int(d>>6)) {
			return nil, 0, false
		}
	}
	for _, l := range c.cols[colExtLen][:n] {
		if l < 0 || l > math.MaxUint16 {
			return nil, 0, false
		}
		extLen += int(l)
	}
	return r.rest(), extLen, true
}

func fill(col []int64, v int64) {
	for i := range col {
		col[i] = v
	}
}

// restore makes a column of its residuals.
func (c *chunkCoder) restore(j int, res []uint64, predictor int) bool {
	first, step := c.first[j], c.step[j]
	c.cols[j][0] = first
	col := c.cols[j][1 : len(res)+1]
	var v int64
	switch predictor {
	case predictSame:
		for i, u := range res {
			v += unzigzag(u)
			col[i] = first + v*step
		}
	case predictLinear:
		var slope int64
		for i, u := range res {
			slope += unzigzag(u)
			v += slope
			col[i] = first + v*step
		}
	case predictCircle:
		return restoreCircle(col, res, first, step)
	default:
		return false
	}
	return true
}

func restoreCircle(col []int64, res []uint64, first, step int64) bool {
	if step < 1 || circle%step != 0 || first < 0 || first >= circle {
		return false
	}
	around := circle / step
	for i, u := range res {
		d := unzigzag(u)
		if d < -around/2 || d > around/2 {
			return false
		}
		prev := first
		if i > 0 {
			prev = col[i-1]
		}
		col[i] = (prev + d*step + circle) % circle
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
