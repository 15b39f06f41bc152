package main

import (
	"cmp"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"

	"github.com/go-sql-driver/mysql"
)

// This file makes a DSN of the group [client] of a MySQL option file, such as
// ~/.my.cnf.

// clientDSN returns the DSN that the text of an option file stands for.
func clientDSN(text string) (string, error) {
	options, err := clientOptions(text)
	if err != nil {
		return "", err
	}
	cfg := mysql.NewConfig()
	cfg.User = cmp.Or(options["user"], os.Getenv("USER")) // as MySQL's programs do
	cfg.Passwd, cfg.DBName = options["password"], options["database"]
	host, socket := options["host"], options["socket"]
	if (host == "" || host == "localhost") && socket != "" && !strings.EqualFold(options["protocol"], "tcp") {
		cfg.Net, cfg.Addr = "unix", socket
	} else {
		host = cmp.Or(host, "127.0.0.1")
		cfg.Net, cfg.Addr = "tcp", net.JoinHostPort(host, cmp.Or(options["port"], "3306"))
		if cfg.TLSConfig, err = tlsOf(options, host); err != nil {
			return "", err
		}
	}
	dsn := cfg.FormatDSN()
	if again, err := mysql.ParseDSN(dsn); err != nil || again.User != cfg.User || again.Passwd != cfg.Passwd || again.Addr != cfg.Addr {
		return "", errors.New("a DSN cannot express these values, such as a ':' in the user or a '@' in the socket")
	}
	return dsn, nil
}

// clientOptions reads the group [client]. An option without a value has "". Names
// have '-' in place of '_'.
func clientOptions(text string) (map[string]string, error) {
	options := map[string]string{}
	inClient, seen := false, false
	number := 0
	for line := range strings.Lines(text) {
		number++
		line = strings.TrimSpace(line)
		switch {
		case line == "" || line[0] == '#' || line[0] == ';':
		case line[0] == '!':
			return nil, fmt.Errorf("line %d: !include and !includedir are not supported", number)
		case line[0] == '[':
			group, _, closed := strings.Cut(line[1:], "]")
			if !closed {
				return nil, fmt.Errorf("line %d: a group without ']'", number)
			}
			inClient = strings.TrimSpace(group) == "client"
			seen = seen || inClient
		case inClient:
			name, value, _ := strings.Cut(withoutComment(line), "=")
			name = strings.ReplaceAll(strings.TrimSpace(name), "_", "-")
			if name == "pass" { // short for password
				name = "password"
			}
			options[strings.TrimPrefix(name, "loose-")] = unquoteOption(strings.TrimSpace(value))
		}
	}
	if !seen {
		return nil, errors.New("no group [client]")
	}
	if value, given := options["password"]; given && value == "" {
		return nil, errors.New("password has no value, and this command does not ask for one")
	}
	return options, nil
}

// withoutComment cuts a line at a '#' that is not between quotes.
func withoutComment(line string) string {
	var quote byte
	for i := 0; i < len(line); i++ {
		switch c := line[i]; {
		case c == '\\' && quote != 0:
			i++
		case quote == 0 && c == '#':
			return line[:i]
		case quote == 0 && (c == '"' || c == '\''):
			quote = c
		case c == quote:
			quote = 0
		}
	}
	return line
}

// optionEscapes are what MySQL's programs read in the values of option files.
// Other backslashes stand for themselves.
var optionEscapes = strings.NewReplacer(`\\`, `\`, `\b`, "\b", `\t`, "\t", `\n`, "\n", `\r`, "\r", `\s`, " ", `\"`, `"`, `\'`, `'`)

func unquoteOption(value string) string {
	if n := len(value); n >= 2 && (value[0] == '"' || value[0] == '\'') && value[n-1] == value[0] {
		value = value[1 : n-1]
	}
	return optionEscapes.Replace(value)
}

// registeredTLS is the name under which the MySQL driver finds the certificates of
// an option file.
const registeredTLS = "mysqlinit-defaults-file"

// tlsOf returns the value of the DSN key tls. As MySQL's programs do, it uses TLS
// if the server offers it, and checks the server's certificate only if there is an
// authority to check it with.
func tlsOf(options map[string]string, host string) (string, error) {
	mode := strings.ToUpper(options["ssl-mode"])
	_, verify := options["ssl-verify-server-cert"] // MariaDB's
	switch {
	case isOff(options, "ssl") || has(options, "skip-ssl"):
		mode = "DISABLED"
	case mode != "":
	case verify && !isOff(options, "ssl-verify-server-cert"):
		mode = "VERIFY_IDENTITY"
	case options["ssl-ca"] != "":
		mode = "VERIFY_CA"
	case has(options, "ssl") || options["ssl-cert"] != "":
		mode = "REQUIRED"
	default:
		mode = "PREFERRED"
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
