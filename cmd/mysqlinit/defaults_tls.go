package main

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/go-sql-driver/mysql"
)

// This file makes a TLS configuration of the options of an option file.

// registeredTLS is the name under which the MySQL driver finds the certificates of
// an option file.
const registeredTLS = "mysqlinit-defaults-file"

// tlsOf returns the value of the DSN key tls.
func tlsOf(options map[string]string, host string) (string, error) {
	mode := sslMode(options)
	if strings.HasPrefix(mode, "VERIFY_") {
		for _, name := range stricter {
			if options[name] != "" {
				return "", fmt.Errorf("%s is not supported: want ssl-ca, and no revocation list", name)
			}
		}
	}
	config := &tls.Config{ServerName: host}
	switch mode {
	case "DISABLED":
		return "false", nil
	case "PREFERRED":
		return "preferred", nil
	case "REQUIRED":
		config.InsecureSkipVerify = true
	case "VERIFY_CA":
		if options["ssl-ca"] == "" {
			// With this machine's authorities, anybody's certificate would do.
			return "", errors.New("VERIFY_CA does not check the server's name, so it needs an ssl-ca; or use VERIFY_IDENTITY")
		}
		config.InsecureSkipVerify = true // of the name: the chain is checked below
		config.VerifyConnection = func(state tls.ConnectionState) error {
			return verifyChain(state, config.RootCAs)
		}
	case "VERIFY_IDENTITY":
	default:
		return "", fmt.Errorf("ssl-mode is %s: want DISABLED, PREFERRED, REQUIRED, VERIFY_CA or VERIFY_IDENTITY", mode)
	}
	if file := options["ssl-ca"]; file != "" {
		pem, err := os.ReadFile(file)
		if err != nil {
			return "", err
		}
		config.RootCAs = x509.NewCertPool()
		if !config.RootCAs.AppendCertsFromPEM(pem) {
			return "", fmt.Errorf("%s has no certificate", file)
		}
	}
	if file := options["ssl-cert"]; file != "" {
		certificate, err := tls.LoadX509KeyPair(file, options["ssl-key"])
		if err != nil {
			return "", err
		}
		config.Certificates = []tls.Certificate{certificate}
	}
	return registeredTLS, mysql.RegisterTLSConfig(registeredTLS, config)
}

// stricter are options that can only make a server's certificate fail the check. If
// they were ignored, a server could pass that MySQL's programs refuse.
var stricter = []string{"ssl-capath", "ssl-crl", "ssl-crlpath"}

// sslMode returns the ssl-mode, or what the older options and MariaDB's mean. As
// MySQL's programs do, it uses TLS if the server offers it, and checks the server's
// certificate only if there is an authority to check it with.
func sslMode(options map[string]string) string {
	_, verify := options["ssl-verify-server-cert"] // MariaDB's
	switch {
	case options["ssl-mode"] != "": // MySQL 8 and later know no other way to switch TLS off
		return strings.ToUpper(options["ssl-mode"])
	case isOff(options, "ssl") || has(options, "skip-ssl"):
		return "DISABLED"
	case verify && !isOff(options, "ssl-verify-server-cert"):
		return "VERIFY_IDENTITY"
	case options["ssl-ca"] != "" || options["ssl-capath"] != "":
		return "VERIFY_CA"
	case has(options, "ssl") || options["ssl-cert"] != "":
		return "REQUIRED"
	}
	return "PREFERRED"
}

// verifyChain checks a server's certificate without its name.
func verifyChain(state tls.ConnectionState, roots *x509.CertPool) error {
	if len(state.PeerCertificates) == 0 {
		return errors.New("the server has no certificate")
	}
	intermediates := x509.NewCertPool()
	for _, certificate := range state.PeerCertificates[1:] {
		intermediates.AddCert(certificate)
	}
	_, err := state.PeerCertificates[0].Verify(x509.VerifyOptions{Roots: roots, Intermediates: intermediates})
	return err
}

func has(options map[string]string, name string) bool {
	_, given := options[name]
	return given
}

func isOff(options map[string]string, name string) bool {
	switch strings.ToUpper(options[name]) {
	case "0", "OFF", "FALSE", "NO":
		return true
	}
	return false
}
