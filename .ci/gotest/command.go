package main

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
)

// A pass is a way to run tests: arguments of go test, and variables.
type pass struct {
	args, env []string
	// beside means that the pass runs next to the first one of the main module, which occupies the processors. Its
	// packages then run one by one, in the time that the others wait.
	beside bool
}

var (
	// Programs that tests build are built as a release is. The race detector needs not wait at the end of a program
	// for goroutines that race: tests wait for theirs.
	withRace = pass{
		args: []string{"-race", "-shuffle=on", "-exec=env -u GOGC CGO_ENABLED=0 GORACE=atexit_sleep_ms=0"},
		env:  []string{"CGO_ENABLED=1", release, fewCollections},
	}
	withoutRace = pass{args: []string{"-count=1", "-exec=env -u GOGC"}, env: []string{"CGO_ENABLED=0", release, fewCollections}, beside: true}

	// Processors of amd64 run programs for 386, too.
	on32Bits = pass{args: []string{"-count=1", "-exec=env -u GOGC"}, env: []string{"CGO_ENABLED=0", release, fewCollections, "GOARCH=386"}, beside: true}
)

// release is the flag of the Makefile's build that every compiled package depends on.
const release = "GOFLAGS=-trimpath"

// fewCollections is for the compiler and the linker, which run for a second and take an eighth less time with it. Tests
// run without it.
const fewCollections = "GOGC=400"

// longestFirst lists the packages of a module, those with the most test code first. Code that starts NATS servers counts
// twice: it waits for them.
func longestFirst(module string) ([]string, error) {
	cmd := exec.Command("go", "list", "-json=ImportPath,Dir,TestGoFiles,XTestGoFiles,TestImports", "./...")
	cmd.Dir, cmd.Stderr = module, os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("go list in %s: %w", module, err)
	}
	type pkg struct {
		ImportPath, Dir                        string
		TestGoFiles, XTestGoFiles, TestImports []string
		size                                   int64
	}
	var all []pkg
	for d := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p pkg
		if err := d.Decode(&p); err == io.EOF {
			break
		} else if err != nil {
			return nil, fmt.Errorf("output of go list: %w", err)
		}
		for _, f := range slices.Concat(p.TestGoFiles, p.XTestGoFiles) {
			if info, err := os.Stat(filepath.Join(p.Dir, f)); err == nil {
				p.size += info.Size()
			}
		}
		if slices.Contains(p.TestImports, "fanfare/server/internal/natstest") {
			p.size *= 2
		}
		all = append(all, p)
	}
	slices.SortStableFunc(all, func(a, b pkg) int { return cmp.Compare(b.size, a.size) })
	var paths []string
	for _, p := range all {
		paths = append(paths, p.ImportPath)
	}
	return paths, nil
}

// goTest runs go test -json and adds what it prints to t. A failed test is not an error. Lint runs go vet.
func goTest(t *tally, module string, p pass, args []string) error {
	dir, err := filepath.Abs(module)
	if err != nil {
		return err
	}
	parallel := 1
	if module == "." && !p.beside {
		parallel = runtime.NumCPU() + 1 // tests of servers wait more than they compute
	}
	cmd := exec.Command("go", slices.Concat([]string{"test", "-json", "-vet=off", fmt.Sprint("-p=", parallel)}, p.args, args)...)
	cmd.Dir, cmd.Stderr, cmd.Env = dir, os.Stderr, append(os.Environ(), p.env...)
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	readErr := t.read(out)
	io.Copy(io.Discard, out)
	err = cmd.Wait()
	if err != nil && len(t.failed) == 0 {
		return cmp.Or(readErr, fmt.Errorf("go test %s: %w", strings.Join(args, " "), err))
	}
	return readErr
}
