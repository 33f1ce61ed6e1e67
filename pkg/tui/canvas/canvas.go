// Package canvas is a drawing surface made of terminal cells. It knows dots, lines,
// areas, text and priorities; it knows nothing of maps or devices.
//
//	a cell is 2x4 dots      1 8        a mask of 8 bits,
//	                        2 16       U+2800 + mask
//	                        4 32
//	                        64 128     or one rune of text
//
// A cell has one foreground colour, which is the hard limit of a terminal. So what is
// drawn carries a priority: a higher one takes the cell from a lower one, equal ones
// share it. A finished canvas is turned into a string by Encode, which knows the
// theme (what the colours are) and the glyphs (what the terminal's font can show).
package canvas

// Style is an index into a Theme.
type Style uint8

// wideTail marks the right half of a rune that is two cells wide.
const wideTail rune = -1

// Cell is one character of the screen, eight bytes. R is 0 where dots are shown.
type Cell struct {
	R    rune
	Mask uint8
	Fg   Style
	Bg   Style
	Prio uint8
}

// Canvas is W columns by H rows of cells. Everything that is drawn outside of it is
// cut off. It belongs to one goroutine.
type Canvas struct {
	W, H  int
	Cells []Cell
}

// New makes an empty canvas.
func New(w, h int) *Canvas {
	c := &Canvas{}
	c.Resize(w, h)
	return c
}

// Resize empties the canvas and gives it a size, keeping its memory if it can.
func (c *Canvas) Resize(w, h int) {
	c.W, c.H = max(w, 0), max(h, 0)
	n := c.W * c.H
	if cap(c.Cells) < n {
		c.Cells = make([]Cell, n)
	}
	c.Cells = c.Cells[:n]
	clear(c.Cells)
}

// Copy makes c the same as from.
func (c *Canvas) Copy(from *Canvas) {
	c.W, c.H = from.W, from.H
	c.Cells = append(c.Cells[:0], from.Cells...)
}

// Blit copies from onto c with its top left corner at column x, row y, over whatever
// was there.
func (c *Canvas) Blit(from *Canvas, x, y int) {
	x0, x1 := max(0, -x), min(from.W, c.W-x)
	if x0 >= x1 {
		return
	}
	for row := max(0, -y); row < min(from.H, c.H-y); row++ {
		copy(c.Cells[(y+row)*c.W+x+x0:], from.Cells[row*from.W+x0:row*from.W+x1])
	}
}

// At returns the cell, or nil outside the canvas.
func (c *Canvas) At(x, y int) *Cell {
	if uint(x) >= uint(c.W) || uint(y) >= uint(c.H) {
		return nil
	}
	return &c.Cells[y*c.W+x]
}

var dotBits = [4][2]uint8{{1, 8}, {2, 16}, {4, 32}, {64, 128}}

// Bit is the mask of the dot at column x and row y of a cell.
func Bit(x, y int) uint8 { return dotBits[y&3][x&1] }

// Dot sets one dot; x and y count dots.
func (c *Canvas) Dot(x, y int, fg Style, prio uint8) {
	if x < 0 || y < 0 || x >= 2*c.W || y >= 4*c.H {
		return
	}
	c.Dots(x>>1, y>>2, dotBits[y&3][x&1], fg, prio)
}

// Dots sets several dots of one cell.
func (c *Canvas) Dots(x, y int, mask uint8, fg Style, prio uint8) {
	if uint(x) >= uint(c.W) || uint(y) >= uint(c.H) || mask == 0 {
		return
	}
	i := y*c.W + x
	cell := &c.Cells[i]
	switch {
	case cell.Prio > prio:
		return
	case cell.Prio == prio && cell.R == 0:
		cell.Mask |= mask
		cell.Fg = fg
		return
	case cell.R != 0:
		c.widow(i)
	}
	cell.R, cell.Mask, cell.Fg, cell.Prio = 0, mask, fg, prio
}

// Rune puts a rune into a cell and keeps its background. It returns the columns taken:
// 0 if the rune did not fit, or was outranked.
func (c *Canvas) Rune(x, y int, r rune, fg Style, prio uint8) int {
	w := RuneWidth(r)
	if uint(x) >= uint(c.W) || uint(y) >= uint(c.H) || x+w > c.W || w == 0 {
		return 0
	}
	i := y*c.W + x
	for j := range w {
		if c.Cells[i+j].Prio > prio {
			return 0
		}
	}
	for j := range w {
		cell := &c.Cells[i+j]
		if cell.R != 0 {
			c.widow(i + j)
		}
		*cell = Cell{R: r, Fg: fg, Bg: cell.Bg, Prio: prio}
		r = wideTail
	}
	return w
}

// widow blanks the other half of a wide rune of which cell i is about to be drawn over.
func (c *Canvas) widow(i int) {
	if c.Cells[i].R == wideTail {
		c.Cells[i-1].R = ' '
	} else if i+1 < len(c.Cells) && c.Cells[i+1].R == wideTail {
		c.Cells[i+1].R = ' '
	}
}

// Text writes a line from column x on, cut at the edge of the canvas or where it is
// outranked, and returns the column after it. It expects clean text: see Clean.
func (c *Canvas) Text(x, y int, s string, fg Style, prio uint8) int {
	for _, r := range s {
		w := c.Rune(x, y, r, fg, prio)
		if w == 0 && RuneWidth(r) > 0 {
			if x >= 0 {
				return x
			}
			w = RuneWidth(r)
		}
		x += w
	}
	return x
}

// Fill sets the background of a rectangle and empties it: text and dots under it go.
func (c *Canvas) Fill(x, y, w, h int, fg, bg Style, prio uint8) {
	for row := max(y, 0); row < min(y+h, c.H); row++ {
		for col := max(x, 0); col < min(x+w, c.W); col++ {
			i := row*c.W + col
			if c.Cells[i].R != 0 {
				c.widow(i)
			}
			c.Cells[i] = Cell{R: ' ', Fg: fg, Bg: bg, Prio: prio}
		}
	}
}

// Tint sets the background of a rectangle and leaves what is in it.
func (c *Canvas) Tint(x, y, w, h int, bg Style) {
	for row := max(y, 0); row < min(y+h, c.H); row++ {
		for col := max(x, 0); col < min(x+w, c.W); col++ {
			c.Cells[row*c.W+col].Bg = bg
		}
	}
}

// Frame draws a box with a title in its upper edge.
func (c *Canvas) Frame(x, y, w, h int, title string, fg, titleFg Style, prio uint8) {
	if w < 2 || h < 2 {
		return
	}
	for i := 1; i < w-1; i++ {
		c.Rune(x+i, y, '─', fg, prio)
		c.Rune(x+i, y+h-1, '─', fg, prio)
	}
	for i := 1; i < h-1; i++ {
		c.Rune(x, y+i, '│', fg, prio)
		c.Rune(x+w-1, y+i, '│', fg, prio)
	}
	c.Rune(x, y, '╭', fg, prio)
	c.Rune(x+w-1, y, '╮', fg, prio)
	c.Rune(x, y+h-1, '╰', fg, prio)
	c.Rune(x+w-1, y+h-1, '╯', fg, prio)
	if title != "" && w > 8 {
		title = Truncate(title, w-6)
		c.Text(x+2, y, " "+title+" ", titleFg, prio)
	}
}
