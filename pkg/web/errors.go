package web

import (
	"errors"

	"github.com/valyala/fasthttp"

	"tracker/pkg/track"
)

// Failures that only this door knows.
var (
	errUnauthenticated = errors.New("who are you?")
	errTooLarge        = errors.New("too large")
	errTooMany         = errors.New("too many")
	errMethod          = errors.New("not a method of this path")
	errHeaders         = errors.New("headers too large")
	errTimeout         = errors.New("too slow")
	errOrigin          = errors.New("not this server")
)

// failure is what a client is told of an error.
type failure struct {
	status int
	code   string
	hint   string
}

// failures is the one table that turns errors into answers; the first row that fits
// counts. What is not in it is ours, and the client gets no detail of it.
var failures = []struct {
	is error
	failure
}{
	{errUnauthenticated, failure{fasthttp.StatusUnauthorized, "unauthenticated", "send the header Authorization: Bearer TOKEN; the first start of a server writes one to admin.token in its data directory"}},
	{errMethod, failure{fasthttp.StatusMethodNotAllowed, "invalid", "see /v1/openapi.json"}},
	{errHeaders, failure{fasthttp.StatusRequestHeaderFieldsTooLarge, "too_large", "headers may be 16 KiB"}},
	{errTimeout, failure{fasthttp.StatusRequestTimeout, "invalid", ""}},
	{errTooLarge, failure{fasthttp.StatusRequestEntityTooLarge, "too_large", "a body may be 64 KiB, that of a batch of devices 4 MiB"}},
	{errTooMany, failure{fasthttp.StatusTooManyRequests, "rate_limited", ""}},
	{errOrigin, failure{fasthttp.StatusForbidden, "denied", "a page may open a stream to its own host only; a proxy must pass the header Host on"}},
	{track.ErrDenied, failure{fasthttp.StatusForbidden, "denied", "this takes a token with the role admin; a member's sees the maps that it was granted"}},
	{track.ErrNotFound, failure{fasthttp.StatusNotFound, "not_found", ""}},
	{track.ErrExists, failure{fasthttp.StatusConflict, "exists", ""}},
	{track.ErrInvalid, failure{fasthttp.StatusBadRequest, "invalid", ""}},
	{track.ErrUnavailable, failure{fasthttp.StatusServiceUnavailable, "unavailable", "try again in a while"}},
	{track.ErrClosed, failure{fasthttp.StatusServiceUnavailable, "unavailable", "the server is stopping"}},
}

var internal = failure{fasthttp.StatusInternalServerError, "internal", "the server's log has the details under this request id"}

// explain finds the row for an error and the sentence to tell.
func explain(err error) (f failure, message string, known bool) {
	for _, row := range failures {
		if errors.Is(err, row.is) {
			return row.failure, err.Error(), true
		}
	}
	return internal, "internal error", false
}

// appendProblem appends the JSON object that every error is.
func appendProblem(dst []byte, f failure, message, request string) []byte {
	dst = append(dst, `{"code":`...)
	dst = appendString(dst, f.code)
	dst = append(dst, `,"message":`...)
	dst = appendString(dst, message)
	if f.hint != "" {
		dst = append(dst, `,"hint":`...)
		dst = appendString(dst, f.hint)
	}
	dst = append(dst, `,"request":`...)
	return append(appendString(dst, request), '}')
}
