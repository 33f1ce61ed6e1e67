package ingest

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// newPages maps n of T, zeroed, outside the Go heap: a gigabyte of records is then
// nothing to the garbage collector, neither to scan nor to pace itself by. T holds
// no pointers, and the size is a multiple of a huge page. The memory is aligned to
// huge pages and asks for them: with small ones most look-ups would miss the TLB on
// top of the cache, which costs more. Keys do not go into core dumps.
func newPages[T any](n int) (pages []T, release func()) {
	size := uintptr(n) * unsafe.Sizeof(*new(T))
	all, err := unix.MmapPtr(-1, 0, nil, size+hugePage, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE)
	if err != nil {
		return make([]T, n), func() {} // no mappings left: slower, but it works
	}
	before := -uintptr(all) & (hugePage - 1)
	start := unsafe.Add(all, before)
	if before > 0 {
		_ = unix.MunmapPtr(all, before)
	}
	_ = unix.MunmapPtr(unsafe.Add(start, size), hugePage-before)
	b := unsafe.Slice((*byte)(start), size)
	_ = unix.Madvise(b, unix.MADV_HUGEPAGE) // a kernel that has none is only slower
	_ = unix.Madvise(b, unix.MADV_DONTDUMP)
	return unsafe.Slice((*T)(start), n), func() { _ = unix.MunmapPtr(start, size) }
}
