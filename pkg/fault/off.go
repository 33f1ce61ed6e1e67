//go:build !benchfault

package fault

import (
	"log/slog"
	"net"
)

// Suffix of the version.
const Suffix = ""

// Start has nothing to read.
func Start(*slog.Logger) error { return nil }

// Request does nothing.
func Request() {}

// Answers does nothing.
func Answers() {}

// Sum is right.
func Sum(sum int32) int32 { return sum }

// Drop drops nothing.
func Drop() bool { return false }

// Conn is c itself.
func Conn(c net.Conn) net.Conn { return c }

// Split splits nothing.
func Split(int) int { return 0 }

// Metrics are all there are.
func Metrics(page []byte) []byte { return page }
