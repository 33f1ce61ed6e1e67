package load

import (
	"os/exec"
	"syscall"
)

// apart keeps Ctrl-C, which a terminal sends to a whole group of processes, from a child
// that we end ourselves when we are done with it. If we are killed it ends, too: the
// system tells it when the thread that started it is gone, and Go keeps its threads.
func apart(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM}
}
