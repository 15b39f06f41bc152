package main

import (
	"fmt"
	"strings"
	"time"
)

// stepError says during which step a check failed, and after which time.
type stepError struct {
	Step    string  `json:"step"`
	Seconds float64 `json:"seconds"`
	Text    string  `json:"error"`
	err     error
}

func (e *stepError) Error() string { return e.summary() + ": " + e.Text }

func (e *stepError) summary() string {
	return fmt.Sprintf("%s failed after %.1f s", e.Step, e.Seconds)
}

func (e *stepError) Unwrap() error { return e.err }

// step does one step of a check.
func step(name string, do func() error) error {
	start := time.Now()
	err := do()
	if err == nil {
		return nil
	}
	return &stepError{
		Step:    name,
		Seconds: time.Since(start).Round(100 * time.Millisecond).Seconds(),
		Text:    strings.TrimPrefix(err.Error(), "mysqlinit: "),
		err:     err,
	}
}
