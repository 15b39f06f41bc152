package mysqlinit

import (
	"errors"
	"fmt"
	"maps"
	"net/url"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/go-sql-driver/mysql"
)

// ourKeys are the DSN keys of this package. Each is given the unescaped value.
var ourKeys = map[string]func(s *settings, value string) error{
	"isolation": func(s *settings, value string) error {
		if strings.EqualFold(value, "server") {
			return WithIsolation(0)(s)
		}
		level, ok := levelByName(value)
		if !ok {
			return errors.New("it takes read-committed, repeatable-read, read-uncommitted, serializable or server")
		}
		return WithIsolation(level)(s)
	},
	"binlog": func(s *settings, value string) error {
		policy := slices.Index(binlogPolicyNames[:], strings.ToLower(value))
		if policy < 0 {
			return errors.New("it takes row, require-row, assert or server")
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
			return errors.New("it takes a Go duration that is not negative, such as 10s; 0 means no bound")
		}
		return WithConnectTimeout(d)(s)
	},
}

// boolean makes a key of an option that is on or off. It takes what the MySQL
// driver takes.
func boolean(with func(on bool) Option) func(s *settings, value string) error {
	return func(s *settings, value string) error {
		switch strings.ToLower(value) {
		case "true", "1":
			return with(true)(s)
		case "false", "0":
			return with(false)(s)
		}
		return errors.New("it takes true or false")
	}
}

// aliases are what people write for one of our keys out of habit, folded.
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

// driverKeys are the DSN keys of the MySQL driver. They are read off the DSN
// that it formats for a Config in which nothing has its default, so that the
// keys of its next version are known too.
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
	// Options set what is no exported field; the values only have to differ
	// from the defaults. They cannot fail.
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

// variable is a system variable to set, as the DSN spells it.
type variable struct{ name, value string }

// variableName takes the scope from the spelling of a session variable.
var variableName = regexp.MustCompile("(?i)^\\s*(@@\\s*)?(?:(session|local|global|persist|persist_only)(?:\\s+|\\s*\\.\\s*))?`?([a-z_]+)`?\\s*$")

// bareName is the variable's name without its scope, in lower case.
func (v variable) bareName() string {
	name := v.name
	if match := variableName.FindStringSubmatch(name); match != nil {
		name = match[3]
	}
	return strings.ToLower(name)
}

// params is what a DSN or a Config asks of us, and says about the driver.
type params struct {
	settings  settings
	variables []variable // system variables to set, in the order written
	seen      map[string]bool

	sentByDriver      []variable // system variables that the driver sets itself
	changedByCallback bool       // a BeforeConnect may change any of it for one connection
	multiStatements   bool       // a query may be several statements
	dialTimeout       time.Duration
	driverConnects    bool // all by itself, but for what a TLS config may have in it
	heedsContext      bool // connecting ends with its context
	knowsDriver       bool // the driver's configuration was read: it is ours to make connections of
}

// readConfig notes what the driver's configuration says about it.
func (p *params) readConfig(cfg *mysql.Config) {
	p.knowsDriver = true
	p.changedByCallback = hasBeforeConnect(cfg)
	p.multiStatements = cfg.MultiStatements || p.changedByCallback
	p.dialTimeout = cfg.Timeout
	// The driver heeds it, and so does the net package; not all of the user's code.
	p.driverConnects = (cfg.Net == "tcp" || cfg.Net == "unix") && cfg.DialFunc == nil && !p.changedByCallback
	p.heedsContext = p.driverConnects && driversTLS[cfg.TLSConfig]
}

// driversTLS are the values of the DSN key tls that name no TLS config of the user's,
// which may have code in it.
var driversTLS = map[string]bool{"": true, "false": true, "true": true, "skip-verify": true, "preferred": true}

