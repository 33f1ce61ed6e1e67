package chart

import (
	"math"
	"strconv"

	"tracker/pkg/tui/canvas"
	"tracker/pkg/tui/look"
	"tracker/pkg/tui/world"
)

const (
	blockDots = 12 // the side of a block: six cells wide, three high
	crowd     = 5  // devices that a block must hold for a badge
	crowdStay = 3  // and to keep it
	mass      = 24 // how many always get one
	massStay  = 18
	heavyFrom = 100 // and are written with more weight, as their number is longer
)

// ClusterKey names a block of dots on the grid of the world at a zoom, not of the screen:
// badges keep their place and their number while the view is panned.
type ClusterKey struct {
	x, y int32
	zoom float64
}

// block is a square of dots and the devices in it.
//
//	world      0    12    24    36
//	           |     |     |     |        the origin of the view is a dot
//	      -----+--+--+-----+-----+---     like any other: the view may cut
//	screen        0 ...                   blocks, and blocks cut cells
type block struct {
	count  uint32
	dots   uint32 // that hold devices
	sx, sy uint64 // sums of where in the block
	rank   rank
	x, y   int32 // cell of the badge
	w      int32 // its width, 0 if it has none: then its devices are drawn
}

// grid is the blocks that a view shows some of.
type grid struct {
	view       world.View
	xs, ys     []head
	cols, rows []int32 // of each dot across and down: which of xs, ys
	blocks     []block // row by row
}

// head is a column or a row of blocks.
type head struct {
	key        int32
	first, end int32 // its dots in the view, outside of which it may begin and end
}

// holds tells whether all dots from one up to another belong to the block.
func (h head) holds(from, to int) bool { return from >= int(h.first) && to <= int(h.end) }

// badges are the blocks that have one, which makes it easier to keep it.
type badges map[ClusterKey]struct{}

// lay lays the grid over a view and empties its blocks.
func (g *grid) lay(v *world.View) {
	if g.view != *v {
		g.view = *v
		ox, oy := v.Origin()
		g.cols, g.xs = cut(g.cols[:0], g.xs[:0], v.W, ox, v.Around())
		g.rows, g.ys = cut(g.rows[:0], g.ys[:0], v.H, oy, 0)
	}
	n := len(g.xs) * len(g.ys)
	if cap(g.blocks) < n {
		g.blocks = make([]block, n)
	}
	g.blocks = g.blocks[:n]
	clear(g.blocks)
}

// cut cuts a side of the view into blocks, the first of which begins at dot 0 of the
// world. Where the world ends after around dots they begin anew, so that blocks are the
// same on whatever side of the seam the view is; the last one takes what is left over.
// A view of the whole world can show both ends of one block: they count as two.
func cut(of []int32, heads []head, size int, origin, around int64) ([]int32, []head) {
	last, left := int64(math.MaxInt64), int64(0)
	if around > 0 {
		last = max(around/blockDots-1, 0)
		left = around - (last+1)*blockDots
	}
	for i := range int64(size) {
		dot := origin + i
		if around > 0 {
			dot = floorMod(dot, around)
		}
		key := min((dot-floorMod(dot, blockDots))/blockDots, last)
		if into := dot - key*blockDots; i == 0 || into == 0 {
			h := head{int32(key), int32(i - into), int32(i - into + blockDots)}
			if key == last {
				h.end += int32(left)
			}
			if i > 0 && h.key == heads[0].key {
				h.key = -1 - h.key
			}
			heads = append(heads, h)
		}
		of = append(of, int32(len(heads)-1))
	}
	return of, heads
}

// block is the block that a dot of the view lies in.
func (g *grid) block(x, y int64) int32 { return g.rows[y]*int32(len(g.xs)) + g.cols[x] }

func (g *grid) intoX(d *seen) int32 { return int32(d.x) - g.xs[g.cols[d.x]].first }
func (g *grid) intoY(d *seen) int32 { return int32(d.y) - g.ys[g.rows[d.y]].first }

func (g *grid) heads(i int) (x, y head) { return g.xs[i%len(g.xs)], g.ys[i/len(g.xs)] }

func (g *grid) key(i int) ClusterKey {
	x, y := g.heads(i)
	return ClusterKey{x.key, y.key, g.view.Zoom}
}

// whole tells whether all of a block is in sight.
func (g *grid) whole(i int) bool {
	x, y := g.heads(i)
	return x.first >= 0 && y.first >= 0 && int(x.end) <= g.view.W && int(y.end) <= g.view.H
}

// cluster puts badges on the blocks that need one. Those that are whole come first: what
// the edge of the view cuts must not push them aside.
func (c *Chart) cluster(s *Scene) {
	c.size = c.sizeFor(s, len(c.seen))
	c.before, c.badges = c.badges, c.before
	if c.badges == nil {
		c.badges = badges{}
	}
	clear(c.badges)
	if s.Layers&Clusters == 0 {
		return
	}
	for _, whole := range [2]bool{true, false} {
		for i := range c.grid.blocks {
			if b := &c.grid.blocks[i]; b.count >= crowdStay && c.grid.whole(i) == whole && c.crowded(b, i) {
				c.badges[c.grid.key(i)] = struct{}{}
				c.place(b, i)
			}
		}
	}
}

