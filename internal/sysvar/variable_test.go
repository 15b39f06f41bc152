package sysvar

import "testing"

func TestPublicValues(t *testing.T) {
	for _, test := range []struct {
		name, value string
		public      bool
	}{
		{"time_zone", "'+02:00'", true},
		{"@@SESSION.time_zone", "'+02:00'", true},
		{"sql_mode", "STRICT_TRANS_TABLES,NO_ZERO_DATE", true},
		{"sql_mode", "CONCAT(@@sql_mode, ',ANSI')", true},
		{"optimizer_switch", "'derived_merge=off'", true},
		{"foreign_key_checks", "0", true},
		{"@tenant", "'acme'", false},
		{" @tenant", "'acme'", false},
		{"api_key", "'x'", false},
		{"PASSWORD", "'x'", false},
		{"@@keyring_path", "'x'", false},
		{"sql_mode", "'ANSI', @tenant = 'acme'", false},
		{"sql_mode", "'ANSI', PASSWORD = 'x'", false},
		{"sql_mode", "(@tenant := 'acme')", false},
		{"sql_mode", "'ANSI\\', @tenant = 'acme'", false},
	} {
		if got := (Variable{test.name, test.value}).IsPublic(); got != test.public {
			t.Errorf("%s = %s: got %v", test.name, test.value, got)
		}
	}
}
