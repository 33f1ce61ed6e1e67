package load

import (
	"syscall"
	"testing"
)

// The thread goes back as it was, whatever the system allowed.
func TestPunctualLeavesTheThreadAsItWas(t *testing.T) {
	before, err := syscall.Getpriority(syscall.PRIO_PROCESS, 0)
	if err != nil {
		t.Skip(err)
	}
	for range 3 {
		done := Punctual()
		thread := syscall.Gettid()
		within, _ := syscall.Getpriority(syscall.PRIO_PROCESS, thread)
		if syscall.Geteuid() == 0 && within != 20-haste {
			t.Logf("root, and yet not hastened: %d", 20-within)
		}
		done()
		if after, _ := syscall.Getpriority(syscall.PRIO_PROCESS, thread); after != before {
			t.Fatalf("nice %d afterwards, was %d", 20-after, 20-before)
		}
	}
}
