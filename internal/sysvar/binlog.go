package sysvar

// BinlogFormat is the variable that chooses what the binary log holds.
const BinlogFormat = "binlog_format"

// StatementFormatText is the value that the check of binlog_format gives the
// isolation level if the format is STATEMENT. No server takes it, and the
// server's error 1231 quotes it.
const StatementFormatText = "mysqlinit: binlog_format is STATEMENT"

// ParseBinlogFormat returns ROW, MIXED or STATEMENT if a text is one of these
// words, in quotes or without. It returns "" for any other expression.
func ParseBinlogFormat(text string) string {
	switch word := Word(text); word {
	case "ROW", "MIXED", "STATEMENT":
		return word
	}
	return ""
}
