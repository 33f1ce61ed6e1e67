// Package qr draws QR codes: into terminals, PNG and SVG. The matrix comes from
// go-qrcode; how it is drawn is ours, because a code has to be readable on dark and
// on light terminals, in any font, and with a quiet zone.
//
//	half    ▀▄█ black on white, two modules a cell      45x23 for the usual 80 bytes
//	full    background colours only, a module two cells wide and one high: immune to
//	        fonts and line spacing                      90x45
//	ascii   ## and blanks, for what cannot show colours: readers often refuse it
//
// The colours of a code are data. They are written even where NO_COLOR is set.
package qr

import (
	"bufio"
	"errors"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"io"
	"strings"

	"github.com/skip2/go-qrcode"
)

// Quiet is the width of the light border that the standard asks for, in modules.
// Tight is what most readers get by with.
const (
	Quiet = 4
	Tight = 2
)

// Code is a QR code without its border. It is immutable and does not keep its text,
// which usually is a secret.
type Code struct {
	Version int // 1 to 40
	n       int
	dark    []bool
}

// Encode makes the smallest code for text at error correction M, or at L if it does
// not fit any code at M.
func Encode(text string) (*Code, error) {
	if text == "" {
		return nil, errors.New("qr code: nothing to encode")
	}
	q, err := qrcode.New(text, qrcode.Medium)
	if err != nil {
		q, err = qrcode.New(text, qrcode.Low)
	}
	if err != nil {
		return nil, fmt.Errorf("qr code: %d bytes do not fit", len(text))
	}
	q.DisableBorder = true
	rows := q.Bitmap()
	c := &Code{Version: q.VersionNumber, n: len(rows)}
	for _, row := range rows {
		c.dark = append(c.dark, row...)
	}
	return c, nil
}

// Dark tells whether a module is dark. Everything outside of the code is light.
func (c *Code) Dark(x, y int) bool {
	return x >= 0 && y >= 0 && x < c.n && y < c.n && c.dark[y*c.n+x]
}

// Style is how a code is drawn in a terminal.
type Style uint8

const (
	Half Style = iota
	Full
	ASCII
)

// ParseStyle reads half, full or ascii.
func ParseStyle(s string) (Style, error) {
	for style, name := range styleNames {
		if s == name {
			return Style(style), nil
		}
	}
	return 0, fmt.Errorf("qr style %q is not one of %s", s, strings.Join(styleNames[:], ", "))
}

var styleNames = [...]string{"half", "full", "ascii"}

func (s Style) String() string { return styleNames[s] }

// Size is how many columns and rows a code takes in a terminal.
func (c *Code) Size(style Style, quiet int) (cols, rows int) {
	side := c.n + 2*quiet
	if style == Half {
		return side, (side + 1) / 2
	}
	return 2 * side, side
}

// Fit is the widest quiet zone with which the code fits into a terminal of so many
// columns and rows: Quiet, or Tight, which a caller should mention. Not ok if neither.
func (c *Code) Fit(style Style, cols, rows int) (quiet int, ok bool) {
	for _, quiet := range []int{Quiet, Tight} {
		if w, h := c.Size(style, quiet); w <= cols && h <= rows {
			return quiet, true
		}
	}
	return 0, false
}

// Palette is which colours a terminal is asked for.
type Palette uint8

const (
	TrueColor Palette = iota // black and white, whatever the theme says
	Colors16                 // bright white as a background
	Colors8                  // white, which usually is a light grey
)

// DetectPalette goes by the environment of a process ("COLORTERM=truecolor", …).
// NO_COLOR does not count: see above.
func DetectPalette(environ []string) Palette {
	env := map[string]string{}
	for _, e := range environ {
		if name, value, ok := strings.Cut(e, "="); ok {
			env[name] = value
		}
	}
	term := env["TERM"]
	switch {
	case env["COLORTERM"] == "truecolor" || env["COLORTERM"] == "24bit" || strings.HasSuffix(term, "-direct"):
		return TrueColor
	case term == "" || term == "linux" || term == "ansi" || term == "dumb" || strings.HasPrefix(term, "vt") || strings.HasSuffix(term, "-8color"):
		return Colors8
	}
	return Colors16
}

// colours of a palette, as parameters of an SGR sequence.
var colours = [...]struct{ ink, light, dark string }{
	TrueColor: {"38;2;0;0;0", "48;2;255;255;255", "48;2;0;0;0"},
	Colors16:  {"30", "107", "40"},
	Colors8:   {"30", "47", "40"},
}

