// Package oneline makes texts that a server has sent safe for logs and terminals.
package oneline

import (
	"strings"
	"unicode"
)

// Text replaces everything in a text that is not printable with spaces: line
// breaks, sequences that control a terminal, characters that change the direction
// of text or have no width. If the text has more than most bytes, Text cuts it
// there and adds an ellipsis.
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
