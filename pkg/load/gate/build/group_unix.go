//go:build unix

package build

import (
	"os/exec"
	"syscall"
)

// interruptible gives a command a process group of its own, and has all of it interrupted
// when the command is given up: compilers and linkers are not left behind, and git and Go
// remove what they have begun.
func interruptible(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGINT) }
}
