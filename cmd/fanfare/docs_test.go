package main

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// The documents are tested like code. A fenced block is run or checked, according to
// its language:
//
//	sh           run, in order, in one directory per document     docs_commands_test.go
//	json         parsed; after a paragraph "answers" compared
//	             with the output of the commands before it        docs_commands_test.go
//	js           run by node against servers and faults           docs_client_test.go
//	nginx,
//	haproxy,
//	caddyfile    used by that proxy, with clients through it      docs_proxy_test.go
//	nats         used by the NATS server of the next commands     docs_commands_test.go
//	go           compiled                                         docs_go_test.go
//
// Any other block, and one that cannot run here, follows a line
//
//	<!-- not run: REASON -->
var docLanguages = []string{"sh", "json", "js", "nginx", "haproxy", "caddyfile", "nats", "go"}

// block is a fenced block of a document.
type block struct {
	file   string // relative to the root of the repository
	line   int
	lang   string
	text   string
	notRun string // reason
	answer bool   // follows a paragraph "answers"
}

func (b *block) String() string { return fmt.Sprintf("%s:%d", b.file, b.line) }

const docRoot = "../.."

// documents are the files with their text.
func documents(t *testing.T) map[string]string {
	t.Helper()
	files := []string{"README.md", "CONTRIBUTING.md", "SECURITY.md"}
	more, err := filepath.Glob(docRoot + "/docs/*.md")
	if err != nil || len(more) < 7 {
		t.Fatalf("found %q: %v", more, err)
	}
	for _, f := range more {
		files = append(files, "docs/"+filepath.Base(f))
	}
	texts := make(map[string]string)
	for _, f := range files {
		text, err := os.ReadFile(filepath.Join(docRoot, f))
		if err != nil {
			t.Fatal(err)
		}
		texts[f] = string(text)
	}
	return texts
}

func document(t *testing.T, file string) string {
	t.Helper()
	text, ok := documents(t)[file]
	if !ok {
		t.Fatalf("there is no %s", file)
	}
	return text
}

var notRun = regexp.MustCompile(`^<!-- not run: (.*) -->$`)

// blocks returns the fenced blocks of a document, and what is wrong with their form.
func blocks(file, text string) (all []*block, wrong []string) {
	var open *block
	reason, previous := "", ""
	for i, line := range strings.Split(text, "\n") {
		switch {
		case open != nil && line == "```":
			all = append(all, open)
			open = nil
		case open != nil:
			open.text += line + "\n"
		case strings.HasPrefix(line, "```"):
			open = &block{file: file, line: i + 1, lang: line[3:], notRun: reason, answer: previous == "answers"}
			reason, previous = "", ""
		case notRun.MatchString(line):
			reason = notRun.FindStringSubmatch(line)[1]
		case strings.TrimSpace(line) != "":
			if reason != "" {
				wrong = append(wrong, fmt.Sprintf("%s:%d: no block follows the marker", file, i+1))
				reason = ""
			}
			previous = line
		}
	}
	if open != nil {
		wrong = append(wrong, open.String()+": the block has no end")
	}
	for _, b := range all {
		if b.notRun == "" && !slices.Contains(docLanguages, b.lang) {
			wrong = append(wrong, fmt.Sprintf("%s: nothing checks a block of %q: mark it <!-- not run: REASON -->", b, b.lang))
		}
	}
	return all, wrong
}

// docBlocks returns the blocks of a language that are to be run.
func docBlocks(t *testing.T, file, lang string) (of []*block) {
	t.Helper()
	all, _ := blocks(file, document(t, file))
	for _, b := range all {
		if b.lang == lang && b.notRun == "" {
			of = append(of, b)
		}
	}
	return of
}