// crowded tells whether a block needs a badge: because its dots hide how many devices
// there are, or because they are so many that nobody counts dots.
func (c *Chart) crowded(b *block, i int) bool {
	need, many, slack := uint32(crowd), uint32(mass), uint32(0)
	if _, had := c.before[c.grid.key(i)]; had { // or badges would flicker
		need, many, slack = crowdStay, massStay, b.dots/2
	}
	hidden := c.size == asGlyphs || b.count+slack > 2*b.dots
	return b.count >= many || b.count >= need && hidden
}

// place writes ●824, or ●12✕ where nothing but a sign can say that one is lost, into the
// block, near the middle of its devices. All whole blocks begin at dots that are even or
// odd alike, and no badge takes a cell that its block shares with another: so badges move
// together, never meet, and hide no neighbour. There may be no room, at the edge of the
// view or beside somebody who has to be seen: then the devices of the block are drawn one
// by one.
func (c *Chart) place(b *block, i int) {
	var buf [12]byte
	digits, worst := shortCount(buf[:0], b.count), c.worst(b)
	w := 1 + len(digits)
	if worst != 0 {
		w++
	}
	hx, hy := c.grid.heads(i)
	// The first cell of a block and the last may be shared with its neighbours.
	col := max(min(int(b.sx/uint64(b.count))/2-w/2, blockDots/2-w), 1)
	row := min(max(int(b.sy/uint64(b.count))/4, 1), blockDots/4-1)
	x := min(max((int(hx.first)+2*col)>>1, 0), c.out.W-w)
	for _, down := range [2]int{row, blockDots/4 - row} {
		y := min(max((int(hy.first)+4*down)>>2, 0), c.out.H-1)
		if hx.holds(2*x, 2*(x+w)) && hy.holds(4*y, 4*(y+1)) && c.free(x, y, w, anything|gap) {
			b.x, b.y, b.w = int32(x), int32(y), int32(w)
			c.drawBadge(b, digits, worst)
			return
		}
	}
}

// worst is the sign of the worst state in a block, if somebody ought to look and there is
// no colour to tell it, else 0. It stands behind the number: in front of it, it would say
// that all of them are lost. Where there is no room for it the number matters more.
func (c *Chart) worst(b *block) rune {
	if !c.mute() || b.count >= 1000 {
		return 0
	}
	return b.rank.sign(c.scene.Colour)
}

func (c *Chart) drawBadge(b *block, digits []byte, worst rune) {
	x, y := int(b.x), int(b.y)
	c.take(x, y, int(b.w), text)
	style := b.rank.style(c.scene.Colour)
	if b.count >= heavyFrom {
		style = look.Heavy(style)
	}
	c.out.Rune(x, y, '●', style, look.OnBadge)
	for i, d := range digits {
		c.out.Rune(x+1+i, y, rune(d), style, look.OnBadge)
	}
	if worst != 0 {
		c.out.Rune(x+1+len(digits), y, worst, style, look.OnBadge)
	}
	c.clear(x-1, y)
	c.clear(x+int(b.w), y)
}

// clear keeps a coast from running into a badge. Whatever is above the base may still be
// drawn there.
func (c *Chart) clear(x, y int) {
	if cell := c.out.At(x, y); cell != nil && cell.Prio < look.OnTrail && c.taken[y*c.out.W+x] == 0 {
		c.out.Rune(x, y, ' ', look.City, look.OnTrail-1)
	}
}

// shortCount writes 824, 9812, 12k, 3M.
func shortCount(dst []byte, n uint32) []byte {
	switch {
	case n < 10_000:
		return strconv.AppendUint(dst, uint64(n), 10)
	case n < 1_000_000:
		return append(strconv.AppendUint(dst, uint64(n/1000), 10), 'k')
	}
	return append(strconv.AppendUint(dst, uint64(n/1_000_000), 10), 'M')
}

// size is how large a device is drawn.
type size uint8

const (
	unsized size = iota
	asGlyphs
	asBlots // two dots by two: alone, one dot is hard to see
	asDots
)

const (
	glyphsUpTo = 60 // visible devices
	blotsUpTo  = 200
)

// sizeFor chooses a size for so many devices, and prefers the one that is in force: one
// device that crosses the edge of the view must not turn all others into something else.
func (c *Chart) sizeFor(s *Scene, n int) size {
	upTo := func(limit int, z size) bool {
		if c.size != unsized && c.size <= z {
			limit += limit / 10
		}
		return n <= limit
	}
	switch {
	case s.Dots == 1:
		return asDots
	case s.Dots > 1:
		return asBlots
	case upTo(glyphsUpTo, asGlyphs):
		return asGlyphs
	case upTo(blotsUpTo, asBlots):
		return asBlots
	}
	return asDots
}

// fatten makes every dot of a cell two by two, as far as the cell goes.
func fatten(mask uint8) uint8 {
	var fat uint8
	for y := range 4 {
		if mask&(canvas.Bit(0, y)|canvas.Bit(1, y)) == 0 {
			continue
		}
		other := y + 1
		if y == 3 {
			other = 2
		}
		fat |= canvas.Bit(0, y) | canvas.Bit(1, y) | canvas.Bit(0, other) | canvas.Bit(1, other)
	}
	return fat
}
