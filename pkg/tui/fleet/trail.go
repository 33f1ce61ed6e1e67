package fleet

import "tracker/pkg/tui/world"

// Crumb is one point of a trail.
type Crumb struct {
	Pos   world.Pos
	At    int64 // the store's clock, unix milliseconds, to the second
	Start bool  // no line leads here from the crumb before
}

// MaxTrail is how many crumbs of a device are kept at most.
const MaxTrail = 64

const (
	trailBudget = 640 << 10 // crumbs in all: 64 for each of ten thousand devices
	minTrail    = 8         // but every device gets so many
	crumbApart  = 3000      // steps of the projection: 28 m on the equator
)

// Trail appends the last n crumbs of a device, oldest first.
func (s *Store) Trail(dst []Crumb, i int32, n int) []Crumb {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if !s.devices.has(i) {
		return dst
	}
	t := &s.devices.at(i).trail
	skip := int(t.n) - n
	s.crumbs.walk(t, func(c crumb) {
		if skip--; skip < 0 {
			dst = append(dst, c.open())
		}
	})
	return dst
}

// drop leaves a crumb where a device went.
func (s *Store) drop(t *trail, pos world.Pos, at int64, jump bool) {
	if t.n > 0 && apart(s.crumbs.last(t).pos, pos) < crumbApart {
		return
	}
	room := min(max(trailBudget/max(len(s.index), 1), minTrail), s.trailMax)
	if int(t.n) >= room {
		s.crumbs.thin(t)
	}
	s.crumbs.push(t, makeCrumb(pos, at, jump))
}

// thin leaves out every other crumb of the older half: what is recent keeps its
// detail and what is long ago becomes an outline.
func thin(trail []crumb) []crumb {
	half := len(trail) / 2
	kept := trail[:0]
	jumped := false
	for i, c := range trail {
		if i < half && i%2 == 1 {
			jumped = jumped || c.start()
			continue
		}
		if jumped {
			c.when |= 1
		}
		jumped = false
		kept = append(kept, c)
	}
	return kept
}

// apart is the larger of the two distances between two places, in steps.
func apart(a, b world.Pos) uint32 {
	abs := func(v int32) uint32 {
		if v < 0 {
			return uint32(-int64(v))
		}
		return uint32(v)
	}
	return max(abs(int32(a.X-b.X)), abs(int32(a.Y-b.Y)))
}

// crumb is a Crumb in twelve bytes.
type crumb struct {
	pos  world.Pos
	when uint32 // seconds since 2020, doubled; the last bit says that no line leads here
}

func makeCrumb(pos world.Pos, ms int64, start bool) crumb {
	c := crumb{pos, uint32(min(max(ms/1000-alarmEpoch, 0), 1<<31-1)) << 1}
	if start {
		c.when |= 1
	}
	return c
}

func (c crumb) start() bool { return c.when&1 != 0 }

func (c crumb) open() Crumb {
	return Crumb{c.pos, (int64(c.when>>1) + alarmEpoch) * 1000, c.start()}
}

// trail is where the crumbs of a device are: a chain of blocks, of which only the last
// is not full. Blocks are numbered from 1.
type trail struct {
	first, tail uint32
	n           uint8
}

// crumbs is the memory of all trails. It grows by whole chunks and is never given back,
// but what one device no longer needs serves the next.
//
//	trail ──► block ──► block ──► block      each with room for eight crumbs
//	          ████████  ████████  ███░░░░░
type crumbs struct {
	chunks []*[chunkSize]block
	made   uint32 // blocks that were ever in use
	free   uint32 // the first of the chain of those that are not; 0 none
}

type block struct {
	crumbs [blockSize]crumb
	next   uint32 // of the last one of a trail it means nothing
}

const (
	blockSize = 8
	chunkSize = 2048 // 200 kB, a whole number of pages
)

func (c *crumbs) block(i uint32) *block { return &c.chunks[(i-1)/chunkSize][(i-1)%chunkSize] }

// take finds a block that nobody uses.
func (c *crumbs) take() uint32 {
	if i := c.free; i != 0 {
		c.free = c.block(i).next
		return i
	}
	if int(c.made) == len(c.chunks)*chunkSize {
		c.chunks = append(c.chunks, new([chunkSize]block))
	}
	c.made++
	return c.made
}

// clear gives all blocks of a trail back.
func (c *crumbs) clear(t *trail) {
	if t.n > 0 {
		c.block(t.tail).next = c.free
		c.free = t.first
	}
	*t = trail{}
}

func (c *crumbs) push(t *trail, x crumb) {
	at := t.n % blockSize
	if at == 0 {
		b := c.take()
		if t.n == 0 {
			t.first = b
		} else {
			c.block(t.tail).next = b
		}
		t.tail = b
	}
	c.block(t.tail).crumbs[at] = x
	t.n++
}

// last is the newest crumb of a trail, which must have one.
func (c *crumbs) last(t *trail) crumb { return c.block(t.tail).crumbs[(t.n-1)%blockSize] }

// walk calls yield with every crumb, oldest first.
func (c *crumbs) walk(t *trail, yield func(crumb)) {
	b := t.first
	for i := range t.n {
		if i > 0 && i%blockSize == 0 {
			b = c.block(b).next
		}
		yield(c.block(b).crumbs[i%blockSize])
	}
}

func (c *crumbs) thin(t *trail) {
	var buf [MaxTrail]crumb
	all := buf[:0]
	c.walk(t, func(x crumb) { all = append(all, x) })
	c.clear(t)
	for _, x := range thin(all) {
		c.push(t, x)
	}
}
