package main

import (
	"strings"
	"testing"
	"time"

	"tracker/pkg/client"
	"tracker/pkg/tui/qr"
)

func testPage(t *testing.T, fresh, wait bool) *page {
	t.Helper()
	const link = "https://track.example.org:4810/d#1.AAAAAAAA.BBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBB.1"
	code, err := qr.Encode(link)
	if err != nil {
		t.Fatal(err)
	}
	w := &waiting{device: client.Device{ID: 0x0123456789ab, Name: "van-1"}, until: time.Now().Add(90*time.Second + 400*time.Millisecond), fresh: fresh}
	return &page{code: code, link: link, w: w, wait: wait}
}

func TestPagePlacesCodeAndWords(t *testing.T) {
	for _, tc := range []struct {
		name       string
		cols, rows int
		style      qr.Style
		code       bool
		whole      bool // the link stands on one line
	}{
		{"small terminal, words beside", 80, 24, qr.Half, true, false},
		{"large terminal, words below", 120, 40, qr.Half, true, true},
		{"narrow and high", 50, 40, qr.Half, true, false},
		{"too small", 40, 20, qr.Half, false, false},
		{"too small for the full style", 80, 24, qr.Full, false, false},
		{"large enough for the full style", 130, 60, qr.Full, true, true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			p := testPage(t, true, true)
			p.style = tc.style
			text := p.layout(tc.cols, tc.rows)
			lines := strings.Split(text, "\n")
			if len(lines) > tc.rows {
				t.Errorf("%d lines on a terminal of %d", len(lines), tc.rows)
			}
			if got := strings.Contains(text, "\x1b[m"); got != tc.code {
				t.Errorf("shows the code: %v\n%s", got, text)
			}
			if got := strings.Contains(text, p.link); got != tc.whole {
				t.Errorf("shows the link on one line: %v\n%s", got, text)
			}
			if !tc.code && !strings.Contains(strings.ReplaceAll(text, "\n", " "), "--png FILE") {
				t.Errorf("does not say what to do:\n%s", text)
			}
			if all := joined(text); !strings.Contains(all, p.link) || !strings.Contains(all, "expiresin1:30") {
				t.Errorf("words are missing:\n%s", text)
			}
		})
	}
}

// joined is what stands on a screen beside the drawing, without breaks.
func joined(text string) string {
	var b strings.Builder
	for line := range strings.Lines(text) {
		if _, after, ok := strings.Cut(line, "G"); ok && strings.HasPrefix(line, "\x1b[") {
			line = after
		}
		b.WriteString(strings.Join(strings.Fields(line), ""))
	}
	return b.String()
}

func TestPageSaysWhatEndsIt(t *testing.T) {
	for _, tc := range []struct {
		fresh, wait bool
		note, want  string
	}{
		{true, true, "", "waiting for the first fix… expires in 1:30, q leaves"},
		{false, true, "", "waiting for the first fix… closes in 1:30, q leaves"},
		{true, false, "", "q leaves"},
		{true, true, "the server does not answer", "waiting for the first fix… expires in 1:30, q leaves (the server does not answer)"},
	} {
		p := testPage(t, tc.fresh, tc.wait)
		p.w.note = tc.note
		if got := p.state(); got != tc.want {
			t.Errorf("got %q, want %q", got, tc.want)
		}
	}
}

func TestWrapLosesNothing(t *testing.T) {
	for _, text := range []string{"", "one", "two words", strings.Repeat("long", 40), "a " + strings.Repeat("b", 100) + " c", "ünïcödé " + strings.Repeat("é", 50)} {
		for _, width := range []int{1, 8, 20, 80} {
			lines := wrap(text, width)
			if got, want := strings.Join(lines, ""), strings.Join(strings.Fields(text), ""); strings.ReplaceAll(got, " ", "") != want {
				t.Errorf("wrap(%q, %d) = %q", text, width, lines)
			}
			for _, l := range lines {
				if len([]rune(l)) > max(width, 8) {
					t.Errorf("wrap(%q, %d): a line of %d", text, width, len([]rune(l)))
				}
			}
		}
	}
}
