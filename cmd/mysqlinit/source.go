package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
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
	given := len(args)
	for _, file := range []string{s.dsnFile, s.defaultsFile} {
		if file != "" {
			given++
		}
	}
	switch {
	case given > 1:
		return "", errors.New("want one DSN: as an argument, from standard input (-), -dsn-file or -defaults-file")
	case s.dsnFile != "":
		text, err := os.ReadFile(s.dsnFile)
		return oneLine(text, s.dsnFile, err)
	case s.defaultsFile != "":
		text, err := os.ReadFile(s.defaultsFile)
		if err != nil {
			return "", err
		}
		dsn, err := clientDSN(string(text))
		if err != nil {
			return "", fmt.Errorf("%s: %w", s.defaultsFile, err)
		}
		return dsn, nil
	case given == 1 && args[0] == "-":
		text, err := io.ReadAll(os.Stdin)
		return oneLine(text, "standard input", err)
	case given == 1:
		return args[0], nil
	}
	return os.Getenv(envDSN), nil
}

// oneLine returns the line that a file with a DSN has.
func oneLine(text []byte, name string, err error) (string, error) {
	dsn := strings.TrimSpace(string(text))
	if err == nil && (dsn == "" || strings.Contains(dsn, "\n")) {
		err = fmt.Errorf("%s has no DSN, or more than one line", name)
	}
	return dsn, err
}
