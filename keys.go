package mysqlinit

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/go-sql-driver/mysql"

	"github.com/mysqlinit/mysqlinit/internal/sysvar"
)

// ourKeys are the DSN keys of this package. Each is given the unescaped value.
var ourKeys = map[string]func(s *settings, value string) error{
	"isolation": func(s *settings, value string) error {
		if strings.EqualFold(value, "server") {
			return WithIsolation(0)(s)
		}
		level, ok := sysvar.ParseLevel(value)
		if !ok {
			return errors.New("want read-committed, repeatable-read, read-uncommitted, serializable or server")
		}
		return WithIsolation(level)(s)
	},
	"binlog": func(s *settings, value string) error {
		policy := slices.Index(binlogPolicyNames[:], strings.ToLower(value))
		if policy < 0 {
			return errors.New("want row, require-row, assert or server")
		}
		return WithBinlog(BinlogPolicy(policy))(s)
	},
	"initCommand":  func(s *settings, value string) error { return WithInitCommand(value)(s) },
	"init_command": func(s *settings, value string) error { return WithInitCommand(value)(s) },
	"verify":       boolean(WithVerify),
	"guard":        boolean(WithGuard),
	"connectTimeout": func(s *settings, value string) error {
		d, err := time.ParseDuration(strings.ToLower(value))
		if err != nil || d < 0 {
			return errors.New("want a Go duration that is not negative, such as 10s; 0 means no bound")
		}
		return WithConnectTimeout(d)(s)
	},
}

// boolean makes a key of an option that is on or off, with the values that the
// MySQL driver's own boolean keys have.
func boolean(with func(on bool) Option) func(s *settings, value string) error {
	return func(s *settings, value string) error {
		switch strings.ToLower(value) {
		case "true", "1":
			return with(true)(s)
		case "false", "0":
			return with(false)(s)
		}
		return errors.New("want true or false")
	}
}

// aliases are what people write out of habit instead of one of our keys, folded.
var aliases = map[string]string{
	"isolationlevel":            "isolation",
	"transactionisolation":      "isolation",
	"transactionisolationlevel": "isolation",
	"txisolation":               "isolation",
	"binlogformat":              "binlog (or binlog_format)",
	"binlogpolicy":              "binlog",
	"initcommands":              "initCommand",
	"initsql":                   "initCommand",
	"connectiontimeout":         "connectTimeout",
	// Those of JDBC and of the servers' own clients.
	"sslmode":           "tls",
	"usessl":            "tls",
	"characterencoding": "charset",
	"servertimezone":    "time_zone or loc",
}

// realVariables are system variables that look like a misspelling of a known key
// or an alias.
var realVariables = map[string]bool{
	"binlog_format": true, "max_allowed_packet": true, "connect_timeout": true,
	"transaction_isolation": true, "tx_isolation": true,
}

// driverOwns reports whether a key of a DSN is the MySQL driver's own. Only the
// driver knows, and its next version can have more keys: one that it does not
// leave in Config.Params is its own.
func driverOwns(key string) bool { return owns(tryParse, key) }

func owns(parse func(dsn string) (*mysql.Config, error), key string) bool {
	cfg, err := parse("/?" + key + "=1")
	if err != nil {
		return true // it wants another value
	}
	_, left := cfg.Params[key]
	return !left
}

// driverSpellings are DSN keys of the MySQL driver, to find misspelt ones by. They
// are read off the DSN that it formats for a Config in which nothing has its
// default. A key that no exported field and no option shows is missing.
var driverSpellings = sync.OnceValue(func() map[string]bool {
	cfg := mysql.NewConfig()
	v := reflect.ValueOf(cfg).Elem()
	for i := range v.NumField() {
		if !v.Type().Field(i).IsExported() {
			continue
		}
		switch f := v.Field(i); f.Kind() {
		case reflect.Bool:
			f.SetBool(!f.Bool())
		case reflect.String:
			f.SetString("x")
		case reflect.Int, reflect.Int64:
			f.SetInt(f.Int() + int64(time.Second))
		}
	}
	cfg.Loc = time.FixedZone("x", 0)
	// Options set what no exported field holds. The values only have to differ from
	// the defaults. They cannot fail.
	_ = cfg.Apply(mysql.EnableCompression(true), mysql.TimeTruncate(time.Second), mysql.Charset("x", "x"))
	_, params, _ := strings.Cut(cfg.FormatDSN(), "?")
	keys := make(map[string]bool)
	for param := range strings.SplitSeq(params, "&") {
		key, _, _ := strings.Cut(param, "=")
		keys[key] = true
	}
	return keys
})

// spellings maps every known key and alias, folded, to its right spelling.
var spellings = sync.OnceValue(func() map[string]string {
	right := make(map[string]string)
	for alias, key := range aliases {
		right[alias] = key
	}
	for key := range driverSpellings() {
		right[fold(key)] = key
	}
	for key := range ourKeys {
		right[fold(key)] = key
	}
	right["initcommand"] = "initCommand"
	return right
})

// fold makes the spellings of a key equal that differ in case, '_' and '-'.
func fold(key string) string {
	return strings.ToLower(strings.NewReplacer("_", "", "-", "").Replace(key))
}

// rightSpelling returns what a key is a misspelling of: a known key or an alias, in
// another case, with or without '_' or '-', or a known key one edit away. It
// returns "" if the key can be a variable. One edit away from an alias are real
// ones: sql_mode from sslMode.
func rightSpelling(key string) string {
	if realVariables[strings.ToLower(key)] || strings.HasPrefix(key, "@") { // such as the user variable @guard
		return ""
	}
	folded := fold(key)
	if right := spellings()[folded]; right != "" {
		return right
	}
	for known, right := range spellings() {
		if known == fold(right) && len(known) >= shortestMisspelt && oneEdit(folded, known) {
			return right
		}
	}
	return ""
}

// shortestMisspelt is the length of the shortest key that a misspelling is
// recognised of. Too much else is one edit away from tls and loc.
const shortestMisspelt = 5

// oneEdit reports whether two words differ by one letter too many, one too few,
// one wrong, or two neighbours swapped.
func oneEdit(a, b string) bool {
	if len(a) > len(b) {
		a, b = b, a
	}
	i := 0
	for i < len(a) && a[i] == b[i] {
		i++
	}
	restA, restB := a[i:], b[i:]
	switch len(restB) - len(restA) {
	case 1:
		return restA == restB[1:]
	case 0:
		wrong := len(restA) >= 1 && restA[1:] == restB[1:]
		swapped := len(restA) >= 2 && restA[0] == restB[1] && restA[1] == restB[0] && restA[2:] == restB[2:]
		return wrong || swapped
	}
	return false
}

// driverWants says which values a key of the driver's has. The driver's own error
// says so only along with the value. Except for names that are registered, the
// driver itself is asked.
func driverWants(key string) string {
	switch key {
	case "tls":
		return "want true, false, skip-verify, preferred, or a name registered before with mysql.RegisterTLSConfig"
	case "serverPubKey":
		return "want a name registered before with mysql.RegisterServerPubKey"
	}
	for _, kind := range []struct{ value, name string }{
		{"true", "true or false"},
		{"1s", "a Go duration, such as 30s"},
		{"1", "a whole number"},
		{"UTC", "the name of a time zone, such as UTC"},
	} {
		if _, err := tryParse("/?" + key + "=" + kind.value); err == nil {
			return "want " + kind.name
		}
	}
	return "the MySQL driver does not accept its value"
}

func tryParse(dsn string) (cfg *mysql.Config, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("%v", p)
		}
	}()
	return mysql.ParseDSN(dsn)
}