// sgr of a palette: dark ink on light paper, light paper, dark paper.
var sgr = func() (table [len(colours)]struct{ ink, light, dark string }) {
	for p, c := range colours {
		table[p].ink = "\x1b[" + c.ink + ";" + c.light + "m"
		table[p].light, table[p].dark = "\x1b["+c.light+"m", "\x1b["+c.dark+"m"
	}
	return table
}()

// Colours are the parameters of the sequences of a palette, for whoever draws a code on
// a surface of his own: the ink, and the paper of light and of dark modules.
func (p Palette) Colours() (ink, light, dark string) {
	return colours[p].ink, colours[p].light, colours[p].dark
}

const reset = "\x1b[m"

// Terminal writes the code as lines of text. Each line sets its own colours and takes
// them back.
func (c *Code) Terminal(w io.Writer, style Style, p Palette, quiet int) error {
	b := bufio.NewWriter(w)
	side := c.n + 2*quiet
	step := 1
	if style == Half {
		step = 2
	}
	for y := -quiet; y < side-quiet; y += step {
		switch style {
		case Half:
			c.halfRow(b, y, quiet, p)
		case Full:
			c.fullRow(b, y, quiet, p)
		default:
			c.asciiRow(b, y, quiet)
		}
		b.WriteByte('\n')
	}
	return b.Flush()
}

// halfRow draws two rows of modules. The last one is alone, and gets a light one below
// it: a dark line at the edge would break the quiet zone.
func (c *Code) halfRow(b *bufio.Writer, y, quiet int, p Palette) {
	b.WriteString(sgr[p].ink)
	for x := -quiet; x < c.n+quiet; x++ {
		switch upper, lower := c.Dark(x, y), c.Dark(x, y+1); {
		case upper && lower:
			b.WriteString("█")
		case upper:
			b.WriteString("▀")
		case lower:
			b.WriteString("▄")
		default:
			b.WriteByte(' ')
		}
	}
	b.WriteString(reset)
}

func (c *Code) fullRow(b *bufio.Writer, y, quiet int, p Palette) {
	for x := -quiet; x < c.n+quiet; x++ {
		if dark := c.Dark(x, y); x == -quiet || dark != c.Dark(x-1, y) {
			if dark {
				b.WriteString(sgr[p].dark)
			} else {
				b.WriteString(sgr[p].light)
			}
		}
		b.WriteString("  ")
	}
	b.WriteString(reset)
}

func (c *Code) asciiRow(b *bufio.Writer, y, quiet int) {
	for x := -quiet; x < c.n+quiet; x++ {
		if c.Dark(x, y) {
			b.WriteString("##")
		} else {
			b.WriteString("  ")
		}
	}
}

// PNG writes the code with its quiet zone as a picture of one bit a pixel, px pixels a
// module.
func (c *Code) PNG(w io.Writer, px int) error {
	side := c.n + 2*Quiet
	if px < 1 || px > 64 {
		return fmt.Errorf("qr code: %d pixels a module are not in 1..64", px)
	}
	img := image.NewPaletted(image.Rect(0, 0, side*px, side*px), color.Palette{color.White, color.Black})
	for y := range side * px {
		for x := range side * px {
			if c.Dark(x/px-Quiet, y/px-Quiet) {
				img.Pix[y*img.Stride+x] = 1
			}
		}
	}
	return png.Encode(w, img)
}

// SVG writes the code with its quiet zone as one path on a white rectangle.
func (c *Code) SVG(w io.Writer) error {
	b := bufio.NewWriter(w)
	side := c.n + 2*Quiet
	fmt.Fprintf(b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" width="%d" height="%d" shape-rendering="crispEdges">`,
		side, side, 8*side, 8*side)
	fmt.Fprintf(b, `<rect width="%d" height="%d" fill="#fff"/><path stroke="#000" d="`, side, side)
	for y := range c.n {
		for x := 0; x < c.n; x++ {
			if !c.Dark(x, y) {
				continue
			}
			run := 1
			for c.Dark(x+run, y) {
				run++
			}
			fmt.Fprintf(b, "M%d %d.5h%d", x+Quiet, y+Quiet, run)
			x += run
		}
	}
	fmt.Fprint(b, "\"/></svg>\n")
	return b.Flush()
}
