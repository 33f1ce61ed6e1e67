package build

import "errors"

// hinted is an error with the next step for who reads it.
type hinted struct {
	error
	next string
}

func (h *hinted) Unwrap() error { return h.error }

func hint(err error, next string) error { return &hinted{err, next} }

// Hint is what to do about an error of this package; "" if it does not know.
func Hint(err error) string {
	if h, ok := errors.AsType[*hinted](err); ok {
		return h.next
	}
	return ""
}
