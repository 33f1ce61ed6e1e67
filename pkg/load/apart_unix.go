//go:build unix && !linux

package load

import (
	"os/exec"
	"syscall"
)

// apart keeps Ctrl-C, which a terminal sends to a whole group of processes, from a child
// that we end ourselves when we are done with it.
func apart(cmd *exec.Cmd) { cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} }
