package main

import (
	"fmt"
	"os"
	"path"
	"strings"
)

// A rule allows tests to be skipped.
type rule struct{ pkg, test, why string }

// readRules reads a file with a rule per line: PACKAGE TEST # why. TEST may have wildcards, as in path.Match, one for
// each level of subtests.
func readRules(file string) (rules []rule, err error) {
	b, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	for i, line := range strings.Split(string(b), "\n") {
		if line = strings.TrimSpace(line); line == "" || line[0] == '#' {
			continue
		}
		fields, why, ok := strings.Cut(line, "#")
		words := strings.Fields(fields)
		if !ok || len(words) != 2 || strings.TrimSpace(why) == "" {
			return nil, fmt.Errorf("%s:%d: want PACKAGE TEST # why", file, i+1)
		}
		if _, err := path.Match(words[1], ""); err != nil {
			return nil, fmt.Errorf("%s:%d: %w", file, i+1, err)
		}
		rules = append(rules, rule{words[0], words[1], strings.TrimSpace(why)})
	}
	return rules, nil
}

// allowed returns why a test may be skipped, or "".
func allowed(rules []rule, n name) string {
	for _, r := range rules {
		if ok, err := path.Match(r.test, n.test); err == nil && ok && r.pkg == n.pkg {
			return r.why
		}
	}
	return ""
}
