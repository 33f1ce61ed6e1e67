package gateway

import (
	"errors"
	"fmt"

	"tracker/pkg/engine"
	"tracker/pkg/rpc"
	"tracker/pkg/track"
	"tracker/pkg/wire/trk"
)

// Causes that end a connection whose identity has ended.
var (
	tokenEnded  = &rpc.Error{Status: rpc.Unauthenticated, Reason: "unauthenticated", Message: "the token expired or was revoked"}
	deviceEnded = &rpc.Error{Status: rpc.Unauthenticated, Reason: "unauthenticated", Message: "the device was revoked, or its key is over"}
)

// failures is the one table that turns errors of the house into statuses; the first row
// that fits counts. The reasons are the codes of the JSON door. What is not in it is
// ours, and the client gets no detail of it.
var failures = []struct {
	is     error
	status rpc.Status
	reason string
}{
	{engine.ErrRevoked, rpc.Status(trk.AppErrorDeviceRevoked), "revoked"},
	{track.ErrDenied, rpc.PermissionDenied, "denied"},
	{track.ErrNotFound, rpc.NotFound, "not_found"},
	{track.ErrExists, rpc.AlreadyExists, "exists"},
	{track.ErrInvalid, rpc.InvalidArgument, "invalid"},
	{track.ErrUnavailable, rpc.Unavailable, "unavailable"},
	{track.ErrClosed, rpc.Unavailable, "unavailable"},
}

// translate finds the row for an error of a handler.
func translate(err error) *rpc.Error {
	for _, row := range failures {
		if errors.Is(err, row.is) {
			return &rpc.Error{Status: row.status, Reason: row.reason, Message: err.Error()}
		}
	}
	return nil
}

// unauthenticated refuses somebody whom nobody knows.
func unauthenticated(why string) *rpc.Error {
	return &rpc.Error{Status: rpc.Unauthenticated, Reason: "unauthenticated", Message: why + ": who are you?", NotRun: true}
}

// denied says what somebody would have to be.
func denied(who *engine.Identity, m *trk.MethodInfo) *rpc.Error {
	e := &rpc.Error{Status: rpc.PermissionDenied, Reason: "denied", NotRun: true}
	if who.Role == engine.RoleDevice {
		e.Message = fmt.Sprintf("%q is a device, which does not call %s: %v", who.Name, m.FullName(), track.ErrDenied)
	} else {
		e.Message = fmt.Sprintf("the token %q is that of a %s: %v", who.Name, who.Role, track.ErrDenied)
	}
	return e
}

// invalid refuses what a request says in one of its fields.
func invalid(field, format string, args ...any) *rpc.Error {
	return &rpc.Error{Status: rpc.InvalidArgument, Reason: "invalid", Field: field,
		Message: fmt.Sprintf("%s: %s: %v", field, fmt.Sprintf(format, args...), track.ErrInvalid), NotRun: true}
}
