// Package leaktest is for the TestMain of the rooms of load: whoever starts a goroutine
// waits for it, and this is where that is held. Only tests import it.
package leaktest

import (
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"
)

// patience is how long the last goroutines may take to end: nothing tells when one is gone.
const patience = 10 * time.Second

// Run runs the tests of a package and gives the exit code. It is 1 if a goroutine outlives
// them that has a frame of ours, or of one of the packages that also names by their path.
func Run(m *testing.M, also ...string) int {
	code := m.Run()
	if code != 0 {
		return code
	}
	if stacks := left(append(also, "tracker/pkg/"), patience); stacks != "" {
		fmt.Fprintln(os.Stderr, "goroutines were left behind:\n"+stacks)
		return 1
	}
	return 0
}

// left gives the stacks of all goroutines but this one, once patience is over and one of
// them still is in one of the packages.
func left(packages []string, patience time.Duration) string {
	buf := make([]byte, 1<<20)
	for deadline := time.Now().Add(patience); ; time.Sleep(10 * time.Millisecond) {
		stacks := string(buf[:runtime.Stack(buf, true)])
		_, others, _ := strings.Cut(stacks, "\n\n") // the first is this one
		if !slices.ContainsFunc(packages, func(p string) bool { return strings.Contains(others, p) }) {
			return ""
		}
		if time.Now().After(deadline) {
			return others
		}
	}
}
