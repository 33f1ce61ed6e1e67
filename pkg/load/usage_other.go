//go:build !unix

package load

import "time"

func processCPU() (time.Duration, bool) { return 0, false }

func childrenCPU() (time.Duration, bool) { return 0, false }

func openFiles() *int64 { return nil }
