//go:build !linux

package ingest

// newSlab takes a slab from the Go heap. Records hold no pointers, so that the
// garbage collector does not look inside.
func newSlab() (slab []record, release func()) { return make([]record, slabLen), func() {} }
