package canvas

import (
	"math/bits"
	"strings"
	"unicode/utf8"
)

// Glyphs is what the terminal's font is trusted with.
type Glyphs uint8

const (
	Braille Glyphs = iota // everything
	Blocks                // half blocks for dots, text as it is: the Linux console
	ASCII                 // 7 bits
)

// Encode appends the canvas as lines of text with as few SGR sequences as it can,
// separated by newline and without trailing blanks. It allocates nothing if dst has
// room. Every line begins and ends in the terminal's default colours.
func (c *Canvas) Encode(dst []byte, t *Theme, g Glyphs) []byte {
	for y := range c.H {
		if y > 0 {
			dst = append(dst, '\n')
		}
		dst = c.encodeRow(dst, c.Cells[y*c.W:(y+1)*c.W], t, g)
	}
	return dst
}

func (c *Canvas) encodeRow(dst []byte, row []Cell, t *Theme, g Glyphs) []byte {
	n := len(row)
	for n > 0 && row[n-1].blank() && t.unseen(row[n-1].Fg, row[n-1].Bg) {
		n--
	}
	cur := 0 // the style in force: foreground and background, 0 the default
	for i := range row[:n] {
		cell := &row[i]
		if cell.R == wideTail && i > 0 {
			continue
		}
		want := t.pair(cell.Fg, cell.Bg)
		if cell.blank() {
			want = t.pairOnBlank(cur, cell.Fg, cell.Bg)
		}
		if want != cur {
			dst = append(dst, t.sgr[want]...)
			cur = want
		}
		dst = cell.appendGlyph(dst, g)
	}
	if cur != 0 {
		dst = append(dst, "\x1b[m"...)
	}
	return dst
}

func (c *Cell) blank() bool { return c.R == ' ' || c.R == wideTail || c.R == 0 && c.Mask == 0 }

func (c *Cell) appendGlyph(dst []byte, g Glyphs) []byte {
	switch {
	case c.R == 0 && c.Mask == 0, c.R == wideTail:
		return append(dst, ' ')
	case c.R != 0 && c.R < utf8.RuneSelf:
		return append(dst, byte(c.R))
	case c.R != 0:
		return appendRune(dst, c.R, g)
	case g == Braille:
		return append(dst, 0xe2, 0xa0|c.Mask>>6, 0x80|c.Mask&0x3f) // U+2800 + mask
	case g == Blocks:
		return append(dst, halfBlock(c.Mask)...)
	}
	return append(dst, asciiDots[c.Mask])
}

func halfBlock(mask uint8) string {
	const upper, lower = 1 | 2 | 8 | 16, 4 | 32 | 64 | 128
	switch {
	case mask&upper != 0 && mask&lower != 0:
		return "█"
	case mask&upper != 0:
		return "▀"
	}
	return "▄"
}

// appendRune writes a rune of text, or what stands for it where the font is poorer. A
// substitute has the width of what it replaces.
func appendRune(dst []byte, r rune, g Glyphs) []byte {
	if g == Braille {
		return utf8.AppendRune(dst, r)
	}
	sub, known := substitutes[r]
	switch {
	case known && (g == ASCII || sub.console):
		return append(dst, sub.ascii)
	case g == Blocks:
		return utf8.AppendRune(dst, r)
	}
	if letter, ok := unaccented[r]; ok {
		return append(dst, letter)
	}
	dst = append(dst, '?')
	if RuneWidth(r) == 2 {
		dst = append(dst, '?')
	}
	return dst
}

type substitute struct {
	ascii   byte
	console bool // missing from the fonts of the Linux console too
}

