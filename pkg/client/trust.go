package client

import (
	"bufio"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"tracker/pkg/track"
)

// TLSConfig says how a client knows that a server is the one it means. A server makes
// its own certificate at its first start, so by default a client remembers the
// fingerprint it saw first, as ssh does; a certificate that the system's authorities
// vouch for needs no remembering.
type TLSConfig struct {
	// KnownServers is the file of remembered fingerprints: one "HOST:PORT
	// sha256:HEX" a line. Empty: nothing is remembered, and only certificates that
	// authorities vouch for are trusted.
	KnownServers string
	// Fingerprint, as "sha256:HEX", is the only certificate to accept.
	Fingerprint string
	// CAFile holds the PEM certificates of the only authorities to accept.
	CAFile string
	// Insecure trusts anybody who answers. For tests.
	Insecure bool
	// OnFirstUse is told of each server whose fingerprint was remembered just now.
	OnFirstUse func(server, fingerprint string)
}

// ErrUntrusted says that whoever answered is not the server that was meant.
var ErrUntrusted = errors.New("the server is not the one that is known")

func (d *dialer) judge(cs tls.ConnectionState) error {
	got := FingerprintOf(cs.PeerCertificates[0].Raw)
	switch {
	case d.cfg.Insecure:
		return nil
	case d.cfg.Fingerprint != "":
		if !strings.EqualFold(d.cfg.Fingerprint, got) {
			return fmt.Errorf("%s shows the certificate %s, want %s: %w", d.server, got, d.cfg.Fingerprint, ErrUntrusted)
		}
		return nil
	case d.roots != nil:
		return d.vouched(cs)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	known, err := d.remembered()
	if err != nil {
		return err
	}
	if len(known) > 0 {
		return d.sameAs(known, got)
	}
	err = d.vouched(cs)
	if err == nil || d.cfg.KnownServers == "" {
		return err
	}
	return d.remember(got)
}

// vouched asks the authorities.
func (d *dialer) vouched(cs tls.ConnectionState) error {
	opts := x509.VerifyOptions{Roots: d.roots, DNSName: d.host, Intermediates: x509.NewCertPool()}
	for _, cert := range cs.PeerCertificates[1:] {
		opts.Intermediates.AddCert(cert)
	}
	if _, err := cs.PeerCertificates[0].Verify(opts); err != nil {
		return fmt.Errorf("%s: %v: %w", d.server, err, ErrUntrusted)
	}
	return nil
}

func (d *dialer) sameAs(known []string, got string) error {
	for _, k := range known {
		if strings.EqualFold(k, got) {
			return nil
		}
	}
	return fmt.Errorf("%s shows another certificate than before: got %s, remembered %s in %s; "+
		"if its certificate was renewed, delete that line: %w",
		d.server, got, known[len(known)-1], d.cfg.KnownServers, ErrUntrusted)
}

// remembered returns the fingerprints that the file holds for this server.
func (d *dialer) remembered() ([]string, error) {
	if d.cfg.KnownServers == "" {
		return nil, nil
	}
	f, err := os.Open(d.cfg.KnownServers)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read known servers: %w", err)
	}
	defer f.Close()
	var found []string
	lines := bufio.NewScanner(f)
	for n := 1; lines.Scan(); n++ {
		text, _, _ := strings.Cut(lines.Text(), "#")
		fields := strings.Fields(text)
		if len(fields) == 0 {
			continue
		}
		if len(fields) != 2 {
			return nil, fmt.Errorf("%s:%d: want HOST:PORT sha256:HEX: %w", d.cfg.KnownServers, n, track.ErrInvalid)
		}
		if _, err := parseFingerprint(fields[1]); err != nil {
			return nil, fmt.Errorf("%s:%d: %w", d.cfg.KnownServers, n, err)
		}
		if strings.EqualFold(fields[0], d.server) {
			found = append(found, fields[1])
		}
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("read known servers: %w", err)
	}
	return found, nil
}

// remember appends one line; appending a line is atomic among processes.
func (d *dialer) remember(fingerprint string) error {
	if err := os.MkdirAll(filepath.Dir(d.cfg.KnownServers), 0o700); err != nil {
		return fmt.Errorf("remember %s: %w", d.server, err)
	}
	f, err := os.OpenFile(d.cfg.KnownServers, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("remember %s: %w", d.server, err)
	}
	_, err = fmt.Fprintf(f, "%s %s\n", d.server, fingerprint)
	if err := errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("remember %s: %w", d.server, err)
	}
	if d.cfg.OnFirstUse != nil {
		d.cfg.OnFirstUse(d.server, fingerprint)
	}
	return nil
}

// FingerprintOf is how a certificate, in DER, is written in files and messages.
func FingerprintOf(der []byte) string {
	sum := sha256.Sum256(der)
	return "sha256:" + hex.EncodeToString(sum[:])
}

func parseFingerprint(s string) ([32]byte, error) {
	var sum [32]byte
	digits, ok := strings.CutPrefix(strings.ToLower(s), "sha256:")
	if n, err := hex.Decode(sum[:], []byte(digits[:min(len(digits), 64)])); !ok || err != nil || n != 32 || len(digits) != 64 {
		return sum, fmt.Errorf("fingerprint %q: want sha256: and 64 hex digits: %w", s, track.ErrInvalid)
	}
	return sum, nil
}
