package main

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"unicode"
	"unicode/utf16"

	"github.com/mysqlinit/mysqlinit/inspect"
)

// This file writes what a check has found, for people and for programs.

func (c *checked) print(out *screen) error {
	var b strings.Builder
	database := "no database"
	if c.Server.Database != "" {
		database = "database " + c.Server.Database
	}
	log := "off"
	if c.BinaryLog {
		log = "on"
	}
	fmt.Fprintf(&b, "server    %s %s, %s, as %s\n", c.Server.Vendor, clean(c.Server.Version), clean(database), clean(c.Server.Account))
	fmt.Fprintf(&b, "mysqlinit %s\n", describe(c.Mysqlinit))
	fmt.Fprintf(&b, "plain     %s\n", describe(c.Plain))
	fmt.Fprintf(&b, "log_bin   %s\n", log)

	tally := map[inspect.Severity]int{}
	for _, f := range c.Findings {
		tally[f.Severity]++
		fmt.Fprintf(&b, "\n%s %s %s\n", out.paint(severityStyles[f.Severity], f.Severity.String()+":"), out.paint(bold, clean(f.What)), out.paint(dim, "["+f.ID+"]"))
		b.WriteString(hanging("why", f.Why))
		b.WriteString(hanging("cure", f.Cure))
		fmt.Fprintf(&b, "  see   %s\n", f.Source) // on one line, so that it can be clicked
	}
	fmt.Fprintf(&b, "\n%s, %s, %d info\n", plural(tally[inspect.Error], "error"), plural(tally[inspect.Warning], "warning"), tally[inspect.Info])
	_, err := io.WriteString(out.w, b.String())
	return err
}

var severityStyles = map[inspect.Severity]style{inspect.Info: dim, inspect.Warning: bold, inspect.Error: bad}

// describe returns a session's settings in a few words. The session is nil if
// there was no connection.
func describe(s *inspect.State) string {
	if s == nil {
		return "no connection"
	}
	if s.BinlogFormat == "" {
		return clean(s.Isolation)
	}
	return clean(s.Isolation + ", binlog_format " + s.BinlogFormat)
}

// hanging returns the lines of a text with a label before the first. It returns
// nothing if there is no text.
func hanging(label, text string) string {
	if text == "" {
		return ""
	}
	var b strings.Builder
	for _, line := range wrap(text, width-8) {
		fmt.Fprintf(&b, "  %-5s %s\n", label, line)
		label = ""
	}
	return b.String()
}

func plural(n int, word string) string {
	if n == 1 {
		return "1 " + word
	}
	return fmt.Sprintf("%d %ss", n, word)
}

func (c *checked) writeJSON(w io.Writer) error {
	var b strings.Builder
	encoder := json.NewEncoder(&b)
	encoder.SetIndent("", "  ")
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(c); err != nil {
		return err
	}
	_, err := io.WriteString(w, escape(b.String()))
	return err
}

// escape replaces what a terminal would obey by JSON's escapes. Package json
// leaves most of it in its strings.
func escape(text string) string {
	var b strings.Builder
	for _, r := range text {
		if unicode.IsPrint(r) || r == '\n' {
			b.WriteRune(r)
			continue
		}
		for _, unit := range utf16.Encode([]rune{r}) {
			fmt.Fprintf(&b, `\u%04x`, unit)
		}
	}
	return b.String()
}
