//go:build !linux

package main

import (
	"errors"
	"os"
)

// openKeys listens to no keys here: Ctrl-C ends a run.
func openKeys(string) (*os.File, func(), error) { return nil, nil, errors.ErrUnsupported }
