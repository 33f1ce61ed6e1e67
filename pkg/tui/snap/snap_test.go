package snap

import (
	"bytes"
	"testing"

	"tracker/pkg/tui/canvas"
	"tracker/pkg/tui/look"
)

func TestPicturesWithAndWithoutColours(t *testing.T) {
	c := canvas.New(4, 2)
	c.Text(0, 0, "ab", look.Moving, 1)
	theme, err := look.Named("system")
	if err != nil {
		t.Fatal(err)
	}
	var text, ansi bytes.Buffer
	if err := Text(&text, c, theme); err != nil || text.String() != "ab\n\n" {
		t.Errorf("%q, %v", text.String(), err)
	}
	if err := ANSI(&ansi, c, theme); err != nil || ansi.String() != "\x1b[0;32mab\x1b[m\n\n" {
		t.Errorf("%q, %v", ansi.String(), err)
	}
}
