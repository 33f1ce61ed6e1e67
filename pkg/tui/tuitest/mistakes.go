package tuitest

import (
	"fmt"
	"strconv"
	"strings"
	"testing"
)

// Broken is a file with mistakes.
type Broken = struct{ Name, Text string }

// Mistakes reads broken files and holds each, with its lines numbered and with what was
// said of it, against testdata/mistakes.txt. Each has to be refused.
func Mistakes(t testing.TB, files []Broken, read func(text string) error) {
	t.Helper()
	var all strings.Builder
	for _, b := range files {
		err := read(b.Text)
		if err == nil {
			t.Errorf("%s: want an error", b.Name)
			continue
		}
		fmt.Fprintf(&all, "%s\n", b.Name)
		for i, line := range strings.Split(strings.TrimSuffix(b.Text, "\n"), "\n") {
			fmt.Fprintf(&all, "%6d  %s\n", i+1, visible(line))
		}
		fmt.Fprintf(&all, "%s\n\n", err)
	}
	Golden(t, "mistakes", all.String())
}

// visible is a line that a file of examples can hold.
func visible(line string) string {
	q := strconv.QuoteToASCII(line)
	return strings.NewReplacer(`\"`, `"`, `\\`, `\`).Replace(q[1 : len(q)-1])
}
