package main

import (
	"cmp"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"github.com/go-sql-driver/mysql"
)

// This file makes a DSN of the group [client] of a MySQL option file, such as
// ~/.my.cnf.

// clientDSN returns the DSN that an option file stands for.
func clientDSN(path string) (string, error) {
	file := optionFile{options: map[string]string{}}
	if err := file.read(path, 0); err != nil {
		return "", err
	}
	if !file.hasGroup {
		return "", fmt.Errorf("%s: no group [client]", path)
	}
	dsn, err := dsnOf(file.options)
	if err != nil {
		return "", fmt.Errorf("%s: %w", path, err)
	}
	return dsn, nil
}

// dsnOf returns the DSN of the options of a client.
func dsnOf(options map[string]string) (_ string, err error) {
	cfg := mysql.NewConfig()
	cfg.User = cmp.Or(options["user"], os.Getenv("USER")) // as MySQL's programs do
	cfg.Passwd, cfg.DBName = options["password"], options["database"]
	host := options["host"]
	if socket := socketOf(options); socket != "" {
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

// usualSockets are where packages and builds of the servers put their socket.
var usualSockets = []string{"/run/mysqld/mysqld.sock", "/var/lib/mysql/mysql.sock", "/tmp/mysql.sock"}

// socketOf returns the socket to connect to, or "" for TCP. To MySQL's programs,
// no host and localhost mean the socket, which has a usual place.
func socketOf(options map[string]string) string {
	switch {
	case options["host"] != "" && options["host"] != "localhost", strings.EqualFold(options["protocol"], "tcp"):
		return ""
	case options["socket"] != "":
		return options["socket"]
	case options["port"] != "":
		return ""
	}
	for _, path := range append([]string{os.Getenv("MYSQL_UNIX_PORT")}, usualSockets...) {
		if info, err := os.Stat(path); err == nil && info.Mode()&os.ModeSocket != 0 {
			return path
		}
	}
	return ""
}

// optionFile is what has been read of an option file, and of those it includes. An
// option without a value has "". Names have '-' in place of '_'.
type optionFile struct {
	options  map[string]string
	hasGroup bool
}

// clientGroups are the groups that all clients read; the last two are MariaDB's.
var clientGroups = []string{"client", "client-server", "client-mariadb"}

// mostIncludes bounds how deep files include others, as MySQL's programs do.
const mostIncludes = 10

// notForAll refuses a file that everybody can write: it could send the password to
// another server. MySQL's programs ignore such a file. Windows has no such bits.
func notForAll(path string) error {
	info, err := os.Stat(path)
	if err == nil && info.Mode().IsRegular() && info.Mode().Perm()&0o002 != 0 && runtime.GOOS != "windows" {
		err = fmt.Errorf("%s can be written by everybody, so MySQL's programs ignore it: chmod o-w %s", path, path)
	}
	return err
}

func (o *optionFile) read(path string, depth int) error {
	if err := notForAll(path); err != nil {
		return err
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	inGroup, number := false, 0
	for line := range strings.Lines(string(text)) {
		number++
		line = strings.TrimSpace(line)
		switch {
		case line == "" || line[0] == '#' || line[0] == ';':
		case line[0] == '!':
			err = o.include(line, depth+1)
		case line[0] == '[':
			group, _, closed := strings.Cut(line[1:], "]")
			if !closed {
				err = errors.New("a group without ']'")
			}
			inGroup = slices.Contains(clientGroups, strings.TrimSpace(group))
			o.hasGroup = o.hasGroup || inGroup
		case inGroup:
			err = o.add(line)
		}
		if err != nil {
			return fmt.Errorf("%s, line %d: %w", path, number, err)
		}
	}
	return nil
}

// include reads the file, or the folder's files, that a line names. A file that is
// not there is left out, as MySQL's programs do.
func (o *optionFile) include(line string, depth int) error {
	if depth > mostIncludes {
		return errors.New("too many files that include others")
	}
	if folder, ok := strings.CutPrefix(line, "!includedir"); ok {
		folder = strings.TrimSpace(folder)
		entries, err := os.ReadDir(folder)
		for _, entry := range entries {
			if err == nil && filepath.Ext(entry.Name()) == ".cnf" {
				err = o.read(filepath.Join(folder, entry.Name()), depth)
			}
		}
		return err
	}
	file, ok := strings.CutPrefix(line, "!include")
	if !ok {
		return errors.New("after '!' want include or includedir")
	}
	file = strings.TrimSpace(file)
	if _, err := os.Stat(file); errors.Is(err, os.ErrNotExist) {
		return nil
	}
	return o.read(file, depth)
}

// add takes over the option of a line. A later one of the same name wins.
func (o *optionFile) add(line string) error {
	name, value, hasValue := strings.Cut(withoutComment(line), "=")
	name = strings.TrimPrefix(strings.ReplaceAll(strings.TrimSpace(name), "_", "-"), "loose-")
	if name == "pass" { // short for password
		name = "password"
	}
	if name == "password" && !hasValue {
		return errors.New("password without a value asks for one, which this command does not; 'password =' is none")
	}
	o.options[name] = unquoteOption(strings.TrimSpace(value))
	return nil
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
