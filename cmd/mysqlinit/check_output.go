package main

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"time"
	"unicode"
	"unicode/utf16"

	"github.com/mysqlinit/mysqlinit/inspect"
)

// This file writes what a check has found, for people and for programs.

func (c *checked) print(out *screen) error {
	var b strings.Builder
	if c.Failure != nil { // it is on standard error
		return nil
	}
	database := "no database (tables are not checked)"
	if c.Server.Database != "" {
		database = "database " + c.Server.Database
	}
	log := "off"
	if c.BinaryLog {
		log = "on"
	}
	verdict := good
	if worst := inspect.Worst(c.Findings); worst >= inspect.Warning {
		verdict = severityStyles[worst]
	}
	for _, line := range wrap(c.Verdict, out.width) {
		fmt.Fprintln(&b, out.paint(verdict, line))
	}
	if c.plainLoses() {
		for _, line := range wrap("Through the plain driver sessions are REPEATABLE READ, at which get-or-create in a transaction loses rows (see mysqlinit race)", out.width) {
			fmt.Fprintln(&b, out.paint(bold, line))
		}
	}
	b.WriteString("\n")
	for _, field := range []struct{ label, text string }{
		{"checked", c.Host + " at " + c.Time.Format(time.RFC3339) + " by " + c.Tool},
		{"server", fmt.Sprintf("%s %s, %s, as %s", c.Server.Vendor, c.Server.Version, database, c.Server.Account)},
		{"mysqlinit", describe(c.Mysqlinit)},
		{"plain", describe(c.Plain)},
		{"log_bin", log},
	} {
		b.WriteString(hanging(fmt.Sprintf("%-9s ", field.label), field.text, out.width))
	}
	for _, f := range c.Findings {
		b.WriteString("\n")
		for _, line := range wrap(f.Severity.String()+": "+f.What+" ["+f.ID+"]", out.width) {
			fmt.Fprintln(&b, out.paint(severityStyles[f.Severity], line))
		}
		b.WriteString(hanging("  why   ", f.Why, out.width))
		b.WriteString(hanging("  cure  ", f.Cure, out.width))
		for line := range strings.SplitSeq(f.Commands, "\n") { // not wrapped, so that it can be copied
			if f.Commands != "" {
				fmt.Fprintf(&b, "        %s\n", clean(line))
			}
		}
		fmt.Fprintf(&b, "  %s\n", f.Source) // on one line, so that it can be clicked
	}
	_, err := io.WriteString(out.w, b.String())
	return err
}

// printFailure writes what a ticket needs if the check failed: the step, where and
// when, and the cause.
func (c *checked) printFailure(out *screen) {
	out.paragraph(bad, "mysqlinit check: "+c.Failure.summary())
	fmt.Fprintln(out.w)
	fmt.Fprint(out.w, hanging("checked   ", c.place()+" by "+c.Tool, out.width), hanging("error     ", c.Failure.Text, out.width))
}

var severityStyles = map[inspect.Severity]style{inspect.Info: dim, inspect.Warning: bold, inspect.Error: bad}

// describe returns a session's settings in a few words. The session is nil if
// there was no connection.
func describe(s *inspect.State) string {
	if s == nil {
		return "no connection"
	}
	if s.BinlogFormat == "" {
		return s.Isolation
	}
	return s.Isolation + ", binlog_format " + s.BinlogFormat
}

// hanging returns the wrapped lines of a text with a label before the first. It
// returns nothing if there is no text.
func hanging(label, text string, width int) string {
	if text == "" {
		return ""
	}
	var b strings.Builder
	for _, line := range wrap(text, width-len(label)) {
		fmt.Fprintf(&b, "%s%s\n", label, line)
		label = strings.Repeat(" ", len(label))
	}
	return b.String()
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
