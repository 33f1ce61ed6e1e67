package main

import (
	"os"
	"syscall"
	"unsafe"
)

// openKeys opens a terminal for single keys: they come at once and are not shown, and
// Ctrl-C stays what it is. undo leaves the terminal as it was.
func openKeys(path string) (tty *os.File, undo func(), err error) {
	// Without blocking, so that closing it ends a read.
	tty, err = os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK|syscall.O_NOCTTY, 0)
	if err != nil {
		return nil, nil, err
	}
	var was syscall.Termios
	if err := termios(tty, syscall.TCGETS, &was); err != nil {
		_ = tty.Close()
		return nil, nil, err
	}
	keys := was
	keys.Lflag &^= syscall.ICANON | syscall.ECHO
	keys.Cc[syscall.VMIN], keys.Cc[syscall.VTIME] = 1, 0
	if err := termios(tty, syscall.TCSETS, &keys); err != nil {
		_ = tty.Close()
		return nil, nil, err
	}
	return tty, func() { _ = termios(tty, syscall.TCSETS, &was) }, nil
}

func termios(tty *os.File, request uintptr, t *syscall.Termios) error {
	raw, err := tty.SyscallConn()
	if err != nil {
		return err
	}
	var number syscall.Errno
	if err := raw.Control(func(fd uintptr) {
		_, _, number = syscall.Syscall(syscall.SYS_IOCTL, fd, request, uintptr(unsafe.Pointer(t)))
	}); err != nil {
		return err
	}
	if number != 0 {
		return number
	}
	return nil
}