// add takes one parameter, its value unescaped.
func (p *params) add(key, value string) error {
	if set, ok := ourKeys[key]; ok {
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
	match := variableName.FindStringSubmatch(key)
	if match == nil {
		match = []string{key, "", "", key}
	}
	nextOnly, scope, name := match[1] != "" && match[2] == "", strings.ToLower(match[2]), strings.ToLower(match[3])
	switch right := folded()[fold(name)]; {
	case right == "" || realVariables[name]:
	case right == key: // the driver's, which reads them in DSNs only
		return fmt.Errorf("mysqlinit: key %q of Config.Params: it is a key of DSNs: set it with the Config's field or option of that name", key)
	default:
		return fmt.Errorf("mysqlinit: unknown DSN key %q: write %s", key, right)
	}
	if set := setsOurs(value); set != "" {
		return fmt.Errorf("mysqlinit: the value of DSN key %q also sets %s: give it a key of its own (isolation, binlog or binlog_format)", key, set)
	}
	if scope != "" && scope != "session" && scope != "local" {
		name = "" // not the session's
	}
	switch name {
	case "transaction_isolation", "tx_isolation":
		if nextOnly {
			return fmt.Errorf("mysqlinit: DSN key %q holds for the next transaction only: write isolation", key)
		}
		before := p.settings
		chosen := isolation{expr: value}
		if level, ok := levelByName(value); ok {
			chosen = isolation{level: level}
		}
		p.settings.isolation = given(chosen)
		return p.agree(key, before)
	case "binlog_format":
		before := p.settings
		p.settings.binlog = given(binlog{format: value})
		return p.agree(key, before)
	}
	// As in the driver's map the last value counts.
	p.variables = slices.DeleteFunc(p.variables, func(v variable) bool { return v.name == key })
	p.variables = append(p.variables, variable{key, value})
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
	// binlog_format=ROW beside binlog=row: keep the written format, which cannot
	// be given up for an assertion.
	if before.binlog.value.format != "" {
		p.settings.binlog = before.binlog
	}
	return nil
}

// setsOurs returns the variable of ours that a value would set as well, as
// '+00:00', tx_isolation='SERIALIZABLE' does: sent after our own items, it
// would silently win over them. A value that only reads one is fine.
func setsOurs(value string) string {
	// With multiStatements, more statements may follow.
	for _, statement := range splitTop(tokenize("SET value = "+value), ';') {
		for _, a := range assignments(statement) {
			switch a.name {
			case newName, oldName, "binlog_format", "transaction":
				return a.name
			}
		}
	}
	return ""
}

// parseDSN splits a DSN into what the MySQL driver is to have and what is ours.
// The driver's own part is left byte for byte. No error shows a value: in a
// malformed DSN it may be a part of the password.
func parseDSN(dsn string) (*mysql.Config, params, error) {
	var ours params
	head, query := splitDSN(dsn)
	if _, err := parseDriverDSN(head, nil); err != nil {
		return nil, params{}, err // what seem to be keys may be a part of the password
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
				rest = append(rest, param) // the driver passes over it
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

// splitDSN cuts a DSN before its parameters, where the driver cuts it: at the
// first '?' behind the last '/'.
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
			return nil, fmt.Errorf("mysqlinit: DSN key %q: %s", key, driverTakes(key))
		}
	}
	// The driver's errors of this form are fixed texts.
	if text, ok := strings.CutPrefix(err.Error(), "invalid DSN: "); ok {
		return nil, fmt.Errorf("mysqlinit: invalid DSN: %s; it has the form user:password@net(address)/database?key=value, and a '/' in a value is written %%2F", text)
	}
	return nil, errors.New("mysqlinit: invalid DSN: the part before its parameters is malformed; it has the form user:password@net(address)/database?key=value, and a '/' or '%' in the database's name is escaped (url.PathEscape), a '/' in a value written %2F")
}

// driverTakes says what a key of the driver's takes, which its own error does not
// without the value. Where it is no name to be registered, the driver is asked.
func driverTakes(key string) string {
	switch key {
	case "tls":
		return "it takes true, false, skip-verify, preferred, or a name registered before with mysql.RegisterTLSConfig"
	case "serverPubKey":
		return "it takes a name registered before with mysql.RegisterServerPubKey"
	}
	for _, kind := range []struct{ value, takes string }{
		{"true", "true or false"},
		{"1s", "a Go duration, such as 30s"},
		{"1", "a whole number"},
		{"UTC", "the name of a time zone, such as UTC"},
	} {
		if _, err := tryParse("/?" + key + "=" + kind.value); err == nil {
			return "it takes " + kind.takes
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

// takeParams removes from a private copy of a Config what is ours in its Params.
// What the user's own variables say stays there, for the driver to send.
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
	ours.heedsContext = ours.heedsContext && cfg.TLS == nil
	return ours, errors.Join(errs...)
}

// hasBeforeConnect tells whether a Config has a callback that may change a copy
// of it for each connection. The field is not exported; where a version of the
// driver has none of that name, assume one.
func hasBeforeConnect(cfg *mysql.Config) bool {
	f := reflect.ValueOf(cfg).Elem().FieldByName("beforeConnect")
	return !f.IsValid() || !f.IsZero()
}
