package geo

// Cell is one square of a fixed grid over the globe, CellSize wide in both
// directions. Cells are what indexes are keyed by: cheap to compute (two integer
// divisions), and never an answer by themselves, since an exact test follows.
type Cell uint32

const (
	// CellSize is the edge of a cell in 1e-7 degree: 0.1 degree, at most 11.1 km.
	CellSize = 1_000_000

	CellRows = 1801 // the last row holds only the pole
	CellCols = 3600
)

// Split is the row of the cell, counted from the south pole, and its column, counted
// eastwards from the antimeridian.
func (c Cell) Split() (row, col uint32) { return uint32(c) / CellCols, uint32(c) % CellCols }

// CellOf is the cell that holds p. Longitude 180 falls into the column of -180.
func CellOf(p Point) Cell {
	row := uint32(int64(p.Lat)+MaxLat) / CellSize
	col := uint32(int64(p.Lon)+MaxLon) / CellSize % CellCols
	return Cell(row*CellCols + col)
}

// Cells is a walk over the cells that a box touches.
type Cells struct {
	row0, row1 uint32
	col0, cols uint32
}

// CellsIn returns the cells that touch b.
func CellsIn(b Box) Cells {
	c := Cells{
		row0: uint32(int64(b.South)+MaxLat) / CellSize,
		row1: uint32(int64(b.North)+MaxLat) / CellSize,
	}
	west := uint32(int64(b.West)+MaxLon) / CellSize
	east := uint32(int64(b.East)+MaxLon) / CellSize
	if b.Crosses() {
		east += CellCols
	}
	c.cols = min(east-west+1, CellCols)
	c.col0 = west % CellCols
	return c
}

// Len is the number of cells.
func (c Cells) Len() int { return int(c.row1-c.row0+1) * int(c.cols) }

// Span is the walk as rows row0..row1 and cols columns from col0 eastwards; they
// wrap around from the last column to the first.
func (c Cells) Span() (row0, row1, col0, cols uint32) { return c.row0, c.row1, c.col0, c.cols }

// Has tells whether the walk visits cell.
func (c Cells) Has(cell Cell) bool {
	row, col := uint32(cell)/CellCols, uint32(cell)%CellCols
	return row >= c.row0 && row <= c.row1 && (col+CellCols-c.col0)%CellCols < c.cols
}

// All visits the cells until yield returns false.
func (c Cells) All(yield func(Cell) bool) {
	for row := c.row0; row <= c.row1; row++ {
		for i := range c.cols {
			if !yield(Cell(row*CellCols + (c.col0+i)%CellCols)) {
				return
			}
		}
	}
}
