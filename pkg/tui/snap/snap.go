// Package snap writes what is on the screen, or the devices that are meant, into files.
//
//	Canvas ──┬─ Text   .txt      as it stands, without colours
//	         ├─ ANSI   .ansi     for a terminal: cat shows it
//	         └─ SVG    .svg      for pages: every dot a square on a grid
//	Frame  ──── Fixes  .geojson .gpx .csv .jsonl     where who was last
//	Store  ──── Trail  .geojson .gpx                 where one device went
//
// A Shot has all of it and saves what the name of the file asks for. It never writes
// over a file unless it is told to, and no place goes into a file while the privacy
// mask is on: a picture is as coarse as the screen is, a track would not be.
package snap

import (
	"fmt"
	"io"

	"tracker/pkg/tui/canvas"
	"tracker/pkg/tui/look"
)

// Text writes a picture without colours.
func Text(w io.Writer, c *canvas.Canvas, t *look.Theme) error {
	return encode(w, c, t.For(look.NoStyle))
}

// ANSI writes a picture with the sequences for its colours.
func ANSI(w io.Writer, c *canvas.Canvas, t *look.Theme) error {
	return encode(w, c, t.For(look.TrueColour))
}

func encode(w io.Writer, c *canvas.Canvas, t *canvas.Theme) error {
	_, err := w.Write(append(c.Encode(nil, t, canvas.Braille), '\n'))
	return err
}

// Pictures are the formats that Picture knows.
var Pictures = []string{"txt", "ansi", "svg"}

// Picture writes a picture in one of Pictures.
func Picture(w io.Writer, format string, c *canvas.Canvas, t *look.Theme) error {
	switch format {
	case "txt":
		return Text(w, c, t)
	case "ansi":
		return ANSI(w, c, t)
	case "svg":
		return SVG(w, c, t)
	}
	return unknown(format, Pictures)
}

func unknown(format string, known []string) error {
	return fmt.Errorf("format %q is not one of %s", format, list(known))
}
