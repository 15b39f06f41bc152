package main

import (
	"bytes"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/mysqlinit/mysqlinit/internal/testserver"
)

func writeFile(t *testing.T, text string) (path string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// readFrom makes a file the standard input of the test.
func readFrom(t *testing.T, path string) {
	t.Helper()
	file, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	before := os.Stdin
	os.Stdin = file
	t.Cleanup(func() { os.Stdin = before; file.Close() })
}

func TestDSNSources(t *testing.T) {
	s := testserver.Borrow(t, testserver.Config{Binlog: "MIXED"})
	dsn := s.DSN(testserver.App, "")
	file := writeFile(t, dsn+"\n")
	host, port, _ := strings.Cut(s.Addr, ":")
	check := func(name string, wantCode int, want string, args ...string) {
		t.Helper()
		code, stdout, stderr := runCheck(t, args...)
		if code != wantCode || !strings.Contains(stdout+stderr, want) {
			t.Errorf("%s: exit code %d, %s%s", name, code, stdout, stderr)
		}
	}
	check("no DSN", exitError, "want one DSN")
	check("a file", exitOK, "as app@%", "-dsn-file", file)
	check("an option file, TCP", exitOK, "as app@%", "-defaults-file", writeFile(t, "[client]\nuser=app\ndatabase=test\nhost="+host+"\nport="+port+"\n"))
	check("an option file, socket", exitOK, "as app@%", "-defaults-file", writeFile(t, "[client]\nuser=app\ndatabase=test\nsocket="+s.Socket+"\n"))
	t.Setenv("HOME", filepath.Dir(file))
	check("a file of this user", exitOK, "as app@%", "-dsn-file=~/"+filepath.Base(file))
	noDatabase := writeFile(t, "[client]\nuser=app\nhost="+host+"\nport="+port+"\nskip-ssl\n")
	check("an option file, and a database and keys", exitOK, "mysqlinit REPEATABLE-READ", "-defaults-file", noDatabase, "/test?isolation=server&guard=true")
	check("an option file, and keys", exitOK, "no database", "/?isolation=server", "-defaults-file", noDatabase)
	check("an option file, and a DSN", exitError, "want one DSN", "-defaults-file", noDatabase, dsn)
	check("two", exitError, "want one DSN", "-dsn-file", file, dsn)
	check("no such file", exitError, "no such file", "-dsn-file", file+"x")
	check("no line", exitError, "no DSN", "-dsn-file", writeFile(t, "\n"))
	readFrom(t, file)
	check("standard input", exitOK, "as app@%", "-")
	t.Setenv(envDSN, dsn)
	check("the environment", exitOK, "as app@%")
	check("an argument goes before the environment", exitError, "1045", "app:hunter2@tcp("+s.Addr+")/test")
}

func TestOptionFile(t *testing.T) {
	t.Setenv("USER", "me")
	t.Setenv("MYSQL_UNIX_PORT", "")
	before := usualSockets
	usualSockets = nil
	t.Cleanup(func() { usualSockets = before })
	folder := t.TempDir()
	for name, text := range map[string]string{
		"a.cnf":     "[client]\nuser=a\npassword=first\nskip-ssl",
		"b.cnf":     "[mysqld]\nuser=mysql\n[client]\npassword=second",
		"ignored":   "[client]\npassword=third",
		"cycle.inc": "!include " + folder + "/cycle.inc",
	} {
		if err := os.WriteFile(filepath.Join(folder, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, test := range []struct {
		name, text, want string // a DSN
	}{
		{"all defaults", "[client]", "me@tcp(127.0.0.1:3306)/?tls=preferred"},
		{"other groups", "[mysqld]\nuser=mysql\n[client]\nuser = a\nskip-ssl\n[mysql]\nuser=b", "a@tcp(127.0.0.1:3306)/?tls=false"},
		{"MariaDB's groups", "[client-server]\nport=3307\n[client-mariadb]\nuser=a\nskip-ssl", "a@tcp(127.0.0.1:3307)/?tls=false"},
		{"quotes and comments", "# x\n; y\n[client] # z\nuser=a # b\npassword=\"p#:/@) 'q\\s\\d\\\"\"\nssl_mode = disabled", "a:p#:/@) 'q \\d\"@tcp(127.0.0.1:3306)/?tls=false"},
		{"Windows lines, no password, unknown options", "[client]\r\nuser=a\r\npassword=\r\ndefault-character-set=utf8mb4\r\nno-beep\r\nloose-skip-ssl\r\n", "a@tcp(127.0.0.1:3306)/?tls=false"},
		{"a socket", "[client]\nuser=a\nhost=localhost\nsocket=/run/mysqld.sock\ndatabase=a/b", "a@unix(/run/mysqld.sock)/a%2Fb"},
		{"a socket that is not used", "[client]\nuser=a\nhost=db\nport=3307\nsocket=/run/mysqld.sock\nssl=0", "a@tcp(db:3307)/?tls=false"},
		{"TCP to this machine", "[client]\nuser=a\nsocket=/run/mysqld.sock\nprotocol=TCP\nskip_ssl", "a@tcp(127.0.0.1:3306)/?tls=false"},
		{"IPv6", "[client]\nuser=a\nhost=::1\nskip-ssl", "a@tcp([::1]:3306)/?tls=false"},
		{"required", "[client]\nuser=a\nssl-mode=REQUIRED", "a@tcp(127.0.0.1:3306)/?tls=" + registeredTLS},
		{"ssl-mode before skip-ssl", "[client]\nuser=a\nssl-mode=REQUIRED\nskip-ssl", "a@tcp(127.0.0.1:3306)/?tls=" + registeredTLS},
		{"included", "[client]\nhost=db\n!includedir " + folder + "\nport=3307\n!include /nowhere.cnf\n", "a:second@tcp(db:3307)/?tls=false"},
		{"includes only", "!include " + folder + "/a.cnf", "a:first@tcp(127.0.0.1:3306)/?tls=false"},
	} {
		if got, err := clientDSN(writeFile(t, test.text)); err != nil || got != test.want {
			t.Errorf("%s: got %s, %v, want %s", test.name, got, err, test.want)
		}
	}
	for text, want := range map[string]string{
		"user=a":                                       "no group",
		"[client":                                      "line 1",
		"[client]\n!includedir /nowhere":               "line 2",
		"[client]\n!inclode /etc/x.cnf":                "want include",
		"!include " + folder + "/cycle.inc":            "too many",
		"[client]\nuser=a\npassword":                   "line 3: password without a value",
		"[client]\nuser=a:b":                           "cannot express",
		"[client]\nssl-mode=SOMETIMES":                 "VERIFY_IDENTITY",
		"[client]\nssl-mode=REQUIRED\nssl-ca=/nowhere": "no such file",
		"[client]\nssl-mode=VERIFY_CA":                 "needs an ssl-ca",
		"[client]\nssl-capath=/etc/ssl/certs":          "ssl-capath is not supported",
		"[client]\nssl-verify-server-cert\nssl-crl=/x": "ssl-crl is not supported",
	} {
		if got, err := clientDSN(writeFile(t, text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got %q, %v", text, got, err)
		}
	}
}

func TestOptionFileThatEverybodyCanWrite(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("Windows has no such permission")
	}
	path := writeFile(t, "[client]\nuser=a")
	if err := os.Chmod(path, 0o646); err != nil {
		t.Fatal(err)
	}
	if dsn, err := clientDSN(path); err == nil || !strings.Contains(err.Error(), "chmod o-w "+path) {
		t.Errorf("got %q, %v", dsn, err)
	}
}

// As for MySQL's programs, a file without a host means the server's socket.
func TestOptionFileFindsTheSocket(t *testing.T) {
	s := testserver.Borrow(t, testserver.Config{Binlog: "MIXED"})
	before := usualSockets
	usualSockets = []string{"/nowhere", s.Socket}
	t.Cleanup(func() { usualSockets = before })
	for text, want := range map[string]string{
		"[client]\nuser=a":                 "unix",
		"[client]\nuser=a\nhost=localhost": "unix",
		"[client]\nuser=a\nport=3307":      "tcp(127.0.0.1:3307)",
		"[client]\nuser=a\nprotocol=tcp":   "tcp(127.0.0.1:3306)",
	} {
		if got, err := clientDSN(writeFile(t, text)); err != nil || !strings.HasPrefix(got, "a@"+want) {
			t.Errorf("%q: got %q, %v", text, got, err)
		}
	}
	t.Setenv("MYSQL_UNIX_PORT", s.Socket)
	usualSockets = nil
	if got, err := clientDSN(writeFile(t, "[client]\nuser=a")); err != nil || got != "a@unix("+s.Socket+")/" {
		t.Errorf("MYSQL_UNIX_PORT: got %q, %v", got, err)
	}
}

func TestOptionFileWithTLS(t *testing.T) {
	s := testserver.New(t, testserver.Config{TLS: true, Args: []string{"--require-secure-transport=ON"}})
	_, port, _ := strings.Cut(s.Addr, ":")
	ca, _ := s.Certificate()
	for options, want := range map[string]int{
		"host=127.0.0.1":                                         exitOK, // TLS if the server offers it
		"ssl-mode=REQUIRED":                                      exitOK,
		"ssl-mode=VERIFY_CA":                                     exitError, // without an authority
		"ssl-mode=VERIFY_IDENTITY":                               exitError, // this machine does not know the authority
		"ssl-verify-server-cert":                                 exitError,
		"ssl-ca=" + ca:                                           exitOK,
		"ssl-mode=VERIFY_IDENTITY\nssl-ca=" + ca:                 exitOK,
		"host=localhost\nssl-ca=" + ca:                           exitOK, // VERIFY_CA ignores the name
		"host=localhost\nssl-mode=VERIFY_IDENTITY\nssl-ca=" + ca: exitError,
		"skip-ssl":                                               exitError,
	} {
		code, stdout, stderr := runCheck(t, "-defaults-file", writeFile(t, "[client]\nuser=app\nport="+port+"\n"+options))
		if code != want {
			t.Errorf("%s: exit code %d, %s%s", options, code, stdout, stderr)
		}
	}
}

func TestUsage(t *testing.T) {
	for _, test := range []struct {
		args []string
		code int
		want string // on standard output for exitOK, else on standard error
	}{
		{[]string{"-h"}, exitOK, "'user:password@tcp(127.0.0.1:3306)/app?isolation=server'"},
		{[]string{"check", "-h"}, exitOK, "-fail-on severity"},
		{[]string{"race", "--help"}, exitOK, "-workers number"},
		{[]string{"version"}, exitOK, "mysqlinit "},
		{[]string{"--version"}, exitOK, "mysqlinit "},
		{[]string{"rice"}, exitError, `unknown command "rice": want check, race, version or help`},
		{[]string{"check", "-jsn", "/a"}, exitError, "-jsn; see mysqlinit check -h"},
	} {
		var stdout, stderr bytes.Buffer
		code := run(t.Context(), test.args, &stdout, &stderr)
		text, other := &stdout, &stderr
		if test.code != exitOK {
			text, other = other, text
		}
		if code != test.code || !strings.Contains(text.String(), test.want) || other.Len() > 0 {
			t.Errorf("%q: exit code %d, %s%s", test.args, code, &stdout, &stderr)
		}
		checkWidth(t, text.String(), 80)
	}
}

// checkWidth fails the test if a line of text is wider than that.
func checkWidth(t *testing.T, text string, columns int) {
	t.Helper()
	for line := range strings.Lines(text) {
		if utf8.RuneCountInString(strings.TrimSuffix(line, "\n")) > columns {
			t.Errorf("wider than %d columns: %s", columns, line)
		}
	}
}
