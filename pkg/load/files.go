package load

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
)

// Input opens a file to read, or standard input for "-". The caller closes it; standard
// input stays open.
func Input(path string) (io.ReadCloser, error) {
	if path == "-" {
		return io.NopCloser(os.Stdin), nil
	}
	return os.Open(path)
}

// WriteFile writes a file as a whole, or to standard output for "-": whoever reads it
// meanwhile, as the collector of Prometheus does, has what was there before or what is
// there then, and never a part. Nothing is touched if write fails.
func WriteFile(path string, write func(io.Writer) error) error {
	var b bytes.Buffer
	if err := write(&b); err != nil {
		return err
	}
	if path == "-" {
		_, err := os.Stdout.Write(b.Bytes())
		return err
	}
	if info, err := os.Stat(path); err == nil && !info.Mode().IsRegular() {
		return os.WriteFile(path, b.Bytes(), 0o644) // a device or a pipe cannot be replaced
	}
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*")
	if err != nil {
		return err
	}
	_, err = f.Write(b.Bytes())
	err = errors.Join(err, f.Chmod(0o644), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		_ = os.Remove(f.Name())
	}
	return err
}
