//go:build !linux

package ingest

// newPages takes n of T from the Go heap. T holds no pointers, so that the garbage
// collector does not look inside.
func newPages[T any](n int) (pages []T, release func()) { return make([]T, n), func() {} }
