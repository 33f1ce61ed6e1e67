package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"

	"github.com/spf13/cobra"

	"tracker/pkg/client"
	"tracker/pkg/load/trace"
	"tracker/pkg/track"
)

// The exit codes, all of them.
const (
	exitDone        = 0
	exitFailed      = 1
	exitUsage       = 2
	exitUnreachable = 3
	exitDenied      = 4
	exitInterrupted = 130
)

var exitCodes = []struct {
	code    int
	meaning string
}{
	{exitDone, "done"},
	{exitFailed, "failed; the message says why"},
	{exitUsage, "wrong usage: a flag, an argument or a value of one"},
	{exitUnreachable, "the server could not be reached, or is not the one that is known"},
	{exitDenied, "not allowed: no token, a wrong one, or one of a lesser role"},
	{exitInterrupted, "interrupted by Ctrl-C or a signal"},
}

func exitCodesHelp() *cobra.Command {
	return &cobra.Command{
		Use:   "exit-codes",
		Short: "What trackctl's exit codes mean",
		Long:  exitCodesText(),
	}
}

func exitCodesText() string {
	var b strings.Builder
	for _, c := range exitCodes {
		fmt.Fprintf(&b, "%4d  %s\n", c.code, c.meaning)
	}
	return b.String()
}

// usageError is a mistake of the caller's.
type usageError struct{ err error }

func (u *usageError) Error() string { return u.err.Error() }
func (u *usageError) Unwrap() error { return u.err }

func usagef(format string, args ...any) error { return &usageError{fmt.Errorf(format, args...)} }

// hinted is an error with the next step.
type hinted struct {
	err  error
	hint string
}

func (h *hinted) Error() string { return h.err.Error() }
func (h *hinted) Unwrap() error { return h.err }

func hint(err error, format string, args ...any) error {
	if err == nil {
		return nil
	}
	return &hinted{err, fmt.Sprintf(format, args...)}
}

// explain prints an error as people should see it and returns the exit code.
func explain(w io.Writer, err error) int {
	if err == nil {
		return exitDone
	}
	code := exitCode(err)
	if code == exitInterrupted {
		return code // Ctrl-C is normal
	}
	fmt.Fprintf(w, "trackctl: %s\n", err)
	if h := hintFor(err); h != "" {
		fmt.Fprintf(w, "trackctl: hint: %s\n", h)
	}
	return code
}

func exitCode(err error) int {
	var usage *usageError
	switch {
	case errors.Is(err, context.Canceled):
		return exitInterrupted
	case errors.As(err, &usage):
		return exitUsage
	case errors.Is(err, client.ErrUnreachable), errors.Is(err, client.ErrUntrusted):
		return exitUnreachable
	case errors.Is(err, track.ErrDenied):
		return exitDenied
	}
	return exitFailed
}

// hintFor is the next step: what the place of the failure knew, then what the server
// said, as far as it means something here, then what is always true of such a failure.
func hintFor(err error) string {
	var own *hinted
	if errors.As(err, &own) {
		return own.hint
	}
	var answer *client.Error
	if errors.As(err, &answer) && answer.Code == "unauthenticated" {
		// The server's own hint names the HTTP header, which nobody types here.
		return "pass --token, --token-file or TRACK_TOKEN; the first start of trackerd writes admin.token in its data directory"
	}
	if answer != nil && answer.Hint != "" {
		return answer.Hint
	}
	switch {
	case errors.Is(err, client.ErrUntrusted):
		return "if the server really has a new certificate, remove its line from the file of known servers"
	case errors.Is(err, client.ErrUnreachable):
		return "is trackerd running there? try --server or TRACK_SERVER"
	case errors.Is(err, track.ErrDenied):
		return "this needs a token of the role admin"
	case errors.Is(err, trace.ErrFormat):
		return "readable are " + trace.Formats
	case errors.Is(err, fs.ErrNotExist):
		return "check the path"
	case errors.As(err, &answer) && answer.Code == "not_found":
		return "trackctl device list shows what there is"
	case errors.Is(err, track.ErrUnavailable):
		return "try again in a while; trackctl status tells how the server is"
	}
	return ""
}
