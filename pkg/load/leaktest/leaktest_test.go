package leaktest

import "testing"

func TestAGoroutineThatStaysIsTold(t *testing.T) {
	ours := []string{"tracker/pkg/"}
	end := make(chan struct{})
	go func() { <-end }()
	if left(ours, 0) == "" {
		t.Error("it is not told")
	}
	close(end)
	if stacks := left(ours, patience); stacks != "" {
		t.Errorf("it has ended: %s", stacks)
	}
}
