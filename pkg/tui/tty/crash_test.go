package tty

import (
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

func TestGuardMakesAnErrorOfAPanic(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "state", "tracker")
	c := Config{StateDir: dir, Environ: []string{"TERM=xterm", "SECRET=1", "LANG=x\x1b]0;y\a"}}
	fine := errors.New("fine")
	if err := c.Guard("feed", func() error { return fine }); err != fine {
		t.Errorf("%v", err)
	}
	err := c.Guard("feed", func() error { panic("on\x1b[2J purpose\nand more") })
	var crash *Crash
	if !errors.As(err, &crash) || filepath.Dir(crash.File) != dir {
		t.Fatalf("%#v", err)
	}
	if want := "feed: panic: on?[2J purpose?and more; the stack is in " + crash.File; err.Error() != want {
		t.Errorf("%q, want %q", err, want)
	}
	b, err := os.ReadFile(crash.File)
	if err != nil {
		t.Fatal(err)
	}
	text := string(b)
	for _, want := range []string{"feed: panic: on", "TERM      xterm\n", runtime.Version(), "crash_test.go", "LANG      x?]0;y?\n"} {
		if !strings.Contains(text, want) {
			t.Errorf("the file does not have %q:\n%s", want, text)
		}
	}
	if strings.Contains(text, "SECRET") {
		t.Error("the file has a variable that is nobody's business")
	}
	if runtime.GOOS == "windows" {
		return
	}
	for path, want := range map[string]os.FileMode{crash.File: 0o600, dir: 0o700 | os.ModeDir} {
		if info, err := os.Stat(path); err != nil || info.Mode() != want {
			t.Errorf("%s: %v, %v, want %v", path, info.Mode(), err, want)
		}
	}
}

func TestPanicsOfOneSecondHaveFilesOfTheirOwn(t *testing.T) {
	c := Config{StateDir: t.TempDir()}
	files := map[string]bool{}
	for range 5 {
		var crash *Crash
		if !errors.As(c.Guard("feed", func() error { panic(1) }), &crash) || crash.File == "" {
			t.Fatal(crash)
		}
		files[crash.File] = true
	}
	if len(files) != 5 {
		t.Errorf("%v", files)
	}
}

func TestPanicWithoutAPlaceForAFileTellsAll(t *testing.T) {
	occupied := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(occupied, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{"", filepath.Join(occupied, "below")} {
		err := Config{StateDir: dir}.Guard("feed", func() error { panic("on purpose") })
		if text := err.Error(); !strings.HasPrefix(text, "feed: panic: on purpose\n") || !strings.Contains(text, "crash_test.go") {
			t.Errorf("in %q: %s", dir, text)
		}
	}
}

func TestDiaryTellsNoText(t *testing.T) {
	var d diary
	for _, key := range []string{"x", "é", "S", "日本", "ctrl+left", "enter"} {
		d.note(Event{Kind: Press, Key: key})
	}
	d.note(Event{Kind: Paste, Text: "secret"})
	d.note(Event{Kind: Click, X: 17, Y: 4})
	want := "a character, a character, a character, a character, ctrl+left, enter, paste of 6 bytes, click"
	if got := strings.Join(d.lately(), ", "); got != want {
		t.Errorf("%s\nwant %s", got, want)
	}
	for range 100 {
		d.note(Event{Kind: Wheel})
	}
	if got := d.lately(); len(got) != len(d.entries) || got[0] != "wheel" {
		t.Errorf("%v", got)
	}
}
