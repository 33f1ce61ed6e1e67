//go:build !unix

package server

func isTransient(error) bool { return false }

// isInUse cannot tell here; the error says it.
func isInUse(error) bool { return false }