var substitutes = map[rune]substitute{
	'─': {'-', false}, '│': {'|', false}, '├': {'|', false}, '┤': {'|', false},
	'╭': {'+', true}, '╮': {'+', true}, '╰': {'+', true}, '╯': {'+', true},
	'↑': {'^', false}, '→': {'>', false}, '↓': {'v', false}, '←': {'<', false},
	'↗': {'/', true}, '↘': {'\\', true}, '↙': {'/', true}, '↖': {'\\', true},
	'▲': {'^', false}, '▸': {'>', true}, '▾': {'v', true}, '▴': {'^', true},
	'●': {'@', true}, '◆': {'o', false}, '○': {'.', true}, '✕': {'x', true}, '•': {'*', false},
	'·': {'.', false}, '…': {'.', true}, '±': {'~', false}, '°': {'d', false}, '≈': {'~', false},
	'—': {'-', true}, '–': {'-', true}, '’': {'\'', true}, '⏎': {'E', true}, '×': {'x', false},
	'◀': {'<', true}, '‖': {'|', true}, '▏': {'|', true},
	'▁': {'_', true}, '▂': {'_', true}, '▃': {'-', true}, '▅': {'=', true}, '▆': {'+', true},
	'▇': {'#', true}, '░': {'.', false}, '█': {'#', false}, '▀': {'"', false}, '▄': {'_', false},
}

// unaccented keeps the names of cities readable in 7 bits.
var unaccented = func() map[rune]byte {
	m := make(map[rune]byte)
	for letter, accented := range map[byte]string{
		'A': "ÀÁÂÃÄÅĀĂĄẠẢẤẦ", 'a': "àáâãäåāăąạảấầậắặ", 'C': "ÇĆČ", 'c': "çćč", 'D': "ĐĎḐ", 'd': "đďḑ",
		'E': "ÈÉÊËĒĘĚẾ", 'e': "èéêëēęěếềệ", 'G': "ĞĢ", 'g': "ğģ", 'H': "ḨḤ", 'h': "ḩḥ",
		'I': "ÌÍÎÏĪİ", 'i': "ìíîïīıịỉ", 'K': "Ķ", 'k': "ķ", 'L': "ŁĻĽ", 'l': "łļľ", 'N': "ÑŃŅŇ", 'n': "ñńņň",
		'O': "ÒÓÔÕÖØŌŐ", 'o': "òóôõöøōőơốồộ", 'R': "Ř", 'r': "ř", 'S': "ŚŞŠȘ", 's': "śşšșşß",
		'T': "ŢŤȚ", 't': "ţťțţ", 'U': "ÙÚÛÜŪŮŰ", 'u': "ùúûüūůűưủ", 'Y': "ÝŸ", 'y': "ýÿỹ", 'Z': "ŹŻŽ", 'z': "źżž",
		'\'': "‘ʻʼ`´",
	} {
		for _, r := range accented {
			m[r] = letter
		}
	}
	return m
}()

// Unaccented writes letters without their accents, as people type them who have no such
// keys: Montreal. Other letters, and what is no letter, stay.
func Unaccented(s string) string {
	return strings.Map(func(r rune) rune {
		if letter, ok := unaccented[r]; ok {
			return rune(letter)
		}
		return r
	}, s)
}

// asciiDots is the 7-bit character nearest to each mask of dots.
var asciiDots = func() (table [256]byte) {
	shapes := []struct {
		char byte
		mask uint8
	}{
		{'\'', 1 | 8}, {'\'', 1}, {'\'', 8}, {'-', 2 | 16}, {'-', 2}, {'-', 16}, {'-', 4 | 32}, {'.', 4}, {'.', 32},
		{'_', 64 | 128}, {'.', 64}, {'.', 128}, {'|', 1 | 2 | 4 | 64}, {'|', 8 | 16 | 32 | 128}, {'|', 2 | 4}, {'|', 16 | 32},
		{':', 1 | 64}, {':', 8 | 128}, {',', 32 | 64}, {',', 4 | 64}, {'/', 8 | 16 | 4 | 64}, {'/', 16 | 4}, {'/', 8 | 2},
		{'\\', 1 | 2 | 32 | 128}, {'\\', 2 | 32}, {'\\', 1 | 16}, {'+', 1 | 2 | 4 | 64 | 16 | 32}, {'+', 2 | 16 | 4 | 32},
		{'#', 255}, {'#', 255 &^ 1}, {'#', 255 &^ 8}, {'#', 255 &^ 64}, {'#', 255 &^ 128},
	}
	table[0] = ' '
	for mask := 1; mask < 256; mask++ {
		best := 9
		for _, s := range shapes {
			if d := bits.OnesCount8(uint8(mask) ^ s.mask); d < best {
				best, table[mask] = d, s.char
			}
		}
	}
	return table
}()