// TestDocsBlocks checks that every fenced block is run, or says why not.
func TestDocsBlocks(t *testing.T) {
	for file, text := range documents(t) {
		all, wrong := blocks(file, text)
		for _, w := range wrong {
			t.Error(w)
		}
		for _, b := range all {
			if b.notRun != "" {
				t.Logf("%s: not run: %s", b, b.notRun)
			}
		}
	}
	// What the check is for.
	for _, text := range []string{
		"```yaml\na: 1\n```\n",
		"<!-- not run: no reason to exist -->\nA paragraph.\n",
		"```sh\nls\n",
	} {
		if _, wrong := blocks("x", text); len(wrong) != 1 {
			t.Errorf("%q: found %q", text, wrong)
		}
	}
}

// TestDocsLinks follows the links between documents, and to files.
func TestDocsLinks(t *testing.T) {
	texts := documents(t)
	for _, more := range []string{"bench/README.md", "examples/README.md", "CHANGELOG.md"} {
		text, err := os.ReadFile(filepath.Join(docRoot, more))
		if err != nil {
			t.Fatal(err)
		}
		texts[more] = string(text)
	}
	links := regexp.MustCompile(`\]\(([^)\s]+)\)`)
	fences := regexp.MustCompile("(?ms)^```.*?^```$")
	headings := make(map[string][]string)
	for file, text := range texts {
		headings[file] = anchors(text)
	}
	n := 0
	for file, text := range texts {
		for _, m := range links.FindAllStringSubmatch(fences.ReplaceAllString(text, ""), -1) {
			target, anchor, _ := strings.Cut(m[1], "#")
			if strings.Contains(target, "://") {
				continue
			}
			n++
			path := file
			if target != "" {
				path = filepath.Join(filepath.Dir(file), target)
			}
			if _, err := os.Stat(filepath.Join(docRoot, path)); err != nil {
				t.Errorf("%s: the link %s leads nowhere", file, m[1])
				continue
			}
			if anchor != "" && !slices.Contains(headings[path], anchor) {
				t.Errorf("%s: %s has no heading for the link %s", file, path, m[1])
			}
		}
	}
	if n < 50 {
		t.Errorf("found only %d links", n)
	}
}

// anchors of the headings, as GitHub makes them.
func anchors(text string) (all []string) {
	text = regexp.MustCompile("(?ms)^```.*?^```$").ReplaceAllString(text, "")
	for _, m := range regexp.MustCompile(`(?m)^#+ (.*)$`).FindAllStringSubmatch(text, -1) {
		a := strings.ToLower(m[1])
		a = regexp.MustCompile(`[^\p{L}\p{N} _-]`).ReplaceAllString(a, "")
		all = append(all, strings.ReplaceAll(a, " ", "-"))
	}
	return all
}

// TestDocsREADMEIsShort keeps the README an introduction.
func TestDocsREADMEIsShort(t *testing.T) {
	const most = 200
	if n := strings.Count(document(t, "README.md"), "\n"); n > most {
		t.Errorf("README.md has %d lines, at most %d are allowed: the reference is in docs/", n, most)
	}
}

// TestDocsPackages: CONTRIBUTING.md names every package of the repository: the last element
// of its path, or two of them, in backquotes.
func TestDocsPackages(t *testing.T) {
	text := documents(t)["CONTRIBUTING.md"]
	err := filepath.WalkDir(docRoot, func(file string, d os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			if d.Name() == "testdata" || d.Name() == "node_modules" || d.Name() == ".git" {
				return filepath.SkipDir
			}
			return nil
		}
		dir, _ := filepath.Rel(docRoot, filepath.Dir(file))
		parent, name := filepath.Split(dir)
		if parent == "examples/" || filepath.Ext(file) != ".go" {
			return nil // an example is a program of its own
		}
		for _, name := range []string{dir, filepath.Base(parent) + "/" + name, name} {
			if strings.Contains(text, "`"+name+"`") {
				return nil
			}
		}
		t.Errorf("CONTRIBUTING.md does not name %s", dir)
		return filepath.SkipDir
	})
	if err != nil {
		t.Error(err)
	}
}
