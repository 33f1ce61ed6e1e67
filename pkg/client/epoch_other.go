//go:build !unix

package client

// lockFile does nothing where there are no advisory locks: there, two processes must
// not share an epoch file.
func lockFile(string) (unlock func(), err error) { return func() {}, nil }

// syncDir does nothing where directories cannot be synced.
func syncDir(string) error { return nil }
