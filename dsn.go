package mysqlinit

import (
	"errors"
	"fmt"
	"maps"
	"net/url"
	"reflect"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/go-sql-driver/mysql"

	"github.com/mysqlinit/mysqlinit/internal/session"
	"github.com/mysqlinit/mysqlinit/internal/sqltext"
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
}

// realVariables are system variables that fold to a known key or an alias.
var realVariables = map[string]bool{
	"binlog_format": true, "max_allowed_packet": true, "connect_timeout": true,
	"transaction_isolation": true, "tx_isolation": true,
}

// driverKeys are the DSN keys of the MySQL driver. They are read off the DSN that
// it formats for a Config in which nothing has its default, so that the keys of
// its next version are known too.
var driverKeys = sync.OnceValue(func() map[string]bool {
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

// folded maps every known key, folded, to its right spelling.
var folded = sync.OnceValue(func() map[string]string {
	spelling := make(map[string]string)
	for alias, key := range aliases {
		spelling[alias] = key
	}
	for key := range driverKeys() {
		spelling[fold(key)] = key
	}
	for key := range ourKeys {
		spelling[fold(key)] = key
	}
	spelling["initcommand"] = "initCommand"
	return spelling
})

func fold(key string) string { return strings.ToLower(strings.ReplaceAll(key, "_", "")) }

// params is what a DSN or a Config asks of us, and what it says about the driver.
type params struct {
	settings  settings
	variables []sysvar.Variable // system variables to set, in the order written
	seen      map[string]bool   // our keys

	sentByDriver      []sysvar.Variable // system variables that the driver sets itself
	changedByCallback bool              // a BeforeConnect can change any of it for one connection
	multiStatements   bool              // a query can be several statements
	dialTimeout       time.Duration
	origin            origin
}

// origin says whose code takes part in making a connection.
type origin byte

const (
	foreign             origin = iota // a connector given to Wrap: nothing is known
	driverWithUserCode                // the MySQL driver, with a dialer or a callback of the user's
	driverWithTLSConfig               // the MySQL driver; its TLS config can have code of the user's in it
	driverAlone                       // the MySQL driver and the net package, which heed a context
)

// readConfig notes what the driver's configuration says about it.
func (p *params) readConfig(cfg *mysql.Config) {
	p.changedByCallback = hasBeforeConnect(cfg)
	p.multiStatements = cfg.MultiStatements || p.changedByCallback
	p.dialTimeout = cfg.Timeout
	switch {
	case cfg.Net != "tcp" && cfg.Net != "unix", cfg.DialFunc != nil, p.changedByCallback:
		p.origin = driverWithUserCode
	case !driversTLS[cfg.TLSConfig]:
		p.origin = driverWithTLSConfig
	default:
		p.origin = driverAlone
	}
}

// driversTLS are the values of the DSN key tls that do not name a TLS config of
// the user's, which can have code in it.
var driversTLS = map[string]bool{"": true, "false": true, "true": true, "skip-verify": true, "preferred": true}

// add takes one parameter, its value unescaped.
func (p *params) add(key, value string) error {
	if set, ok := ourKeys[key]; ok {
		return p.addOurs(key, value, set)
	}
	name, ok := sysvar.ParseName(key)
	if !ok {
		name.Bare = strings.ToLower(key)
	}
	if err := lookAlike(key, name.Bare); err != nil {
		return err
	}
	return p.addVariable(sysvar.Variable{Name: key, Value: value}, name)
}

// addOurs takes one of our own keys.
func (p *params) addOurs(key, value string, set func(*settings, string) error) error {
	if p.seen[key] && fold(key) != "initcommand" {
		return fmt.Errorf("mysqlinit: DSN key %q is given twice", key)
	}
	if p.seen == nil {
		p.seen = make(map[string]bool)
	}
	p.seen[key] = true
	before := p.settings
	if err := set(&p.settings, value); err != nil {
		return fmt.Errorf("mysqlinit: DSN key %q: %s", key, strings.TrimPrefix(err.Error(), "mysqlinit: "))
	}
	return p.agree(key, before)
}

// lookAlike refuses a key that is nearly one of ours or of the driver's. The
// server would refuse it later, as a variable that it does not know.
func lookAlike(key, bareName string) error {
	switch right := folded()[fold(bareName)]; {
	case right == "" || realVariables[bareName]:
		return nil
	case right == key: // the driver's, which reads its keys in DSNs only
		return fmt.Errorf("mysqlinit: key %q of Config.Params: it is a key of DSNs: set it with the Config's field or option of that name", key)
	default:
		return fmt.Errorf("mysqlinit: unknown DSN key %q: write %s", key, right)
	}
}

// addVariable takes a system variable. The two that we set ourselves are choices
// of our settings.
func (p *params) addVariable(v sysvar.Variable, name sysvar.Name) error {
	if also := setsOurs(v.Value); also != "" {
		return fmt.Errorf("mysqlinit: the value of DSN key %q also sets %s: give it a key of its own (isolation, binlog or binlog_format)", v.Name, also)
	}
	before := p.settings
	switch {
	case !name.OfSession():
	case name.Bare == sysvar.TransactionIsolation || name.Bare == sysvar.TxIsolation:
		if name.At && name.Scope == "" {
			return fmt.Errorf("mysqlinit: DSN key %q holds for the next transaction only: write isolation", v.Name)
		}
		chosen := session.Isolation{Expr: v.Value}
		if level, ok := sysvar.ParseLevel(v.Value); ok {
			chosen = session.Isolation{Level: level}
		}
		p.settings.isolation = given(chosen)
		return p.agree(v.Name, before)
	case name.Bare == sysvar.BinlogFormat:
		p.settings.binlog = given(binlog{format: v.Value})
		return p.agree(v.Name, before)
	}
	// As in the driver's map, the last value of a name wins.
	p.variables = slices.DeleteFunc(p.variables, func(other sysvar.Variable) bool { return other.Name == v.Name })
	p.variables = append(p.variables, v)
	return nil
}

// agree refuses a parameter that contradicts one before it.
func (p *params) agree(key string, before settings) error {
	if before.isolation.contradicts(p.settings.isolation, sameIsolation) {
		return fmt.Errorf("mysqlinit: DSN key %q contradicts another choice of the isolation level in the same DSN: keep one (isolation, transaction_isolation and tx_isolation mean the same)", key)
	}
	if before.binlog.contradicts(p.settings.binlog, sameBinlog) {
		return fmt.Errorf("mysqlinit: DSN key %q contradicts another choice of the binlog format in the same DSN: keep one of binlog and binlog_format", key)
	}
	// With both binlog_format=ROW and binlog=row, keep the written format, which
	// cannot be given up for an assertion.
	if before.binlog.value.format != "" {
		p.settings.binlog = before.binlog
	}
	return nil
}

// setsOurs returns the variable of ours that a value would set as well, as
// '+00:00', tx_isolation='SERIALIZABLE' does. Sent after our own items, it would
// silently override them. A value that only reads such a variable is fine.
func setsOurs(value string) string {
	for _, a := range sqltext.Assignments("SET value = " + value) {
		switch a.Name {
		case sysvar.TransactionIsolation, sysvar.TxIsolation, sysvar.BinlogFormat, "transaction":
			return a.Name
		}
	}
	return ""
}

// parseDSN splits a DSN into the driver's part, which is left byte for byte, and
// ours. No error shows a value: in a malformed DSN it can be a part of the
// password.
func parseDSN(dsn string) (*mysql.Config, params, error) {
	var ours params
	head, query := splitDSN(dsn)
	if _, err := parseDriverDSN(head, nil); err != nil {
		return nil, params{}, err // what seems to be a key can be a part of the password
	}
	var rest []string
	var errs []error
	for param := range strings.SplitSeq(query, "&") {
		key, escaped, hasValue := strings.Cut(param, "=")
		switch {
		case !hasValue:
			if ourKeys[key] != nil {
				errs = append(errs, fmt.Errorf("mysqlinit: DSN key %[1]q has no value: write %[1]s=…", key))
			} else if param != "" {
				rest = append(rest, param) // the driver ignores it
			}
			continue
		case driverKeys()[key] || key == "strict":
			rest = append(rest, param)
			continue
		}
		value, err := url.QueryUnescape(escaped)
		if err != nil {
			errs = append(errs, fmt.Errorf("mysqlinit: DSN key %q: its value is not query-escaped (url.QueryEscape): a %% must be written %%25", key))
			continue
		}
		errs = append(errs, ours.add(key, value))
	}
	if len(rest) > 0 {
		head += "?" + strings.Join(rest, "&")
	}
	cfg, err := parseDriverDSN(head, rest)
	errs = append(errs, err)
	if err := errors.Join(errs...); err != nil {
		return nil, params{}, err
	}
	ours.readConfig(cfg)
	return cfg, ours, nil
}

// splitDSN splits a DSN where the driver does: at the first '?' after the last
// '/'.
func splitDSN(dsn string) (head, query string) {
	slash := strings.LastIndexByte(dsn, '/')
	if slash < 0 {
		return dsn, ""
	}
	if mark := strings.IndexByte(dsn[slash:], '?'); mark >= 0 {
		return dsn[:slash+mark], dsn[slash+mark+1:]
	}
	return dsn, ""
}

// parseDriverDSN is mysql.ParseDSN with its panic and its errors, which quote
// parts of the DSN, turned into errors that name the key at fault.
func parseDriverDSN(dsn string, query []string) (*mysql.Config, error) {
	cfg, err := tryParse(dsn)
	if err == nil {
		return cfg, nil
	}
	for _, param := range query {
		if _, err := tryParse("/?" + param); err != nil {
			key, _, _ := strings.Cut(param, "=")
			if key == "strict" {
				return nil, errors.New(`mysqlinit: DSN key "strict": the MySQL driver has removed it: take it out, and set sql_mode instead`)
			}
			return nil, fmt.Errorf("mysqlinit: DSN key %q: %s", key, driverWants(key))
		}
	}
	// The driver's errors of this form are fixed texts.
	if text, ok := strings.CutPrefix(err.Error(), "invalid DSN: "); ok {
		return nil, fmt.Errorf("mysqlinit: invalid DSN: %s; want user:password@net(address)/database?key=value, with a '/' in a value written %%2F", text)
	}
	return nil, errors.New("mysqlinit: invalid DSN: the part before its parameters is malformed; want user:password@net(address)/database?key=value, with a '/' or '%' in the database's name escaped (url.PathEscape), and a '/' in a value written %2F")
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

// takeParams removes our keys from the Params of a private copy of a Config. The
// user's own variables stay there; the driver sends them.
func takeParams(cfg *mysql.Config) (params, error) {
	var ours params
	var errs []error
	for _, key := range slices.Sorted(maps.Keys(cfg.Params)) {
		kept := len(ours.variables)
		if err := ours.add(key, cfg.Params[key]); err != nil {
			errs = append(errs, err)
		} else if len(ours.variables) == kept {
			delete(cfg.Params, key)
		}
	}
	ours.variables, ours.sentByDriver = nil, ours.variables
	ours.readConfig(cfg)
	if cfg.TLS != nil && ours.origin == driverAlone {
		ours.origin = driverWithTLSConfig
	}
	return ours, errors.Join(errs...)
}

// hasBeforeConnect reports whether a Config has a callback that can change a copy
// of it for each connection. The field is not exported. If a version of the
// driver has no field of that name, the callback is assumed.
func hasBeforeConnect(cfg *mysql.Config) bool {
	f := reflect.ValueOf(cfg).Elem().FieldByName("beforeConnect")
	return !f.IsValid() || !f.IsZero()
}
