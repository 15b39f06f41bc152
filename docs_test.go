package mysqlinit_test

import (
	"os"
	"regexp"
	"strings"
	"testing"
)

// TestDocsCodeCompiles looks for each block of Go in a document in the file of
// examples, which the compiler has read.
func TestDocsCodeCompiles(t *testing.T) {
	for document, examples := range map[string]string{
		"docs/check.md":         "inspect/example_test.go",
		"docs/get-or-create.md": "mysqltx/example_test.go",
		"docs/interceptors.md":  "integration/example_test.go",
	} {
		docs, err := os.ReadFile(document)
		if err != nil {
			t.Fatal(err)
		}
		compiled, err := os.ReadFile(examples)
		if err != nil {
			t.Fatal(err)
		}
		// The indent, which differs, tells nothing.
		flat := func(text []byte) string { return regexp.MustCompile(`(?m)^[ \t]+`).ReplaceAllString(string(text), "") }
		blocks := regexp.MustCompile("(?s)```go\n(.*?)```").FindAllSubmatch(docs, -1)
		if len(blocks) == 0 {
			t.Errorf("%s has no block of code", document)
		}
		for _, block := range blocks {
			if !strings.Contains(flat(compiled), flat(block[1])) {
				t.Errorf("%s: not in %s:\n%s", document, examples, block[1])
			}
		}
	}
}
