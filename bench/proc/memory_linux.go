package proc

import (
	"bufio"
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// RSS returns the resident memory of the process in bytes.
func RSS(pid int) (int64, error) {
	// smaps_rollup walks the page tables; statm's counters lag by up to 64 pages per thread.
	fields, err := keyed(fmt.Sprintf("/proc/%d/smaps_rollup", pid))
	if err == nil && fields["Rss"] > 0 {
		return fields["Rss"], nil
	}
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", pid))
	if err != nil {
		return 0, fmt.Errorf("proc: memory: %w", err)
	}
	words := strings.Fields(string(b))
	if len(words) < 2 {
		return 0, fmt.Errorf("proc: memory of process %d: %q", pid, b)
	}
	pages, err := strconv.ParseInt(words[1], 10, 64)
	return pages * int64(os.Getpagesize()), err
}

// Kernel has the kernel memory of the whole machine, sockets included, in bytes.
type Kernel struct {
	Slab int64 `json:"slab"` // all slab caches: the structures of sockets, files, epoll entries, dentries
	TCP  int64 `json:"tcp"`  // pages of socket buffers
}

// KernelMemory reads Kernel from /proc/meminfo and /proc/net/sockstat.
func KernelMemory() (k Kernel, err error) {
	fields, err := keyed("/proc/meminfo")
	if err != nil {
		return k, err
	}
	k.Slab = fields["Slab"]
	b, err := os.ReadFile("/proc/net/sockstat")
	if err != nil {
		return k, fmt.Errorf("proc: memory: %w", err)
	}
	for line := range strings.Lines(string(b)) {
		words := strings.Fields(line)
		for i := 0; i+1 < len(words); i++ {
			if words[0] == "TCP:" && words[i] == "mem" {
				pages, _ := strconv.ParseInt(words[i+1], 10, 64)
				k.TCP = pages * int64(os.Getpagesize())
			}
		}
	}
	return k, nil
}

// keyed reads "Name: 12 kB" lines into bytes.
func keyed(path string) (map[string]int64, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("proc: memory: %w", err)
	}
	fields := map[string]int64{}
	lines := bufio.NewScanner(bytes.NewReader(b))
	for lines.Scan() {
		name, value, ok := strings.Cut(lines.Text(), ":")
		if value, isKB := strings.CutSuffix(strings.TrimSpace(value), " kB"); ok && isKB {
			n, err := strconv.ParseInt(value, 10, 64)
			if err == nil {
				fields[name] = n << 10
			}
		}
	}
	return fields, lines.Err()
}

// Peak returns the largest resident memory that the process has had, in bytes, since 5 was last written to its
// clear_refs, proc(5).
func Peak(pid int) (int64, error) {
	fields, err := keyed(fmt.Sprintf("/proc/%d/status", pid))
	return fields["VmHWM"], err
}

// TreeRSS returns the resident memory of the process and of all its descendants in bytes.
func TreeRSS(pid int) (int64, error) {
	parents, err := parents()
	if err != nil {
		return 0, err
	}
	sum, err := RSS(pid)
	if err != nil {
		return 0, err
	}
	for child := range parents {
		for p := parents[child]; p != 0; p = parents[p] {
			if p != pid {
				continue
			}
			rss, err := RSS(child)
			if err != nil {
				return 0, err
			}
			sum += rss
		}
	}
	return sum, nil
}

// parents returns the parent of each process.
func parents() (map[int]int, error) {
	files, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		return nil, fmt.Errorf("proc: processes: %w", err)
	}
	parents := map[int]int{}
	for _, file := range files {
		b, err := os.ReadFile(file)
		if err != nil {
			continue // it has ended
		}
		var pid, parent int
		var state string
		fmt.Sscan(string(b), &pid)
		// The name of the program is in parentheses, and may contain some.
		if _, err := fmt.Sscan(string(b[bytes.LastIndexByte(b, ')')+1:]), &state, &parent); err != nil {
			return nil, fmt.Errorf("proc: %s: %w", file, err)
		}
		parents[pid] = parent
	}
	return parents, nil
}
