//go:build unix

package server

import (
	"errors"
	"syscall"
)

// isTransient tells errors of accept that go away by themselves: the peer gave up,
// or the process ran out of descriptors for a moment.
func isTransient(err error) bool {
	return errors.Is(err, syscall.ECONNABORTED) || errors.Is(err, syscall.EMFILE) ||
		errors.Is(err, syscall.ENFILE) || errors.Is(err, syscall.ENOBUFS) || errors.Is(err, syscall.ENOMEM)
}

func isInUse(err error) bool { return errors.Is(err, syscall.EADDRINUSE) }
