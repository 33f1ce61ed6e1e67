package tuitest

import (
	"fmt"
	"os"
	"testing"
)

// Main lets tests run their own binary as a program on a terminal: see Terminal. A
// TestMain calls it; drive is what the program does for a mode.
func Main(m *testing.M, drive func(mode string) error) {
	if mode := os.Getenv("TUI_DRIVER"); mode != "" {
		if err := drive(mode); err != nil {
			fmt.Fprintln(os.Stderr, "driver:", err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}
