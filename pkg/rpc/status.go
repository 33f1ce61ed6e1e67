package rpc

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"
)

// Status is how a request ended. 0 to 16 are gRPC's, 32 to 63 are about the protocol,
// 256 and above belong to the application.
type Status uint16

// The statuses.
const (
	OK                 Status = 0
	Canceled           Status = 1
	Unknown            Status = 2
	InvalidArgument    Status = 3
	DeadlineExceeded   Status = 4
	NotFound           Status = 5
	AlreadyExists      Status = 6
	PermissionDenied   Status = 7
	ResourceExhausted  Status = 8
	FailedPrecondition Status = 9
	Aborted            Status = 10
	OutOfRange         Status = 11
	Unimplemented      Status = 12
	Internal           Status = 13
	Unavailable        Status = 14
	DataLoss           Status = 15
	Unauthenticated    Status = 16

	BadFrame      Status = 32 // the peer broke the framing; the connection ends
	FrameTooLarge Status = 33
	BadBody       Status = 34 // the body is not what the method takes
	SlowConsumer  Status = 35 // the peer does not read
	EpochChanged  Status = 36 // start again from a snapshot
	Version       Status = 37 // no version in common
)

// statuses says of each whether the request may have run, and whether sending the
// same again can help.
var statuses = map[Status]struct {
	name   string
	ran    bool
	retry  bool
	remark string
}{
	OK:                 {"ok", true, false, "done"},
	Canceled:           {"canceled", true, false, "the caller gave up"},
	Unknown:            {"unknown", true, false, "an error without a status"},
	InvalidArgument:    {"invalid argument", false, false, "wrong whatever the state is"},
	DeadlineExceeded:   {"deadline exceeded", true, true, "time ran out"},
	NotFound:           {"not found", false, false, "what was asked for does not exist"},
	AlreadyExists:      {"already exists", false, false, "what was to be made exists"},
	PermissionDenied:   {"permission denied", false, false, "known, but not allowed"},
	ResourceExhausted:  {"resource exhausted", false, true, "a limit; later it may do"},
	FailedPrecondition: {"failed precondition", false, false, "not in this state"},
	Aborted:            {"aborted", false, true, "a conflict; nothing was changed"},
	OutOfRange:         {"out of range", false, false, "past the end"},
	Unimplemented:      {"unimplemented", false, false, "no such method here"},
	Internal:           {"internal", true, false, "a bug; the reference is in the log"},
	Unavailable:        {"unavailable", false, true, "going down, or not up"},
	DataLoss:           {"data loss", true, false, "something stored is damaged"},
	Unauthenticated:    {"unauthenticated", false, false, "who are you?"},
	BadFrame:           {"bad frame", false, false, "the framing was broken"},
	FrameTooLarge:      {"frame too large", false, false, "over the announced limit"},
	BadBody:            {"bad body", false, false, "the body cannot be read"},
	SlowConsumer:       {"slow consumer", true, true, "the peer did not read"},
	EpochChanged:       {"epoch changed", false, true, "subscribe again"},
	Version:            {"version", false, false, "no version in common"},
}

func (s Status) String() string {
	if d, ok := statuses[s]; ok {
		return d.name
	}
	return "status " + strconv.Itoa(int(s))
}

// MayHaveRun says whether a request that ended so may have had an effect. An unknown
// status may.
func (s Status) MayHaveRun() bool {
	d, ok := statuses[s]
	return !ok || d.ran
}

// Error is a failure as it travels. All but Status may be empty.
type Error struct {
	Status     Status
	Reason     string        // a short constant that programs may look at
	Message    string        // for people
	Field      string        // which part of the request is to blame
	Ref        string        // finds the failure in the server's log
	RetryAfter time.Duration // the server's wish, in whole milliseconds on the wire
	NotRun     bool          // the request certainly had no effect

	fault Fault // what to count; stays here
}

func (e *Error) Error() string {
	s := e.Status.String()
	if e.Message != "" {
		s += ": " + e.Message
	} else if e.Reason != "" {
		s += ": " + e.Reason
	}
	if e.Ref != "" {
		s += " (" + e.Ref + ")"
	}
	return s
}

// Is lets errors.Is find the context's own errors, and an Error with only a Status.
func (e *Error) Is(target error) bool {
	switch target {
	case context.Canceled:
		return e.Status == Canceled
	case context.DeadlineExceeded:
		return e.Status == DeadlineExceeded
	}
	t, ok := target.(*Error)
	return ok && *t == Error{Status: t.Status} && t.Status == e.Status
}

// Errorf makes an Error.
func Errorf(s Status, format string, args ...any) *Error {
	return &Error{Status: s, Message: fmt.Sprintf(format, args...)}
}

// StatusOf finds the status in err; OK for nil, Unknown for an error without one.
func StatusOf(err error) Status {
	var e *Error
	switch {
	case err == nil:
		return OK
	case errors.As(err, &e):
		return e.Status
	case errors.Is(err, context.Canceled):
		return Canceled
	case errors.Is(err, context.DeadlineExceeded):
		return DeadlineExceeded
	}
	return Unknown
}

// Retryable says whether the same request may be sent again: the failure may pass,
// and either the request had no effect or having it twice is the same as once.
func Retryable(err error, idempotent bool) bool {
	var e *Error
	if !errors.As(err, &e) {
		return idempotent && errors.Is(err, context.DeadlineExceeded)
	}
	if !statuses[e.Status].retry {
		return false
	}
	return idempotent || e.NotRun
}

func protocolError(f Fault, s Status, reason string) *Error {
	return &Error{Status: s, Reason: reason, NotRun: true, fault: f}
}
