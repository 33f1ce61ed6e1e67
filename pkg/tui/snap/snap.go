// Package snap writes what is on the screen, or the devices that are meant, into files.
package snap

import (
	"errors"
	"io"

	"tracker/pkg/tui/canvas"
	"tracker/pkg/tui/fleet"
	"tracker/pkg/tui/look"
)

var errNotYet = errors.New("this format cannot be written yet")

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

// SVG cannot be written so far.
func SVG(io.Writer, *canvas.Canvas, *look.Theme) error { return errNotYet }

// Fixes writes the latest fixes of the devices that which chooses. No format is known
// so far.
func Fixes(io.Writer, string, *fleet.Frame, *fleet.Store, func(int32) bool) error { return errNotYet }
