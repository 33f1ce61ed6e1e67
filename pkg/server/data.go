package server

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"time"
)

// The data directory:
//
//	DIR/track.db, DIR/fixes-*.db   the store
//	DIR/master.key                 wraps the device keys in the store; back it up apart
//	DIR/admin.token                written by the first start, 0600
//	DIR/tls/cert.pem, key.pem      self-signed unless replaced
const (
	masterFile = "master.key"
	tokenFile  = "admin.token"
	certFile   = "tls/cert.pem"
	keyFile    = "tls/key.pem"
)

func tokenPath(dir string) string { return filepath.Join(dir, tokenFile) }

// makeDataDir makes the directory if it is missing, and finds out now, not at the
// first write, that it cannot be written to.
func makeDataDir(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("make data directory: %w", err)
	}
	f, err := os.CreateTemp(dir, ".writable-*")
	if err != nil {
		return fmt.Errorf("data directory %s cannot be written to: %w\nhint: check its owner and the file system, or choose another with --data", dir, err)
	}
	return errors.Join(f.Close(), os.Remove(f.Name()))
}

func existingDataDir(dir string) error {
	if _, err := os.Stat(filepath.Join(dir, masterFile)); err != nil {
		return fmt.Errorf("%s is not the data directory of a server: %w", dir, err)
	}
	return nil
}

// loadMaster reads the key that wraps device keys, or makes it on the first start.
// A store without its key would be a fleet that must enrol again, so a missing key
// beside an existing store is an error, never a new key.
func loadMaster(dir string) (key [32]byte, err error) {
	path := filepath.Join(dir, masterFile)
	raw, err := os.ReadFile(path)
	switch {
	case err == nil:
		n, err := hex.Decode(key[:], trimLine(raw))
		if err != nil || n != len(key) {
			return key, fmt.Errorf("%s does not hold 64 hex digits; restore it from your backup", path)
		}
		return key, nil
	case !errors.Is(err, fs.ErrNotExist):
		return key, fmt.Errorf("read master key: %w", err)
	}
	if _, err := os.Stat(filepath.Join(dir, "track.db")); err == nil {
		return key, fmt.Errorf("%s is missing beside an existing store; restore it from your backup, or every device must enrol again", path)
	}
	_, _ = rand.Read(key[:])
	return key, writeSecret(path, []byte(hex.EncodeToString(key[:])+"\n"))
}

// writeSecret writes a file that only its owner reads, whole or not at all, and
// durable when it returns.
func writeSecret(path string, data []byte) error {
	f, err := os.CreateTemp(filepath.Dir(path), ".new-*")
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	defer func() { _ = os.Remove(f.Name()) }()
	_, err = f.Write(data)
	err = errors.Join(err, f.Chmod(0o600), f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err == nil {
		err = syncDir(filepath.Dir(path))
	}
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return nil
}

func trimLine(b []byte) []byte {
	for len(b) > 0 && (b[len(b)-1] == '\n' || b[len(b)-1] == '\r') {
		b = b[:len(b)-1]
	}
	return b
}

// loadTLS reads the certificate, or makes a self-signed one that clients pin by its
// fingerprint when they first see it.
func loadTLS(dir, cert, key string, hosts []string) (*tls.Config, string, error) {
	if cert == "" {
		cert, key = filepath.Join(dir, certFile), filepath.Join(dir, keyFile)
		if _, err := os.Stat(cert); errors.Is(err, fs.ErrNotExist) {
			if err := selfSign(cert, key, hosts); err != nil {
				return nil, "", fmt.Errorf("make certificate: %w", err)
			}
		}
	}
	pair, err := tls.LoadX509KeyPair(cert, key)
	if err != nil {
		return nil, "", fmt.Errorf("load certificate: %w", err)
	}
	sum := sha256.Sum256(pair.Certificate[0])
	return &tls.Config{
		Certificates: []tls.Certificate{pair},
		MinVersion:   tls.VersionTLS13,
		NextProtos:   []string{"http/1.1"},
	}, hex.EncodeToString(sum[:]), nil
}

func selfSign(certPath, keyPath string, hosts []string) error {
	priv, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		return err
	}
	template := x509.Certificate{
		SerialNumber: serial,
		Subject:      pkix.Name{CommonName: "trackerd"},
		NotBefore:    time.Now().Add(-time.Hour),
		NotAfter:     time.Now().AddDate(10, 0, 0),
		KeyUsage:     x509.KeyUsageDigitalSignature,
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	for _, h := range hosts {
		if ip := net.ParseIP(h); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
		} else if h != "" {
			template.DNSNames = append(template.DNSNames, h)
		}
	}
	der, err := x509.CreateCertificate(rand.Reader, &template, &template, &priv.PublicKey, priv)
	if err != nil {
		return err
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(priv)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(certPath), 0o700); err != nil {
		return err
	}
	// The key first: a certificate without its key would stop the next start.
	if err := writeSecret(keyPath, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER})); err != nil {
		return err
	}
	return writeSecret(certPath, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
}
