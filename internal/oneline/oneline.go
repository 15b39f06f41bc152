// Package oneline makes a text that a server has sent fit for logs and terminals.
package oneline

import (
	"strings"
	"unicode"
)

// Text returns a text without line breaks and without anything else that steers
// a terminal, turns the direction of text or has no width. Of a longer text
// it returns the first bytes, up to most, and an ellipsis.
func Text(text string, most int) string {
	if len(text) > most {
		text = strings.ToValidUTF8(text[:most], "?") + "…"
	}
	return strings.Map(printable, strings.ToValidUTF8(text, "?"))
}

func printable(r rune) rune {
	if !unicode.IsPrint(r) {
		return ' '
	}
	return r
}
