package integration

import (
	"os"
	"regexp"
	"strings"
	"testing"
)

// TestDocsCodeCompiles looks for each block of Go in docs/interceptors.md in
// example_test.go, which the compiler has read.
func TestDocsCodeCompiles(t *testing.T) {
	docs, err := os.ReadFile("../docs/interceptors.md")
	if err != nil {
		t.Fatal(err)
	}
	compiled, err := os.ReadFile("example_test.go")
	if err != nil {
		t.Fatal(err)
	}
	// The indent, which differs, tells nothing.
	flat := func(text []byte) string { return regexp.MustCompile(`(?m)^[ \t]+`).ReplaceAllString(string(text), "") }
	blocks := regexp.MustCompile("(?s)```go\n(.*?)```").FindAllSubmatch(docs, -1)
	if len(blocks) < 5 {
		t.Fatalf("%d blocks of code", len(blocks))
	}
	for _, block := range blocks {
		if !strings.Contains(flat(compiled), flat(block[1])) {
			t.Errorf("not in example_test.go:\n%s", block[1])
		}
	}
}
