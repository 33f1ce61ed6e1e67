package main

import (
	"bytes"
	"context"
	"strings"
	"testing"
)

// A card for a file is plain, needs no server, and is no failure.
func TestDoctorTellsAFileWhatWasFoundOut(t *testing.T) {
	t.Setenv("TERM", "xterm-256color")
	var out, errs bytes.Buffer
	a := &app{in: strings.NewReader(""), out: &out, err: &errs}
	cmd := a.doctorCommand()
	cmd.SetArgs([]string{"tty"})
	if err := cmd.ExecuteContext(context.Background()); err != nil || errs.Len() > 0 {
		t.Fatalf("%v, %q", err, errs.String())
	}
	if got := out.String(); !strings.Contains(got, "terminal    none") || !strings.Contains(got, "trackctl map --plain") || strings.Contains(got, "\x1b") {
		t.Errorf("%q", got)
	}
}
