package oneline

import "testing"

func TestText(t *testing.T) {
	for text, want := range map[string]string{
		"":                                 "",
		"ungültig: 構文 → 'a'":               "ungültig: 構文 → …",
		"a\x1b[2J\r\n\tb\x00\x7fc":         "a [2J   b  c",
		"a\u009b1m\u202eb\u2066\u200bc":    "a 1m b  c",
		"a\u2028b\ufeffc\u00a0d\u00ade":    "a b c d e",
		"a\xff\xfeb":                       "a?b",
		"twenty two bytes long.":           "twenty two bytes long.",
		"twenty-three bytes long":          "twenty-three bytes lon…",
		"twenty-two bytes and a ü":         "twenty-two bytes and a…",
		"cut in the middle of a…":          "cut in the middle of a…",
		"cut in the middle of …":           "cut in the middle of ?…",
		"\x1b\x1b\x1b\x1b\x1b\x1b\x1b\x1b": "        ",
	} {
		if got := Text(text, 22); got != want {
			t.Errorf("%q: got %q, want %q", text, got, want)
		}
	}
}
