package sqltext

import "strings"

// QuoteAccount returns an account that CURRENT_USER() shows, such as app@%, as a
// GRANT wants it: 'app'@'%'.
func QuoteAccount(account string) string {
	at := strings.LastIndexByte(account, '@')
	if at < 0 {
		return QuoteText(account)
	}
	return QuoteText(account[:at]) + "@" + QuoteText(account[at+1:])
}

// QuoteText returns a text as an SQL string.
func QuoteText(text string) string {
	return "'" + strings.NewReplacer(`\`, `\\`, "'", "''").Replace(text) + "'"
}

// QuoteName returns a name as an SQL identifier.
func QuoteName(name string) string { return "`" + strings.ReplaceAll(name, "`", "``") + "`" }
