// Package document writes generated text into a document that is otherwise written
// by hand.
package document

import (
	"fmt"
	"os"
	"strings"
)

// Replace replaces what stands between two marks in the file.
func Replace(name, begin, end, text string) error {
	document, err := os.ReadFile(name)
	if err != nil {
		return err
	}
	before, rest, ok := strings.Cut(string(document), begin)
	_, after, ok2 := strings.Cut(rest, end)
	if !ok || !ok2 {
		return fmt.Errorf("%s lacks the marks %s and %s", name, begin, end)
	}
	return os.WriteFile(name, []byte(before+begin+"\n\n"+text+end+after), 0o644)
}
