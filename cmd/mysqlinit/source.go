package main

import (
	"cmp"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
)

// envDSN names the environment variable with the DSN that is used if no other is
// given.
const envDSN = "MYSQLINIT_DSN"

// source is where a command takes its DSN from, if that is not an argument:
// everyone who can list processes sees the arguments, with the password.
type source struct{ dsnFile, defaultsFile string }

func (s *source) register(flags *flag.FlagSet) {
	flags.StringVar(&s.dsnFile, "dsn-file", "", "read the DSN from this `file`")
	flags.StringVar(&s.defaultsFile, "defaults-file", "", "read the group [client] of this MySQL option `file`")
}

// dsn returns the DSN, or "" if there is none.
func (s *source) dsn(args []string) (string, error) {
	own := "" // what the argument adds to an option file
	if s.defaultsFile != "" && len(args) == 1 && strings.HasPrefix(args[0], "/") {
		own, args = args[0], nil
	}
	given := len(args)
	for _, file := range []string{s.dsnFile, s.defaultsFile} {
		if file != "" {
			given++
		}
	}
	switch {
	case given > 1:
		return "", errors.New("want one DSN: as an argument, from standard input (-), -dsn-file or -defaults-file; an argument such as '/app?isolation=server' can be added to -defaults-file")
	case s.dsnFile != "":
		text, err := os.ReadFile(fromHome(s.dsnFile))
		return oneLine(text, s.dsnFile, err)
	case s.defaultsFile != "":
		dsn, err := clientDSN(fromHome(s.defaultsFile))
		return withOwn(dsn, own), err
	case given == 1 && args[0] == "-":
		text, err := io.ReadAll(os.Stdin)
		return oneLine(text, "standard input", err)
	case given == 1:
		return args[0], nil
	}
	return os.Getenv(envDSN), nil
}

// fromHome resolves a leading "~/", which shells leave alone in -dsn-file=~/x.
func fromHome(path string) string {
	rest, ok := strings.CutPrefix(path, "~/")
	home, err := os.UserHomeDir()
	if !ok || err != nil {
		return path
	}
	return filepath.Join(home, rest)
}

// withOwn adds the database and the keys of an argument, such as
// "/app?isolation=server", to the DSN of an option file.
func withOwn(dsn, own string) string {
	slash := strings.LastIndexByte(dsn, '/')
	if own == "" || slash < 0 {
		return dsn
	}
	database, keys, _ := strings.Cut(dsn[slash+1:], "?")
	ownDatabase, ownKeys, _ := strings.Cut(own[1:], "?")
	dsn = dsn[:slash+1] + cmp.Or(ownDatabase, database)
	separator := "?"
	for _, more := range []string{keys, ownKeys} {
		if more != "" {
			dsn += separator + more
			separator = "&"
		}
	}
	return dsn
}

// oneLine returns the line that a file with a DSN has.
func oneLine(text []byte, name string, err error) (string, error) {
	dsn := strings.TrimSpace(string(text))
	if err == nil && (dsn == "" || strings.Contains(dsn, "\n")) {
		err = fmt.Errorf("%s has no DSN, or more than one line", name)
	}
	return dsn, err
}
