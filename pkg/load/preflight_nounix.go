//go:build !unix

package load

import "errors"

func fileLimits() (soft, hard int64, known bool) { return 0, 0, false }

func setSoftFiles(int64) error { return errors.ErrUnsupported }
