package live

import (
	"sync"

	"tracker/pkg/geo"
)

const (
	blockBits = 5 // cells along the edge of a block: 32, 3.2 degrees
	blockEdge = 1 << blockBits
	blockRows = (geo.CellRows + blockEdge - 1) / blockEdge
	blockCols = (geo.CellCols + blockEdge - 1) / blockEdge
)

// grid finds the devices of a cell. All of it, links in the segments included, is
// guarded by mu. Blocks are made when their first device comes; there are at most
// 6,441 of them, 26 MB.
type grid struct {
	mu      sync.RWMutex
	blocks  [blockRows * blockCols]*block
	devices [blockRows * blockCols]int32 // in the block; not part of it, to keep that at a page
}

// block is 32 x 32 cells, each the ref of its first device.
type block [blockEdge * blockEdge]uint32

func blockOf(row, col uint32) uint32 { return row>>blockBits*blockCols + col>>blockBits }

func (b *block) head(row, col uint32) *uint32 {
	return &b[row%blockEdge*blockEdge+col%blockEdge]
}

// at returns the head of a cell, and counts that many more devices in its block.
func (g *grid) at(c geo.Cell, more int32) *uint32 {
	row, col := c.Split()
	i := blockOf(row, col)
	if g.blocks[i] == nil {
		g.blocks[i] = new(block)
	}
	g.devices[i] += more
	return g.blocks[i].head(row, col)
}

func (g *grid) add(l *Live, ref uint32, c geo.Cell) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.push(l, ref, c)
}

func (g *grid) remove(l *Live, ref uint32, c geo.Cell) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.unlink(l, ref, c)
}

// move is one step for everybody else: a query finds the device in one of the cells.
func (g *grid) move(l *Live, ref uint32, from, to geo.Cell) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.unlink(l, ref, from)
	g.push(l, ref, to)
}

func (g *grid) push(l *Live, ref uint32, c geo.Cell) {
	head := g.at(c, 1)
	if *head != 0 {
		l.link(*head).prev = ref
	}
	*l.link(ref) = link{next: *head}
	*head = ref
}

func (g *grid) unlink(l *Live, ref uint32, c geo.Cell) {
	head := g.at(c, -1)
	ln := *l.link(ref)
	if ln.prev == 0 {
		*head = ln.next
	} else {
		l.link(ln.prev).next = ln.next
	}
	if ln.next != 0 {
		l.link(ln.next).prev = ln.prev
	}
}

func (l *Live) link(ref uint32) *link { return &l.seg(ref).links[ref&(segSize-1)] }

// part is a rectangle of cells in one block, by rows and columns of the globe, ends
// included.
type part struct {
	b          *block
	row0, row1 uint32
	col0, col1 uint32
}

// parts cuts the cells up by blocks and leaves out the empty ones. It also says how
// many devices those blocks hold. The caller holds mu.
func (g *grid) parts(c geo.Cells) (ps []part, devices int) {
	row0, row1, col0, cols := c.Span()
	for row := row0; row <= row1; row = (row | (blockEdge - 1)) + 1 {
		end := min(row|(blockEdge-1), row1)
		for done := uint32(0); done < cols; {
			col := (col0 + done) % geo.CellCols
			last := min(col|(blockEdge-1), geo.CellCols-1, col+cols-done-1)
			done += last - col + 1
			if i := blockOf(row, col); g.devices[i] > 0 {
				devices += int(g.devices[i])
				ps = append(ps, part{g.blocks[i], row, end, col, last})
			}
		}
	}
	return ps, devices
}

// refs appends the devices of a part, but not those in the cells of seen. The caller
// holds mu.
func (g *grid) refs(l *Live, dst []uint32, p part, seen *geo.Cells) []uint32 {
	for row := p.row0; row <= p.row1; row++ {
		for col := p.col0; col <= p.col1; col++ {
			ref := *p.b.head(row, col)
			if ref == 0 || seen != nil && seen.Has(geo.Cell(row*geo.CellCols+col)) {
				continue
			}
			for ; ref != 0; ref = l.link(ref).next {
				dst = append(dst, ref)
			}
		}
	}
	return dst
}
